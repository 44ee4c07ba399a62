"""Step `train`: fine-tune from the base by the plan, export, publish artifact and checkpoint."""

from __future__ import annotations

import shutil
import time

from finetune_trainer.data.anchor import check_classes
from finetune_trainer.data.materialise import materialise, write_data_yaml
from finetune_trainer.documents.inputs import TrainInputs
from finetune_trainer.documents.plan import Plan
from finetune_trainer.documents.result import Artifact, TrainResult
from finetune_trainer.documents.run import FineTuneDocument
from finetune_trainer.documents.serving import Lineage
from finetune_trainer.errors import Reason, bad_input
from finetune_trainer.evaluation.detector import serving_metadata
from finetune_trainer.report.training import loss_curves
from finetune_trainer.steps.context import StepContext
from finetune_trainer.steps.prepare import read_plan
from finetune_trainer.storage import normalise
from finetune_trainer.training.arguments import check_shared_memory, train_arguments
from finetune_trainer.training.checkpoint import check_is_base, class_names, load_checkpoint, publishable
from finetune_trainer.training.export import export_onnx, save_checkpoint
from finetune_trainer.training.precision import amp_argument, detect_hardware
from finetune_trainer.training.settings import prepare_ultralytics
from finetune_trainer.training.yolo import Trained
from finetune_trainer.training.yolo import train as run_training

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where the kernel has it, not a temporary file


def train(context: StepContext, document: FineTuneDocument, inputs: TrainInputs) -> TrainResult:
    """Train and publish; StepError for a base that does not fit, NaN, lack of memory, changed data."""
    started = time.monotonic()
    training = document.training
    context.progress.report(percent=0, epoch=0, epochs=training.epochs, activity="fetching data")
    plan = read_plan(context, inputs.plan)
    _check_plan(plan, document)
    prepare_ultralytics(context.scratch / "home" / "yolo")
    folder = context.scratch / "train"
    folder.mkdir()
    base = context.storage.fetch(
        normalise(document.base.checkpoint.uri), document.base.checkpoint.sha256, folder / "base.pt"
    )
    checkpoint = load_checkpoint(base, document.base.version)
    check_is_base(checkpoint, document.base.version, pretrained="base.pt")
    check_classes(class_names(checkpoint), document.classes, f"The checkpoint of {document.base.version}")
    materialise(context.storage, plan.train, folder / "data" / "train")
    materialise(context.storage, plan.val, folder / "data" / "val")
    data_yaml = write_data_yaml(
        folder / "data" / "data.yaml", plan.classes, folder / "data" / "train", folder / "data" / "val"
    )
    hardware = detect_hardware()
    size = document.serving.image_size
    if hardware.device != "cpu":
        check_shared_memory(training.workers, training.batch, size, shutil.disk_usage(_SHARED_MEMORY).free)
    arguments = train_arguments(
        training,
        size,
        plan.seed,
        data_yaml,
        folder / "run",
        hardware.device,
        amp_argument(training.amp, hardware),
    )
    trained = run_training(base, arguments, plan.train, folder / "run", context.progress, context.cpus)
    return _publish(context, document, plan, trained, hardware.name, started)


def _check_plan(plan: Plan, document: FineTuneDocument) -> None:
    if plan.owner != document.owner.uid:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"The plan belongs to {plan.owner}, not to {document.owner.uid}.",
            "Start the run again.",
        )
    check_classes(plan.classes, document.classes, "The plan")


def _publish(
    context: StepContext, document: FineTuneDocument, plan: Plan, trained: Trained, device: str, started: float
) -> TrainResult:
    context.progress.report(percent=99, epoch=trained.epochs, epochs=trained.epochs, activity="exporting")
    lineage = Lineage(type="FineTuned", base=document.base.version, owner=document.owner.uid)
    folder = context.scratch / "export"
    folder.mkdir()
    loaded = load_checkpoint(trained.checkpoint, "The trained checkpoint")
    path = save_checkpoint(publishable(loaded, lineage), folder / "checkpoint.pt")
    model = export_onnx(path, serving_metadata(document.classes, document.serving), lineage).read_bytes()
    publisher = context.publisher
    artifact = publisher.file("model.onnx", model)
    checkpoint = publisher.file("checkpoint.pt", path.read_bytes())
    publisher.file("results.csv", trained.results.read_bytes())
    publisher.file("train.log", trained.log.read_bytes())
    publisher.file("plots/losses.png", loss_curves(trained.results))
    context.progress.report(percent=100, epoch=trained.epochs, epochs=trained.epochs, remaining_seconds=0)
    return TrainResult(
        artifact=Artifact(artifact.uri, artifact.sha256, len(model)),
        checkpoint=checkpoint,
        epochs=trained.epochs,
        batch=trained.batch,
        images=len(plan.train),
        seconds=round(time.monotonic() - started),
        device=device,
        losses=dict(trained.losses),
    )
