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


class TrainingOverrides(Value, frozen=True, kw_only=True):
    """What a run may set differently from its policy."""

    epochs: int | None = None
    lr0: Decimal | None = None
    freeze: int | None = None
    batch: int | None = None
    nominal_batch: int | None = None
    patience: int | None = None
    workers: int | None = None
