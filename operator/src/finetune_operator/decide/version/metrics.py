"""The metrics of a version: how the Jobs ended that measured it."""

from collections.abc import Iterator

from ...api.model_version import VersionStatus
from ..attempts import metrics as attempts
from ..decision import RecordMetric
from .view import VersionView


def metrics(view: VersionView, after: VersionStatus) -> Iterator[RecordMetric]:
    """Yield what is to be recorded of a change, from the status in `view` to the one `after` it."""
    version = view.version
    return attempts.metrics(
        version.status.attempts, after.attempts, namespace=version.metadata.namespace, model=version.spec.model
    )
