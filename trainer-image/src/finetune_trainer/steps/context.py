"""What every step is given: explicit dependencies instead of globals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..cpu import Cpus
from ..progress import Progress
from ..storage import Storage
from .publish import Publisher


@dataclass(frozen=True, slots=True)
class StepContext:
    """Storage, the publisher of this step's files, its progress, a folder to write in, the CPUs to use."""

    storage: Storage
    publisher: Publisher
    progress: Progress
    scratch: Path
    cpus: Cpus
