"""Class names of any script, as many and as long as can be: in the answer, the series and the settings alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.support import ServerProcess, encode, install_model, page_with, tiny_model

ODD = (
    "Gesamt­betrag",
    'a "quoted" name',
    "back\\slash",
    "{brace}=1",
    "Счёт № 7",
    "請求書番号",
    "مجموع",
    "🧾",
    "no",
    "1e3",
)
LONGEST = tuple(f"{number:02}" + "漢" * 61 for number in range(70))
CLASSES = (*ODD, *LONGEST)
"""80 names; the longest have 63 characters and 185 bytes."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("names")
    directory = install_model(folder / "model", tiny_model(CLASSES))
    server = ServerProcess(directory, folder / "log", {"FINETUNE_EXPECTED_FIELDS": ",".join(CLASSES[:40])})
    server.wait_ready()
    yield server
    server.kill()


def by_field(server: ServerProcess, name: str) -> dict[str, float]:
    """A metric's samples by the label `field`, read as Prometheus reads them."""
    families = text_string_to_metric_families(server.get("/metrics").content.decode())
    return {s.labels["field"]: s.value for family in families for s in family.samples if s.name == name}


def test_every_name_is_answered_and_counted_as_it_is(server: ServerProcess) -> None:
    assert len(CLASSES) == 80
    assert list(by_field(server, "finetune_field_detected_total")) == list(CLASSES)
    answer = server.predict(encode(page_with("green", at=(16, 32))))
    green = {name for index, name in enumerate(CLASSES) if index % 3 == 1}
    assert {detection["field"] for detection in answer.json["fields"]} == green
    counted = by_field(server, "finetune_field_detected_total")
    assert {name for name, count in counted.items() if count} == green
    expected = by_field(server, "finetune_field_expected_total")
    assert {name for name, count in expected.items() if count} == set(CLASSES[:40])


def test_a_single_class_is_served(tmp_path: Path) -> None:
    directory = install_model(tmp_path / "model", tiny_model(("犬",)))
    server = ServerProcess(directory, tmp_path / "log", {})
    try:
        server.wait_ready()
        answer = server.predict(encode(page_with("red", at=(16, 32))))
        assert {detection["field"] for detection in answer.json["fields"]} == {"犬"}
        assert by_field(server, "finetune_field_detected_total") == {"犬": 1}
    finally:
        server.kill()
