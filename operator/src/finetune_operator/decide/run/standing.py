"""What is known of the version that a candidate is held against, from the records of that version."""

from ...api.model_version import ModelVersion
from ..gates.gate import Known, Standing
from ..gates.regression import CANDIDATE_MAP50
from .stage import ModelReference, RunContext


def standing_of(context: RunContext, live_sha256: str | None, live: ModelReference | None) -> Standing:
    """Return what is known of what was live at the evaluation, or of the base where nothing was.

    Records are looked for by digest: names can be given twice. Where two records of the same bytes name another test
    split, none of them is known to be the yardstick.
    """
    base = context.run_document.base
    sha256 = live_sha256 or base.artifact.sha256
    records = [v for v in context.view.versions if v.spec.artifact.sha256 == sha256]
    measured_on = {digest for version in records if (digest := _test_set(version)) is not None}
    name = (live.version if live else live_sha256) if live_sha256 else base.version
    served = live.version if live is not None and live_sha256 else ""
    known = _known(context.view.versions, base=base.artifact.sha256, sha256=sha256, served=served)
    split = measured_on.pop() if len(measured_on) == 1 else None
    fields = live.fields if live is not None else None
    return Standing(name, split, is_live=live_sha256 is not None, known=known, fields=fields)


def _test_set(version: ModelVersion) -> str | None:
    """Return the digest of the test split that a version was measured on: by its run, or as an imported base."""
    evidence, status = version.spec.evidence, version.status
    measured = evidence.test_set if evidence is not None else status.test_set
    return measured.digest if measured is not None else None


def _known(versions: tuple[ModelVersion, ...], *, base: str, sha256: str, served: str) -> tuple[Known, ...]:
    """Return what was measured before of the base and of the bytes `sha256`, which go by the name `served`.

    What the base was measured as beside the live version comes before its own verification: what was approved since
    makes the yardstick, also where a newer evaluator measures otherwise. So, of several records of the same bytes, does
    that under whose name they went live: the others may be of an earlier round, which nobody approved.
    """
    ordered = sorted(versions, key=lambda version: version.spec.version)
    live = [v for v in ordered if v.spec.artifact.sha256 == sha256]
    live = [v for v in live if v.spec.version == served and _measured(v, sha256) is not None] or live
    beside = [v for v in live if sha256 != base and v.spec.lineage is not None and v.spec.lineage.base_sha256 == base]
    of_base = [made for version in beside if (made := _measured(version, base, "baseMap50")) is not None]
    if not of_base:
        own = (v for v in ordered if v.spec.artifact.sha256 == base)
        of_base = [made for version in own if (made := _measured(version, base)) is not None]
    of_live = [made for version in live if sha256 != base and (made := _measured(version, sha256)) is not None]
    return (*of_base, *of_live)


def _measured(version: ModelVersion, sha256: str, figure: str = CANDIDATE_MAP50) -> Known | None:
    """Return what the record of a version says that was measured of those bytes; None where it does not say all."""
    evidence, status = version.spec.evidence, version.status
    map50 = evidence.figure(figure) if evidence is not None else status.map50
    split = evidence.test_set if evidence is not None else status.test_set
    if map50 is None or split is None:
        return None
    fields = split.fields or len(version.spec.classes)
    return Known(sha256, version.spec.version, split.digest, split.images, map50, fields)
