"""Pre-labels as COCO, CVAT and YOLO have them; their pictures lie in images/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from xml.etree import ElementTree

from .returned import Mark, label_text
from .written import WrittenPage


def coco_files(pages: Sequence[WrittenPage], classes: Sequence[str]) -> Mapping[str, bytes]:
    """Return annotations/instances_default.json, where CVAT and others look for it."""
    annotations = [
        {
            "id": 0,
            "image_id": number,
            "category_id": 1 + classes.index(label.field),
            "bbox": [label.left, label.top, label.width, label.height],
            "area": label.width * label.height,
            "segmentation": [],
            "iscrowd": 0,
            "score": label.confidence,
        }
        for number, page in enumerate(pages, start=1)
        for label in page.pre_labels
    ]
    document = {
        "images": [
            {"id": number, "file_name": page.name, "width": page.width, "height": page.height}
            for number, page in enumerate(pages, start=1)
        ],
        "annotations": [annotation | {"id": number} for number, annotation in enumerate(annotations, start=1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
    }
    return {"annotations/instances_default.json": json.dumps(document, indent=1, ensure_ascii=False).encode()}


def cvat_files(pages: Sequence[WrittenPage], classes: Sequence[str]) -> Mapping[str, bytes]:
    """Return annotations.xml ("CVAT for images 1.1"), and labels.json for the task's constructor."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for name in classes:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "type").text = "rectangle"
        ElementTree.SubElement(label, "attributes")
    for number, page in enumerate(pages):
        size = {"width": str(page.width), "height": str(page.height)}
        image = ElementTree.SubElement(root, "image", {"id": str(number), "name": page.name, **size})
        for answer in page.pre_labels:
            corners = {"xtl": answer.left, "ytl": answer.top, "xbr": answer.right, "ybr": answer.bottom}
            box = {key: f"{value:.2f}" for key, value in corners.items()}
            ElementTree.SubElement(image, "box", {"label": answer.field, "occluded": "0", **box, "z_order": "0"})
    ElementTree.indent(root)
    of_the_task = [{"name": name, "type": "rectangle", "attributes": []} for name in classes]
    return {
        "annotations.xml": ElementTree.tostring(root, encoding="utf-8", xml_declaration=True),
        "labels.json": json.dumps(of_the_task, indent=1, ensure_ascii=False).encode(),
    }


def yolo_files(pages: Sequence[WrittenPage], classes: Sequence[str]) -> Mapping[str, bytes]:
    """Return labels/, classes.txt and data.yaml."""
    files = {
        f"labels/{PurePosixPath(page.name).stem}.txt": label_text(
            [
                Mark(p.field, p.left / page.width, p.top / page.height, p.right / page.width, p.bottom / page.height)
                for p in page.pre_labels
            ],
            classes,
        )
        for page in pages
    }
    names = json.dumps({"train": "images", "val": "images", "names": list(classes)}, ensure_ascii=False)
    return {**files, "classes.txt": ("\n".join(classes) + "\n").encode(), "data.yaml": names.encode()}
