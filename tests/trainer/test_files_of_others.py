"""Files that other tools and systems leave: a label of theirs makes no empty page, and what was deleted is no page."""

from __future__ import annotations

import io
import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from finetune_trainer.data.anchor import build_index
from finetune_trainer.data.decoding import decode_page
from finetune_trainer.data.images import Picture, inspect_image
from finetune_trainer.data.materialise import materialise
from finetune_trainer.data.page_documents import own_document, said_documents
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_batch import NewBatch, Origin, add_batch
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.plan import Sample
from finetune_trainer.errors import StepError
from finetune_trainer.storage import Storage
from trainer.world import BATCH_TIME, CLASSES, VERIFICATION, World, add_to_pool, withdraw_from, write_new_pages

AZURE = '{"$schema": "labels.json", "document": "page-7000.png", "labels": [{"label": "total", "value": []}]}'
OF_OTHERS = {
    "images/train/page-7000.png.labels.json": AZURE,
    "images/train/page-7000.pdf.labels.json": AZURE,
    "ann/page-7000.png.json": '{"metadata": {}, "instances": [{"type": "bbox", "className": "total"}]}',
    "documents/page-7000.json": '{"entities": [{"type": "total", "pageAnchor": {"pageRefs": []}}]}',
    "ann/page-7000.json": '{"form": [{"box": [1, 2, 3, 4], "text": "9", "label": "answer"}]}',
    "annotations/page-7000.txt": "684,8,273,116,0,0,0,0\n406,119,265,70,0,0,0,0,\n",
    "label_2/page-7000.txt": "total 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n",
    "annotations/page-7000.TXT": "0;0,5;0,5;0,2;0,2\n",
}
HARMLESS = {
    "images/train/page-7000.png.ocr.json": '{"status": "succeeded", "analyzeResult": {"pages": [{"lines": []}]}}',
    "records/page-7000.json": '{"fields": [{"field": "label", "confidence": 0.5}, {"field": "objects"}]}',
    "text/page-7000.txt": "Invoice 7\nTotal 1 2 3 4 5\n",
    "text/page-7001.txt": "1,2,3,4,5\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_new_pages(tmp_path / "folder", count=4, first=7000)


def add(world: World, folder: Path, **said: Any) -> Any:
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), VERIFICATION, said.pop("documents", {}), **said)
    return add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_page_with_a_label_of_another_tool_is_no_page_without_a_box(world: World, folder: Path, name: str) -> None:
    (folder / "labels/train/page-7000.txt").unlink()
    write(folder, name, OF_OTHERS[name])
    with pytest.raises(
        StepError, match=r"a label of images/train/page-7000\.png in a format that is not read"
    ) as caught:
        add(world, folder, background=0.5)
    assert name in caught.value.message


@pytest.mark.parametrize("name", OF_OTHERS)
def test_what_another_tool_wrote_of_a_page_that_has_its_label_is_left_out(
    world: World, folder: Path, name: str
) -> None:
    write(folder, name, OF_OTHERS[name])
    assert f"left out, neither page nor label: {name}" in add(world, folder).remarks


COCO = '{"images": [{"id": 1, "file_name": "NAME"}], "annotations": [{"bbox": [1, 2, 3, 4]}], "categories": []}'
OF_MANY = {
    "_annotations.coco.json": COCO,
    "coco/räkning.json": COCO.replace("NAME", "images/NAME"),
    "annotations.xml": '<annotations><image name="train/NAME"><box label="total"/></image></annotations>',
    "output.manifest": '{"source-ref": "s3://b/NAME", "boxes": {"annotations": [{"class_id": 0, "top": 1}]}}\n',
    "via.json": '{"NAME123": {"filename": "NAME", "regions": [{"shape_attributes": {"name": "rect"}}]}}',
    "via.csv": 'filename,region_count,region_shape_attributes\nNAME,1,"{""x"":1,""y"":2}"\n',
    "_annotations.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\nNAME,128,128,total,1,2,30,40\n",
}


@pytest.mark.parametrize("name", OF_MANY)
@pytest.mark.parametrize("page", ["page-7000", "räkning 7"])
def test_a_page_whose_label_stands_in_a_file_of_many_is_no_page_without_a_box(
    world: World, folder: Path, name: str, page: str
) -> None:
    (folder / "labels/train/page-7000.txt").unlink()
    (folder / "images/train/page-7000.png").rename(folder / f"images/train/{page}.png")
    said = json.dumps(f"{page}.png")[1:-1] if name.endswith("json") else f"{page}.png"
    write(folder, name, OF_MANY[name].replace("NAME", said))
    with pytest.raises(StepError, match=rf"not read, and images/train/{page}\.png, which it names, has none") as caught:
        add(world, folder, background=0.5)
    assert name in caught.value.message
    write(folder, name, OF_MANY[name].replace("NAME", "1" + said))
    assert f"left out, neither page nor label: {name}" in add(world, folder, background=0.5).remarks


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.json", '{"page-7000.png": "document 7", "page-7001.png": "document 7"}'),
        ("pages.csv", "file,supplier,pages\npage-7000.png,Supplier,2\n"),
        ("train.txt", "./images/train/page-7000.png\n"),
    ],
)
def test_what_else_names_a_page_has_no_label_of_it(world: World, folder: Path, name: str, text: str) -> None:
    (folder / "labels/train/page-7000.txt").unlink()
    write(folder, name, text)
    assert f"left out, neither page nor label: {name}" in add(world, folder, background=0.5).remarks


LABELME = '{"shapes": [{"label": "total"}]}'


def test_what_another_tool_wrote_of_a_page_is_no_label_of_one_that_is_called_alike(world: World, folder: Path) -> None:
    """In folders of suppliers each has a page 0001: the one was converted, and the other one is empty."""
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (folder / kind / "b").mkdir()
        (folder / f"{kind}/train/page-7001.{suffix}").rename(folder / f"{kind}/b/page-7000.{suffix}")
    (folder / "labels/b/page-7000.txt").unlink()
    write(folder, "images/train/page-7000.json", LABELME)
    assert "left out, neither page nor label: images/train/page-7000.json" in add(world, folder, background=0.5).remarks


@pytest.mark.parametrize("place", ["raw", "."])
def test_what_another_tool_wrote_of_a_picture_in_no_split_is_left_out(world: World, place: str) -> None:
    write(world.anchor, f"{place}/page-0.json", LABELME)
    shutil.copy(world.anchor / "images/train/page-0.png", world.anchor / place)
    said = build_index(Storage(), world.anchor.as_uri()).remarks
    name = str(Path(place, "page-0"))
    assert f"left out, in no split of data.yaml: {name}.png" in said
    # Where something trained on the anchor, ultralytics' caches are named with it.
    [other] = (remark for remark in said if remark.startswith("left out, neither page nor label: "))
    assert other.endswith(f" {name}.json")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_was_read_of_a_page_is_no_label_of_it(world: World, folder: Path, name: str) -> None:
    (folder / "labels/train/page-7000.txt").unlink()
    write(folder, name, HARMLESS[name])
    assert f"left out, neither page nor label: {name}" in add(world, folder, background=0.5).remarks


@pytest.mark.parametrize("name", ["Classes.txt", "DATA.YAML", "Obj.names"])
def test_a_list_of_classes_in_other_letters_is_said_to_be_there(world: World, folder: Path, name: str) -> None:
    (folder / "data.yaml").rename(folder / name)
    with pytest.raises(StepError, match=f"; {name} lies there") as caught:
        add(world, folder)
    assert caught.value.remedy == f"Rename {name} to {name.lower()}."


BINS = ("#recycle", "@Recycle", "$RECYCLE.BIN", ".Trash-1000", "images/train/.Trashes", "#snapshot/daily")


@pytest.mark.parametrize("place", BINS)
def test_what_was_deleted_is_no_page(world: World, folder: Path, place: str) -> None:
    """Network storage keeps it beside what is there, under the same names, for weeks."""
    for path in ("images/train/page-7003.png", "labels/train/page-7003.txt"):
        (folder / place / path).parent.mkdir(parents=True)
        shutil.move(folder / path, folder / place / path)
    said = add(world, folder)
    assert len(said.batch.samples) == 3
    kept = f"{place}/images/train/page-7003.png, {place}/labels/train/page-7003.txt"
    assert f"left out, in a folder of what was deleted: {kept}" in said.remarks


def test_a_list_that_names_what_was_deleted_is_refused(world: World) -> None:
    anchor = world.anchor
    (anchor / "#recycle").mkdir()
    (anchor / "images/train/page-0.png").rename(anchor / "#recycle/page-0.png")
    text = (anchor / "data.yaml").read_text().replace("images/train", "train.txt")
    (anchor / "data.yaml").write_text(text)
    (anchor / "train.txt").write_text("#recycle/page-0.png\n")
    with pytest.raises(StepError, match=r"names '#recycle/page-0\.png', which is in a folder of what was deleted"):
        build_index(Storage(), anchor.as_uri())


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "räkning 7") for form in ("NFC", "NFD"))


def documents_of(world: World) -> list[str]:
    return [sample.document for sample in read_pool(Storage(), world.pool.as_uri(), CLASSES).samples]


@pytest.mark.parametrize(("first", "second"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), ("INV-7", " INV-7 ")])
def test_a_document_that_is_written_in_two_ways_is_one(world: World, tmp_path: Path, first: str, second: str) -> None:
    """Half of it would train, and the other half judge."""
    one, other = (write_new_pages(tmp_path / str(n), count=2, first=n) for n in (7000, 7100))
    add_to_pool(world.pool, one, world.anchor, {"page-7000": first, "page-7001": second})
    add_to_pool(world.pool, other, world.anchor, {"page-7100": second})
    named = documents_of(world)[-4:]
    assert named[0] == named[1] == named[2] != named[3]
    assert len(withdraw_from(world.pool, documents=(second,)).pages) == 3


def test_a_document_is_called_as_the_pool_has_it(world: World, tmp_path: Path) -> None:
    """One of before it was looked at, or of a captured page, by whose name it is known in production."""
    one, other = (write_new_pages(tmp_path / str(n), count=1, first=n) for n in (7000, 7100))
    add_to_pool(world.pool, one, world.anchor, {"page-7000": COMPOSED})
    [manifest] = [path for path in (world.pool / "batches").iterdir() if COMPOSED in path.read_text()]
    manifest.write_text(manifest.read_text().replace(COMPOSED, DECOMPOSED))
    add_to_pool(world.pool, other, world.anchor, {"page-7100": COMPOSED})
    assert documents_of(world)[-2:] == [DECOMPOSED, DECOMPOSED]


@pytest.mark.parametrize("known", [COMPOSED, DECOMPOSED])
def test_captured_pages_of_a_document_that_is_written_in_two_ways_are_of_one(
    world: World, tmp_path: Path, known: str
) -> None:
    """Clients name documents by their files, and macOS writes accents otherwise."""
    for first, names in ((7000, (known,)), (7100, (COMPOSED, f" {DECOMPOSED}"))):
        folder = write_new_pages(tmp_path / str(first), count=len(names), first=first)
        images = (f"images/train/page-{first + n}.png" for n in range(len(names)))
        add(world, folder, origins={image: Origin(name) for image, name in zip(images, names, strict=True)})
    assert len(set(documents_of(world)[-3:])) == 1


def test_a_map_may_say_one_document_in_two_ways() -> None:
    assert said_documents(["a/p.png"], {"p": COMPOSED, "a/p.png": f"{DECOMPOSED} "}) == {"a/p.png": COMPOSED}


@pytest.mark.parametrize(
    ("said", "one", "other"),
    [
        ("jpg", "0a" * 16, "1b" * 16),
        ("HEIC", "0a" * 16, "1b" * 16),
        ("avif", "0a" * 16, "1b" * 16),
        ("jpg", "ZQtObiTd116CaXJ7v2Oh", "Kpd9DSkhjuW0yLXWtExz"),
    ],
)
def test_versions_of_a_page_that_roboflow_made_are_one_document(
    world: World, folder: Path, said: str, one: str, other: str
) -> None:
    """Turned and darker ones, of which one would train and the other judge. By now letters by chance stand there."""
    for seed, made in ((7000, one), (7001, other)):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            path = folder / kind / f"train/page-{seed}.{suffix}"
            path.rename(path.with_name(f"scan_{said}.rf.{made}.{suffix}"))
    add_to_pool(world.pool, folder, world.anchor)
    document, again, *others = sorted(
        documents_of(world)[-4:], key=lambda name: not name.endswith("/images/train/scan")
    )
    assert document == again
    assert len({document, *others}) == 3


@pytest.mark.parametrize("name", ["_jpg.rf.0a", "p", "a.b"])
def test_a_page_is_a_document_of_its_own_by_its_name(name: str) -> None:
    assert own_document("b1", f"images/{name}.png") == f"b1/images/{name}"


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".jpg"])
@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("PNG", "P"), ("WEBP", "L"), ("TIFF", "1"), ("TIFF", "RGB")]
)
def test_a_turned_page_trains_turned_under_whatever_suffix(tmp_path: Path, kind: str, mode: str, suffix: str) -> None:
    """Of a photo that was renamed to .tif training left out the turn, and its labels stood elsewhere."""
    from ultralytics.utils.patches import imread

    pixels = np.full((40, 80, 3), 200, np.uint8)
    pixels[5:15, 5:30] = 20
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / f"page{suffix}"
    Image.fromarray(pixels).convert(mode).save(file, kind, exif=exif)
    data = file.read_bytes()
    sample = Sample(FileReference(file.as_uri(), sha256_of(data)), None, len(data), 0)
    [placed] = materialise(Storage(), [sample], tmp_path / "train")
    trained, measured = imread(placed), decode_page(data)
    assert measured is not None
    assert np.array_equal(trained, measured)


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize(
    ("kind", "where"), [*((kind, "exif") for kind in ("JPEG", "PNG", "WEBP", "TIFF")), ("JPEG", "xmp"), ("WEBP", "xmp")]
)
def test_a_page_is_said_to_be_turned_where_it_is(kind: str, where: str) -> None:
    """Labels of a page as another program turned it stand elsewhere on the page that is trained on."""
    exif = Image.Exif()
    exif[0x0112] = 6
    said: dict[str, Any] = {"exif": exif} if where == "exif" else {"xmp": XMP}
    file = io.BytesIO()
    Image.fromarray(np.full((40, 80, 3), 200, np.uint8)).save(file, kind, **said)
    shown = inspect_image(file.getvalue())
    assert isinstance(shown, Picture)
    turned = (shown.width, shown.height) == (40, 80)
    assert turned == (where == "exif")
    [remark] = shown.remarks
    assert remark.startswith("turned by their EXIF orientation" if turned else "marked as turned")
    assert remark.endswith("the turned page" if turned else "the page as it is stored")
