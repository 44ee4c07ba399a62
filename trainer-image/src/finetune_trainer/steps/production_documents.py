"""Documents of production as they were captured, and what two models make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..digests import sha256_of
from ..documents.codec import FileReference
from ..documents.plan import DrawnDocument, DrawnPage, Sample
from ..documents.production import CapturedPage, parse_page
from ..evaluation.detector import Detector
from ..evaluation.evaluate import run_model, validation
from ..evaluation.fields import Model
from ..evaluation.pages import Page, PageResult, labels_of
from ..evaluation.postprocess import Thresholds
from ..evaluation.production import Compared
from ..labelling.drawing import page_file
from ..production.drawing import document_of
from ..storage import Storage, join
from .context import StepContext
from .listed_pool import differs


@dataclass(frozen=True, slots=True)
class CapturedDocument:
    """A drawn document whose pages are there, as the pool would call it: their pictures lie in scratch."""

    name: str
    drawn: DrawnDocument
    pages: tuple[Page, ...]

    @property
    def labelled(self) -> bool:
        """Whether each page has labels of the pool."""
        return all(page.label is not None for page in self.drawn)


def fetch_documents(context: StepContext, drawn: Sequence[DrawnDocument], classes: int) -> list[CapturedDocument]:
    """Return the documents of which every page is there, with each page's picture in scratch for both models.

    StepError DigestMismatch where a record says otherwise than the plan: a plan lies in the store, and what it calls a
    hundred documents may be one page a hundred times, or one that hides in another what is lost on it.
    """
    folder = context.scratch / "production"
    folder.mkdir(parents=True, exist_ok=True)
    counted = context.progress.counting("fetching documents of production", "documents", percent=(90, 91))
    there: list[CapturedDocument] = []
    numbers: dict[str, int] = {}
    names: dict[int, str] = {}
    for number, document in enumerate(drawn):
        pages: list[Page] = []
        for at, page in enumerate(document):
            record = _record(context.storage, page)
            if isinstance(record, CapturedPage):
                name = document_of(record)
                if numbers.setdefault(name, number) != number or names.setdefault(number, name) != name:
                    raise differs("its documents of production have pages of one document under two, or the reverse")
            picture = folder / f"{number}-{at}"
            fetched = record if isinstance(record, str) else _page(context.storage, page, record, picture, classes)
            if isinstance(fetched, str):
                context.progress.report(percent=90, activity=f"passed over page {page.prediction}: {fetched}")
                break
            pages.append(fetched)
        if len(pages) == len(document):
            there.append(CapturedDocument(names[number], document, tuple(pages)))
        counted(number + 1, len(drawn))
    return there


def _record(storage: Storage, drawn: DrawnPage) -> CapturedPage | str:
    """Return the record of a drawn page, or why it is not to be had any more."""
    data = storage.read_if_there(drawn.record.uri)
    if data is None or sha256_of(data) != drawn.record.sha256:
        return "its record is gone" if data is None else "its record was changed"
    record = parse_page(data, drawn.record.uri)
    if record.stratum != "Random":
        raise differs(f"its documents of production have a page of the stratum {record.stratum}")
    if (record.prediction, record.page.pixels) != (drawn.prediction, drawn.pixels):
        raise differs(f"its documents of production have page {drawn.prediction} with another record than its own")
    return record


def _page(storage: Storage, drawn: DrawnPage, record: CapturedPage, picture: Path, classes: int) -> Page | str:
    """Return a page as the server answered it, with its labels; or why it is not to be had any more."""
    place = join(day_of(drawn), "files", record.page.sha256)
    came = storage.read_if_there(place)
    shown = "its bytes have expired, or were erased" if came is None else page_file(record, came)
    if isinstance(shown, str):
        return shown
    picture.write_bytes(shown.data)
    image = FileReference(place, sha256_of(shown.data))
    label = b"" if drawn.label is None else storage.read_if_there(drawn.label.uri)
    if label is None:
        return "its label was erased"
    sample = Sample(image, drawn.label, len(shown.data), boxes=0, fields=drawn.fields)
    return Page(sample, labels_of(sample, label, classes), lambda _: picture.read_bytes())


def day_of(page: DrawnPage) -> str:
    """Return the folder of the day that a page was captured on: days/<date>/pages/random/<prediction>.json."""
    return page.record.uri.rsplit("/", 3)[0]


def compare(
    context: StepContext,
    models: Mapping[Model, tuple[Detector, str]],
    there: Sequence[CapturedDocument],
    *,
    must_answer: bool = False,
) -> list[Compared]:
    """Run what is live (the base, where nothing else is) and the candidate on these documents, each as it serves.

    Where a verdict hangs on it the candidate `must_answer` each page, as run_model has it.
    """
    pages = [page for each in there for page in each.pages]
    by_model: list[list[PageResult]] = []
    names: tuple[Model, Model] = ("live" if "live" in models else "base", "candidate")
    for number, name in enumerate(names):
        counted = context.progress.counting(
            f"running {name} on documents of production", "pages", percent=(91 + 2 * number, 93 + 2 * number)
        )
        detector = models[name][0]
        # What is live may have other settings than the policy has by now: production sees what it answers with its own.
        measured, served = validation(detector.serving), Thresholds.of(detector.serving)
        must = must_answer and name == "candidate"
        by_model.append(run_model(detector, pages, measured, counted, served=served, must_answer=must)[0])
    compared: list[Compared] = []
    first = 0
    for each in there:
        old, new = (results[first : first + len(each.pages)] for results in by_model)
        compared.append(Compared(each.labelled, old, new))
        first += len(each.pages)
    return compared
