"""Which base a run starts from that names none."""

from collections.abc import Iterable

from ..api.model_version import ModelVersion
from ..api.names import series_of


def newest_base(versions: Iterable[ModelVersion], model: str) -> ModelVersion | None:
    """Return the newest base of that model that is not being deleted: by series, then by creation."""
    bases = (v for v in versions if v.spec.model == model and v.spec.type == "Base")
    return max((v for v in bases if v.metadata.deletion_timestamp is None), key=_age, default=None)


def _age(base: ModelVersion) -> tuple[int, str]:
    created = base.metadata.creation_timestamp
    return series_of(base.spec.version) or 0, created.isoformat() if created else ""
