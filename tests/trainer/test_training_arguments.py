"""The training call: every default of ultralytics that would surprise is replaced by what the document says."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_trainer.errors import Reason, StepError
from finetune_trainer.training.loaders import loaders
from finetune_trainer.training.precision import Hardware, amp_argument
from trainer.training_call import arguments
from trainer.world import training_parameters

CPU = Hardware("cpu", "cpu", False)
OLD_GPU = Hardware("0", "Tesla T4", False)
NEW_GPU = Hardware("0", "NVIDIA H100", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer", "AdamW"),  # `auto` would ignore lr0
        ("lr0", 0.001),
        ("warmup_bias_lr", 0.0),  # 0.1 by default
        ("warmup_epochs", 1.0),
        ("freeze", 2),
        ("cos_lr", True),
        ("fliplr", 0.0),  # 0.5 by default: mirrored text
        ("mosaic", 0.0),
        ("close_mosaic", 0),  # 10 by default: no mosaic at all in a run of ten epochs
        ("batch", 16),
        ("nbs", 16),
        ("seed", 7),
        ("cls_remap", False),
        ("nms", None),  # the one-to-many head, as it is served
        ("amp", False),
        ("val", False),  # without patience nothing is picked
        ("patience", 0),
        ("exist_ok", True),
        ("project", "/s"),
        ("name", "run"),
        ("cache", False),
        ("single_cls", False),
        ("plots", False),
    ],
)
def test_each_argument_is_what_is_meant(name: str, value: object) -> None:
    assert arguments()[name] == value


OTHER: dict[str, object] = {"optimizer": "SGD", "cosLr": False}
"""Another value of each option that is no number."""

OPTIONS = [name for name in training_parameters() if name not in ("amp", "workers", "augment")]  # see below
AUGMENT = [f"augment.{name}" for name in training_parameters()["augment"]]


@pytest.mark.parametrize("option", OPTIONS + AUGMENT)
def test_every_option_of_the_run_document_reaches_ultralytics(option: str) -> None:
    parent, _, name = option.rpartition(".")
    given = training_parameters()[parent] if parent else training_parameters()
    other = OTHER.get(name, "0.015625" if isinstance(given[name], str) else 1)
    changed = {parent: {**given, name: other}} if parent else {name: other}
    assert arguments(**changed) != arguments()


def test_every_argument_is_one_that_ultralytics_knows() -> None:
    from ultralytics.cfg import get_cfg
    from ultralytics.utils import DEFAULT_CFG

    get_cfg(DEFAULT_CFG, arguments() | {"task": "detect", "mode": "train"})
    assert set(arguments()) <= set(vars(DEFAULT_CFG))


def test_patience_validates_each_epoch_on_val() -> None:
    assert (arguments(patience=3)["val"], arguments(patience=3)["split"]) == (True, "val")


@pytest.mark.parametrize(("close", "epochs", "expected"), [(0, 10, 0), (2, 10, 2), (10, 4, 4)])
def test_mosaic_is_closed_when_the_policy_says_so(close: int, epochs: int, expected: int) -> None:
    assert arguments(closeMosaic=close, epochs=epochs)["close_mosaic"] == expected


@pytest.mark.parametrize(
    ("wanted", "hardware", "expected"),
    [
        ("Auto", CPU, False),
        ("Auto", OLD_GPU, False),
        ("Auto", NEW_GPU, "bf16"),
        ("BF16", NEW_GPU, "bf16"),
        ("Off", NEW_GPU, False),
        ("Off", CPU, False),
    ],
)
def test_the_precision_is_decided_without_a_downloaded_model(wanted: Any, hardware: Hardware, expected: object) -> None:
    assert amp_argument(wanted, hardware) == expected


@pytest.mark.parametrize("hardware", [CPU, OLD_GPU])
def test_bf16_that_the_hardware_lacks_is_refused(hardware: Hardware) -> None:
    with pytest.raises(StepError, match=hardware.name) as caught:
        amp_argument("BF16", hardware)
    assert caught.value.reason is Reason.PRECISION_UNSUPPORTED


@pytest.mark.parametrize(
    ("wanted", "gpu", "cpus", "megabytes", "expected"),
    [
        (None, True, 16, 4096, 8),
        (None, True, 4, 4096, 3),  # one CPU is the trainer's
        (None, True, 16, 160, 2),  # as many as /dev/shm holds
        (None, True, 16, 64, 0),  # a pod without a volume there
        (None, True, 1, 4096, 0),
        (None, False, 16, 0, 0),
        (0, True, 16, 0, 0),
        (3, False, 16, 0, 3),
        (12, True, 4, 4096, 12),  # a wish is a wish
    ],
)
def test_loaders_are_as_many_as_the_pod_allows(
    wanted: int | None, gpu: bool, cpus: int, megabytes: int, expected: int
) -> None:
    available = megabytes << 20
    assert loaders(wanted, gpu=gpu, cpus=cpus, batch=16, image_size=640, available=available) == expected


def test_a_wish_for_loaders_that_shared_memory_cannot_hold_is_refused() -> None:
    with pytest.raises(StepError, match="64 MiB") as caught:
        loaders(8, gpu=True, cpus=16, batch=16, image_size=640, available=64 << 20)
    assert caught.value.reason is Reason.SHARED_MEMORY_TOO_SMALL
    assert "medium: Memory" in caught.value.remedy
