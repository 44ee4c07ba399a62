"""Which base a run starts from, or replaces, that names none."""

from collections.abc import Iterable, Iterator

from ..api.meta import find, is_true
from ..api.model_version import ModelVersion
from ..api.names import series_of
from ..api.policy import Policy
from ..api.record import services
from .classes import begins, lacking
from .gates.recorded import recorded_verdict
from .rejections import rejection_of
from .text import appending, listed, quoted
from .views import Problem


def default_base(versions: Iterable[ModelVersion], policy: Policy) -> ModelVersion | None:
    """Return the newest base that was live under the policy, else the newest verified import; None for none.

    One was live if it was itself, or a fine-tune of it. Never one that a gate or a person rejected, or that is
    quarantined: fine-tunes of it would be judged against what nobody wants. What people went back from gives way to any
    other that was live here. Newest is by series, then by creation.
    """
    known = tuple(versions)
    ranked = ((_rank(base, known, policy), *_age(base), base) for base in bases_of(known, policy.spec.model))
    standing = [entry for entry in ranked if entry[0] > 0]
    return max(standing, key=lambda entry: entry[:-1])[-1] if standing else None


def bases_of(versions: Iterable[ModelVersion], model: str) -> tuple[ModelVersion, ...]:
    """Return the bases of that model that are not being deleted."""
    bases = (v for v in versions if v.spec.model == model and v.spec.type == "Base")
    return tuple(v for v in bases if v.metadata.deletion_timestamp is None)


def why_no_default(versions: Iterable[ModelVersion], policy: Policy) -> Problem:
    """Return why the policy has no default base, and how to mend it; asked only where it has none."""
    model = policy.spec.model
    bases = bases_of(versions, model)
    if not bases:
        text = (
            f"model {model!r} has no base yet; make one of a trained checkpoint with `finetune-trainer import` and "
            "apply the ModelVersion that it prints"
        )
        return Problem("BaseNotFound", text)
    known = listed(sorted(base.spec.version for base in bases))
    text = (
        f"no base of model {model!r} is one to start from: each of {known} failed its verification, was rejected or "
        "quarantined, or is a rebuilt one that was never live here; import another one, or make a run that names one"
    )
    return Problem("BaseNotFound", text)


def loses_fields(
    base: ModelVersion, versions: Iterable[ModelVersion], policy: Policy, *, rebuilds: bool
) -> Problem | None:
    """Return that what is live has fields that no fine-tune of this base can have, or no rebuild (R239, R267, D231).

    Or others than these, so that nothing compares (R276). By the record under the name that is live, where there is
    one: another one of the same bytes may be an import by a wrong list.
    """
    live = policy.status.live
    records = [v for v in versions if live is not None and v.spec.artifact.sha256 == live.sha256]
    if live is None or not records:
        return None
    has = next((v for v in records if v.spec.version == live.version), records[0]).spec.classes
    gets = policy.spec.classes if rebuilds else base.spec.classes
    lost, name = lacking(gets, has), policy.metadata.name
    if begins(gets, has):
        return None
    if not lost:
        whose = f"policy {name!r}" if rebuilds else base.spec.version
        its, other = next((quoted(a, 128), quoted(b, 128)) for a, b in zip(has, gets, strict=False) if a != b)
        way = f"so nothing compares; go back to a version without {its} first, or make a policy for its classes"
        return Problem("ClassListDiffers", f"{live.version} is live and has {its} where {whose} has {other}, {way}")
    way = (
        f"which policy {name!r} has not; {appending(lost)}, and make a new run"
        if rebuilds
        else f"which {base.spec.version} has not, and so no fine-tune of it; name the base that {live.version} comes "
        "from, or go back to a version without it first"
    )
    return Problem("ClassListDiffers", f"{live.version} is live and has {listed(list(lost))}, {way}")


def _rank(base: ModelVersion, versions: tuple[ModelVersion, ...], policy: Policy) -> int:
    """Return 4 for what was live here, 3 for what people went back from, 2 and 1 for imports, 0 for no default.

    An import that is still measured is better than none: what is wrong with it ends the run, and gates judge the rest.
    """
    status, sha256 = policy.status, base.spec.artifact.sha256
    here = services(base.metadata.annotations, sha256).get(policy.spec.deployment)
    if status.quarantine_of(sha256) is not None or (here is not None and here.quarantine is not None):
        return 0
    if rejection_of(sha256, versions, status) is not None or _failed(base):
        return 0
    served = [_served(version, policy) for version in (base, *_tuned_from(base, versions))]
    if any(served):
        return max(filter(None, served))
    if not base.spec.is_import:
        return 0
    return 2 if is_true(base.status.conditions, "Verified") else 1


def _failed(base: ModelVersion) -> bool:
    """Tell whether gates rejected it, or its verification failed, whatever was made of it all the same."""
    evidence = base.spec.evidence
    if evidence is not None:
        return recorded_verdict(evidence) in ("Reject", "Error")
    verified = find(base.status.conditions, "Verified")
    return verified is not None and verified.status == "False"


def _served(version: ModelVersion, policy: Policy) -> int:
    """Return 4 for what was live here, 3 for what people went back from since, 0 for what never was."""
    status, sha256 = policy.status, version.spec.artifact.sha256
    here = services(version.metadata.annotations, sha256).get(policy.spec.deployment)
    if status.live is not None and status.live.sha256 == sha256:
        return 4
    if not status.is_good(sha256) and (here is None or not here.was_good_in(policy.metadata.namespace)):
        return 0
    taken_back = status.taken_back_of(sha256) is not None or (here is not None and here.taken_back is not None)
    return 3 if taken_back else 4


def _tuned_from(base: ModelVersion, versions: tuple[ModelVersion, ...]) -> Iterator[ModelVersion]:
    """Yield the fine-tunes of a base: an import that came later is never live itself, what was made of it may be."""
    for version in versions:
        lineage = version.spec.lineage if version.spec.type == "FineTuned" else None
        if lineage is not None and lineage.base_sha256 == base.spec.artifact.sha256:
            yield version


def _age(base: ModelVersion) -> tuple[int, str, str]:
    created = base.metadata.creation_timestamp
    return series_of(base.spec.version) or 0, created.isoformat() if created else "", base.metadata.name
