"""Training parameters of a careful fine-tune, as defaults of every policy."""

from decimal import Decimal
from typing import Literal

from .value import Value


class Augment(Value, frozen=True, kw_only=True):
    """Augmentation; nothing mirrors text by default."""

    fliplr: Decimal = Decimal(0)
    flipud: Decimal = Decimal(0)
    mosaic: Decimal = Decimal(0)
    mixup: Decimal = Decimal(0)
    scale: Decimal = Decimal("0.2")
    translate: Decimal = Decimal("0.1")
    degrees: Decimal = Decimal(0)
    hsv_h: Decimal = Decimal(0)
    hsv_s: Decimal = Decimal("0.2")
    hsv_v: Decimal = Decimal("0.2")


class Training(Value, frozen=True, kw_only=True):
    """Parameters of a fine-tune that keeps what the base knows.

    Few epochs, a tenth of ultralytics' learning rate on a cosine, one warm-up epoch, the backbone (10 layers) frozen.
    `warmup_bias_lr` is 0 because ultralytics' default of 0.1 is 100 x lr0; `optimizer` is never
    `auto`, which would ignore lr0; the candidate is the last epoch unless `patience` is set.
    """

    epochs: int = 10
    lr0: Decimal = Decimal("0.001")
    lrf: Decimal = Decimal("0.01")
    freeze: int = 10
    warmup_epochs: Decimal = Decimal(1)
    warmup_bias_lr: Decimal = Decimal(0)
    cos_lr: bool = True
    optimizer: Literal["AdamW", "Adam", "SGD", "MuSGD"] = "AdamW"
    momentum: Decimal = Decimal("0.9")
    weight_decay: Decimal = Decimal("0.0005")
    batch: int = 16
    nominal_batch: int = 64
    close_mosaic: int = 0
    patience: int = 0
    workers: int | None = None
    """None leaves it to the trainer, who sees the GPU, the CPUs and the shared memory of its pod."""
    amp: Literal["Auto", "BF16", "Off"] = "Auto"
    augment: Augment = Augment()


class RebuildTraining(Value, frozen=True, kw_only=True):
    """Parameters of a rebuild, which learns everything anew: ultralytics' own, and as long as `val` gets better.

    Augmentation is the policy's: what may be done to a page hangs on the pages, not on how long it is learned.
    """

    epochs: int = 100
    lr0: Decimal = Decimal("0.01")
    lrf: Decimal = Decimal("0.01")
    freeze: int = 0
    warmup_epochs: Decimal = Decimal(3)
    warmup_bias_lr: Decimal = Decimal("0.1")
    cos_lr: bool = False
    optimizer: Literal["AdamW", "Adam", "SGD", "MuSGD"] = "SGD"
    momentum: Decimal = Decimal("0.937")
    weight_decay: Decimal = Decimal("0.0005")
    batch: int = 16
    nominal_batch: int = 64
    close_mosaic: int = 10
    patience: int = 20
    workers: int | None = None
    amp: Literal["Auto", "BF16", "Off"] = "Auto"

    def with_augment(self, augment: Augment) -> Training:
        """Return all parameters that training needs, with that augmentation."""
        return Training(augment=augment, **{name: getattr(self, name) for name in self.__struct_fields__})


class TrainingOverrides(Value, frozen=True, kw_only=True):
    """What a run may set differently from its policy."""

    epochs: int | None = None
    lr0: Decimal | None = None
    freeze: int | None = None
    batch: int | None = None
    nominal_batch: int | None = None
    patience: int | None = None
    workers: int | None = None
