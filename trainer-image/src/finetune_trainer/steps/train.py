"""Step `train`: fine-tune the base by the plan, or make a new one; export, publish artifact and checkpoint."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..artifact.metadata import ArtifactMetadata, serving_metadata
from ..data.earlier_plans import read_plan
from ..data.materialise import materialise, write_data_yaml
from ..documents.classes import check_classes
from ..documents.inputs import TrainInputs
from ..documents.plan import Plan
from ..documents.result import Artifact, ResumedFrom, TrainResult
from ..documents.run import FineTuneDocument, TrainingDocument
from ..documents.serving import Lineage
from ..errors import Reason, StepError, bad_input
from ..progress import FileLines
from ..report.training import loss_curves
from ..training.arguments import train_arguments
from ..training.checkpoint import load_checkpoint, publishable
from ..training.export import export_onnx, save_checkpoint
from ..training.loaders import loaders
from ..training.precision import Hardware, amp_argument, detect_hardware
from ..training.settings import prepare_ultralytics
from ..training.yolo import Trained
from ..training.yolo import train as run_training
from .context import StepContext
from .listed_pool import check_says_its_log, erasures_named
from .scratch import clear
from .start import Start, fetch_start

if TYPE_CHECKING:  # it imports ultralytics, whose settings are to be written first
    from .kept import KeptStates

_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - where the kernel has it, not a temporary file


def train(context: StepContext, document: TrainingDocument, inputs: TrainInputs) -> TrainResult:
    """Train and publish; StepError for a base that does not fit, NaN, lack of memory, changed data."""
    started = time.monotonic()
    context.progress.report(percent=0, epoch=0, epochs=document.training.epochs, activity="fetching data")
    plan = read_plan(context.storage, inputs.plan)
    _check_plan(plan, document)
    prepare_ultralytics(context.scratch / "home" / "yolo")
    folder = context.scratch / "train"
    folder.mkdir()
    start = fetch_start(context, document, folder)
    data_yaml = _lay_out(context, plan, folder / "data", document.training.epochs)
    context.progress.report(percent=0, epoch=0, epochs=document.training.epochs, activity="loading data and model")
    hardware = detect_hardware()
    arguments = _arguments(
        document, hardware, cpus=context.cpus.available, seed=plan.seed, data_yaml=data_yaml, output=folder / "run"
    )
    log = folder / "train.log"
    kept = _kept(context, document, inputs, arguments, start=start, device=hardware.name, started=started)
    before = kept.newest()
    if before is not None:
        arguments["batch"] = before.state.figures.batch  # what ran, where memory did not suffice for what was asked
    try:
        trained = run_training(
            start.checkpoint,
            arguments,
            plan.train,
            context.progress,
            log=log,
            threads=context.cpus.threads,
            whole=start.whole,
            state=before.state if before else None,
            keep=kept.keep,
        )
    except StepError as error:
        clear(context.storage, document.artifacts.uri)  # what ends a training so ends the next attempt alike
        raise _with_log(context, error, log) from error
    return _publish(context, document, plan, trained, device=hardware.name, started=started, resumed=kept.resumed)


def _kept(
    context: StepContext,
    document: TrainingDocument,
    inputs: TrainInputs,
    arguments: Mapping[str, object],
    *,
    start: Start,
    device: str,
    started: float,
) -> KeptStates:
    """Return what is kept of this training on its way."""
    from .kept import KeptStates, binding_of

    binding = binding_of(inputs.plan.sha256, start.digest, arguments)
    return KeptStates(context, document, inputs, binding, device, started)


def _with_log(context: StepContext, error: StepError, log: Path) -> StepError:
    """Return the error with the place of ultralytics' log, published: the pod and its scratch folder go."""
    if not log.is_file():
        return error
    published = context.publisher.file("train.log", log.read_bytes())
    return StepError(error.error_class, error.reason, error.message, f"{error.remedy} The log: {published.uri}.")


def _lay_out(context: StepContext, plan: Plan, folder: Path, epochs: int) -> Path:
    """Put the plan's files below `folder`, and return their data.yaml."""
    sizes = [sample.bytes for sample in (*plan.train, *plan.val)]
    placed = FileLines(context.progress, "fetching data", sizes, epochs=epochs)
    with erasures_named(context.storage, plan):
        materialise(context.storage, plan.train, folder / "train", placed, classes=len(plan.classes))
    materialise(context.storage, plan.val, folder / "val", placed, classes=len(plan.classes))
    return write_data_yaml(folder / "data.yaml", plan.classes, train=folder / "train", val=folder / "val")


def _arguments(
    document: TrainingDocument, hardware: Hardware, *, cpus: int, seed: int, data_yaml: Path, output: Path
) -> dict[str, object]:
    training, size = document.training, document.serving.image_size
    gpu = hardware.device != "cpu"
    processes = loaders(
        training.workers,
        gpu=gpu,
        cpus=cpus,
        batch=training.batch,
        image_size=size,
        available=shutil.disk_usage(_SHARED_MEMORY).free if gpu else 0,
    )
    return train_arguments(
        training,
        image_size=size,
        seed=seed,
        data_yaml=data_yaml,
        output=output,
        device=hardware.device,
        loaders=processes,
        amp=amp_argument(training.amp, hardware),
    )


def _check_plan(plan: Plan, document: TrainingDocument) -> None:
    if plan.owner != document.owner.uid:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            f"The plan belongs to {plan.owner}, not to {document.owner.uid}.",
            "Start the run again.",
        )
    check_classes(plan.classes, "The plan", expected=document.classes)
    check_says_its_log(plan)  # no evaluation would take what it trains


def _lineage(document: TrainingDocument) -> Lineage:
    """Return what the artifact says that it is; which number a new base gets is not known yet."""
    owner, model = document.owner.uid, document.model
    if isinstance(document, FineTuneDocument):
        return Lineage(type="FineTuned", model=model, base=document.base.version, owner=owner)
    return Lineage(type="Base", model=model, owner=owner)


def _publish(
    context: StepContext,
    document: TrainingDocument,
    plan: Plan,
    trained: Trained,
    *,
    device: str,
    started: float,
    resumed: tuple[ResumedFrom, ...],
) -> TrainResult:
    context.progress.report(percent=99, epoch=trained.epochs, epochs=trained.epochs, activity="exporting")
    lineage = _lineage(document)
    metadata = ArtifactMetadata(serving_metadata(document.classes, document.serving), lineage)
    folder = context.scratch / "export"
    folder.mkdir()
    loaded = load_checkpoint(trained.checkpoint, "The trained checkpoint")
    path = save_checkpoint(publishable(loaded, lineage), folder / "checkpoint.pt")
    exported = export_onnx(path, metadata).read_bytes()
    publisher = context.publisher
    artifact = publisher.file("model.onnx", exported)
    checkpoint = publisher.file("checkpoint.pt", path.read_bytes())
    publisher.file("results.csv", trained.results.read_bytes())
    publisher.file("train.log", trained.log.read_bytes())
    publisher.file("plots/losses.png", loss_curves(trained.results))
    context.progress.report(percent=100, epoch=trained.epochs, epochs=trained.epochs, remaining_seconds=0)
    return TrainResult(
        artifact=Artifact(artifact.uri, artifact.sha256, len(exported)),
        checkpoint=checkpoint,
        epochs=trained.epochs,
        batch=trained.batch,
        images=len(plan.train),
        seconds=round(time.monotonic() - started),
        device=device,
        losses=dict(trained.losses),
        resumed=resumed,
    )
