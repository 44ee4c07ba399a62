"""What is known of the version that a candidate is held against, from the records of that version."""

from ...api.model_version import ModelVersion
from ..gates.gate import Standing
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
    return Standing(name, measured_on.pop() if len(measured_on) == 1 else None, is_live=live_sha256 is not None)


def _test_set(version: ModelVersion) -> str | None:
    """Return the digest of the test split that a version was measured on: by its run, or as an imported base."""
    evidence, status = version.spec.evidence, version.status
    measured = evidence.test_set if evidence is not None else status.test_set
    return measured.digest if measured is not None else None
