"""The snapshot: what a run's Jobs work from and what its verdict is judged by; and hashes of what it asks for."""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ..api.meta import FileReference, ObjectMeta
from ..api.model_version import ModelVersion
from ..api.names import sha256_of
from ..api.policy import Gates, Policy, PolicySpec, Source
from ..api.run import Inputs, Run
from ..api.run_document import (
    DocumentBase,
    DocumentData,
    DocumentMixing,
    DocumentOwner,
    DocumentProduction,
    Location,
    RunDocument,
    ScanData,
    ScanDocument,
)
from ..api.training import Training, TrainingOverrides
from ..api.value import canonical_json, complete

_LATER_GATES: Final = ("fields", "floor", "yardstick", "yardstickMoved", "gain", "production")
"""Gates that came after runs had been recorded without them."""

_DAY: Final = 86_400
"""Seconds of a day."""

_STEPS_LEFT: Final = 2
"""Steps of a run after the draw, each with the run's deadline: train and evaluate."""


def snapshot_of_run(run: Run, policy: Policy, base: ModelVersion) -> RunDocument:
    """Return the run document of a run, from run, policy and base as they are now."""
    rules, rebuilds = policy.spec, run.spec.rebuilds
    return RunDocument(
        owner=_owner("FineTuneRun", run.metadata),
        created_at=run.metadata.creation_timestamp,
        mode=run.spec.mode,
        model=rules.model,
        # A fine-tune has the classes of its base; what was appended to the policy's since, a rebuild learns.
        classes=rules.classes if rebuilds else base.spec.classes,
        serving=rules.serving,
        data=DocumentData(
            anchor=rules.data.anchor, pool=Source(uri=rules.data.pool.uri), production=_production(run, policy)
        ),
        artifacts=_prefix(policy, run.metadata),
        base=_base(base, rules.classes if rebuilds else base.spec.classes),
        start=rules.rebuild_rules.start if rebuilds else None,
        mixing=_mixing(run, policy),
        holdout=rules.holdout,
        training=overridden(_training(rules, rebuilds=rebuilds), run.spec.training),
        gates=_limits(rules.gates),
    )


def _mixing(run: Run, policy: Policy) -> DocumentMixing:
    """Return how the mix is drawn. A rebuild draws none, so that no edit of how makes it another one."""
    rules, asked = policy.spec, run.spec.mixing
    seed = default_seed(run.metadata.uid) if asked.seed is None else asked.seed
    if run.spec.rebuilds:
        return DocumentMixing(min_pool_samples=rules.min_pool_samples, seed=seed)
    return DocumentMixing(
        min_pool_samples=rules.min_pool_samples,
        max_old=rules.mixing.max_old,
        interpolation=rules.mixing.interpolation,
        ratio=asked.ratio,
        seed=seed,
    )


def _training(rules: PolicySpec, *, rebuilds: bool) -> Training:
    """Return the policy's parameters; what may be done to a page is the same for either."""
    own = rules.rebuild_rules.training
    return own.with_augment(rules.training.augment) if rebuilds else rules.training


def snapshot_of_base(version: ModelVersion, policy: Policy) -> RunDocument:
    """Return the run document by which an imported base is measured on the policy's anchor."""
    return RunDocument(
        owner=_owner("ModelVersion", version.metadata),
        mode="Verify",
        model=version.spec.model,
        classes=version.spec.classes,
        serving=version.spec.serving,
        data=DocumentData(anchor=policy.spec.data.anchor),
        artifacts=_prefix(policy, version.metadata),
        base=_base(version, version.spec.classes),
    )


def document_of_scan(policy: Policy) -> ScanDocument:
    """Return the document by which the policy's pool and captured pages are counted."""
    rules = policy.spec
    return ScanDocument(
        owner=_owner("FineTunePolicy", policy.metadata),
        model=rules.model,
        classes=rules.classes,
        deployment=rules.deployment,
        data=ScanData(anchor=rules.data.anchor, pool=Source(uri=rules.data.pool.uri), production=rules.data.production),
        holdout=rules.holdout,
        artifacts=_prefix(policy, policy.metadata),
    )


def overridden(defaults: Training, overrides: TrainingOverrides) -> Training:
    """Return the policy's parameters with what the run sets differently."""
    changes = {
        field.name: value
        for field in msgspec.structs.fields(overrides)
        if (value := getattr(overrides, field.name)) is not None
    }
    return replace(defaults, **changes) if changes else defaults


def default_seed(uid: str) -> int:
    """Return the seed of a run that names none: the same for one run, another for the next (31 bits)."""
    return int(sha256_of(uid.encode())[:8], 16) & 0x7FFFFFFF


def spec_hash(run_document: RunDocument, run: Run) -> str:
    """Return a hash of what the run asks for: equal for a run that was applied again, under whatever name.

    It covers the snapshot (base, mixing, training, hold-out, gates, serving) but not who owns it, when it was made,
    where it writes or how its pods run; nor a seed made from the uid, which nobody asked for.
    """
    asked: dict[str, Any] = complete(run_document)
    for key in ("owner", "createdAt", "artifacts"):
        del asked[key]
    if not run.spec.rebuilds:
        del asked["start"]  # hashes that are recorded do not know it
    if run_document.base.fields is None:
        del asked["base"]["fields"]  # nor this
    if run.spec.mixing.seed is None and asked["mixing"]:
        del asked["mixing"]["seed"]
    # Who does not ask for Gate 3 asks for what was asked before there was one, wherever pages are captured.
    if not asked["gates"] or asked["gates"]["production"] is None:
        del asked["data"]["production"]
    # Hashes that are recorded do not know these gates: at their defaults nobody asked for anything else than before.
    defaults = complete(Gates())
    for gate in _LATER_GATES:
        if asked["gates"] and asked["gates"][gate] == defaults[gate]:
            del asked["gates"][gate]
    return sha256_of(canonical_json(asked))


def inputs_hash(inputs: Inputs, run_document: RunDocument) -> str:
    """Return a hash of the data that a run saw: pool and anchor, and which share of the pool is held out."""
    seen = {
        "pool": inputs.digests.get("pool", ""),
        "anchor": inputs.digests.get("anchor", ""),
        "holdout": str(run_document.holdout),
    }
    return sha256_of(canonical_json(seen))


def _limits(gates: Gates) -> Gates:
    """Return the gates without what is the pool's: the hold-out travels once."""
    return replace(gates, new_samples=replace(gates.new_samples, holdout=None))


def _production(run: Run, policy: Policy) -> DocumentProduction | None:
    """Return where documents of production lie, for Gate 3 and for what alerts go by; None where none are captured.

    Training and evaluation may take the run's deadline each, and people as long to review: what they are shown by the
    gate must lie there until then.
    """
    rules = policy.spec
    pages = rules.data.production
    if pages is None:
        return None
    seconds = rules.review.timeout_seconds + _STEPS_LEFT * run.spec.deadline_seconds(
        rules.rebuild_rules.active_deadline_seconds
    )
    return DocumentProduction(
        uri=pages.uri,
        keep_days=pages.keep_days,
        deployment=rules.deployment,
        review_days=-(-seconds // _DAY),
    )


def _owner(kind: Any, meta: ObjectMeta) -> DocumentOwner:
    return DocumentOwner(kind=kind, namespace=meta.namespace, name=meta.name, uid=meta.uid)


def _prefix(policy: Policy, meta: ObjectMeta) -> Location:
    return Location(uri=f"{policy.spec.artifacts.uri.rstrip('/')}/{meta.namespace}/{meta.uid}")


def _base(version: ModelVersion, classes: tuple[str, ...]) -> DocumentBase:
    artifact, own = version.spec.artifact, len(version.spec.classes)
    return DocumentBase(
        version=version.spec.version,
        artifact=FileReference(uri=artifact.uri, sha256=artifact.sha256),
        checkpoint=version.spec.checkpoint,
        inputs=version.spec.inputs,
        fields=own if own < len(classes) else None,
    )
