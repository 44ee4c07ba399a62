"""What the trainer accepts from the operator, and what it says when it does not."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_trainer.commands.import_base import ImportRequest
from finetune_trainer.data.anchor import build_index
from finetune_trainer.documents.classes import check_class_names
from finetune_trainer.documents.codec import LONGEST_URI, FileReference
from finetune_trainer.documents.result import (
    RESULT_LIMIT,
    RESULT_SCHEMA,
    Added,
    Artifact,
    Baseline,
    Emitted,
    EvaluateResult,
    Measured,
    Models,
    NewSet,
    ProductionSet,
    Rates,
    ResumedFrom,
    TestSet,
    TrainResult,
    VerifiedModels,
    VerifyResult,
)
from finetune_trainer.documents.run import FieldsLimits, FloorLimits, parse_run_document
from finetune_trainer.errors import Reason, StepError, bad_input
from finetune_trainer.evaluation.fields import FieldCounts, Model, worst_drops, worst_floors
from finetune_trainer.evaluation.production import ReplayCounts
from finetune_trainer.steps.job import failed, fitting
from finetune_trainer.steps.measure import Span, added_fields
from finetune_trainer.steps.production_replay import columns
from finetune_trainer.storage import Storage
from house.crds import crds
from trainer.world import World

SHA = "a" * 64
BASE = {
    "version": "base_v1",
    "artifact": {"uri": "file:///a", "sha256": SHA},
    "checkpoint": {"uri": "file:///c", "sha256": SHA},
    "inputs": None,
}


def parse_error(content: dict[str, Any]) -> StepError:
    with pytest.raises(StepError) as caught:
        parse_run_document(json.dumps(content).encode())
    assert caught.value.reason is Reason.CONTRACT_VIOLATED
    return caught.value


@pytest.mark.parametrize(
    ("change", "value", "named"),
    [
        ("training__optimizer", "auto", "$.training.optimizer"),
        ("training__optimizer", "RMSProp", "$.training.optimizer"),
        ("training__nominalBatch", 65_537, "$.training.nominalBatch"),
        ("training__lr0", 0.001, "$.training.lr0"),
        ("training__lr0", "fast", "$.training.lr0"),
        ("training__epochs", 0, "$.training.epochs"),
        ("training__newKnob", 1, "newKnob"),
        ("training__augment__fliplr", "1.5", "$.training.augment.fliplr"),
        ("serving__imageSize", 300, "$.serving.imageSize"),
        ("holdout", "20%", "$.holdout"),
        ("mixing__ratio", "lots", "$.mixing.ratio"),
        ("mixing__seed", -1, "$.mixing.seed"),
        ("classes", [], "$.classes"),
        ("classes", [f"class-{n}" for n in range(81)], "length <= 80"),
        ("classes", ["c" * 64], "$.classes"),
        ("classes", ["number,date"], "$.classes"),
        ("mode", "Retrain", "mode"),
        ("base__artifact__sha256", "short", "$.base.artifact.sha256"),
        ("surprise", True, "surprise"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(shared_world: World, change: str, value: object, named: str) -> None:
    content = json.loads(json.dumps(shared_world.document(BASE)))
    *parents, last = change.split("__")
    target = content
    for parent in parents:
        target = target[parent]
    target[last] = value
    assert named in parse_error(content).message


def test_another_schema_is_an_error_that_names_both_versions(shared_world: World) -> None:
    message = parse_error(shared_world.document(BASE, schema="finetune-operator.io/run-document/v2")).message
    assert "run-document/v2" in message
    assert "run-document/v1" in message


@pytest.mark.parametrize(
    "data",
    [b'{"schema": "\xff"}', b'{"mode": "FineTune", "gates": ' + b'{"a": ' * 100_000, b"\xef\xbb\xbf{}", b"", b"NaN"],
    ids=["no UTF-8", "nested without end", "a byte order mark", "nothing", "no number"],
)
def test_bytes_that_are_no_document_are_refused_as_one(data: bytes) -> None:
    with pytest.raises(StepError) as caught:
        parse_run_document(data)
    assert caught.value.reason is Reason.CONTRACT_VIOLATED


def test_very_small_decimals_arrive_with_an_exponent(shared_world: World) -> None:
    document = shared_world.parsed(BASE, training__lr0="1E-8")
    assert float(document.training.lr0) == 1e-8


MOST_BOXES = 10_000_000
"""Boxes of one field that are thought of: a test set of a million pages."""


def replayed(counts: ReplayCounts) -> ProductionSet:
    """What the third gate's documents come to, of as many as can be asked for."""
    return ProductionSet(SHA, 1000, 1000, 1000, 1000, **columns(counts, "Paired"))


def replay_counts(documents: int = 1000) -> st.SearchStrategy[ReplayCounts]:
    """Documents that are right before, lost and gained, for each of 80 fields."""
    each = st.integers(0, documents).flatmap(
        lambda old: st.tuples(st.just(old), st.integers(0, old), st.integers(0, documents - old))
    )
    return st.lists(each, min_size=80, max_size=80).map(lambda rows: ReplayCounts(*zip(*rows, strict=True)))


ALL_LOST = ReplayCounts((1000,) * 80, (1000,) * 80, (0,) * 80)


def evaluation(
    uri_length: int,
    counts: dict[Model, FieldCounts],
    ap50: dict[Model, tuple[int, ...]],
    production: ReplayCounts | None = None,
    span: Span | None = None,
) -> Emitted:
    """What `evaluate` reports, with counts as long as they can be."""
    rates = Rates(2**31 - 1, 2**31 - 2, "0.999999", "0.999999", "0.999999")
    measured = Measured(SHA, "0.999999", rates, rates, "0.999999", "999.999999")
    span = span or Span(80, 80)
    floor = worst_floors(FloorLimits(), counts, range(80))
    added = added_fields(worst_floors(FloorLimits(), counts, span.added))
    test_set = TestSet(SHA, 2**31 - 1, 2**31 - 1, worst_drops(FieldsLimits(), counts, ap50, range(80)), floor)
    result = EvaluateResult(
        SHA,
        "finetune-trainer 0.1.0",
        test_set,
        NewSet(SHA, 2**31 - 1, 2**31 - 1, True, floor),
        Models(measured, measured, measured if "live" in counts else None),
        None if production is None else replayed(production),
        Baseline(1000, *((1000,) * 8,) * 2, "0.999999"),
        Added(span.known, 2**31 - 1, 2**31 - 1, added, added) if span.added else None,
    )
    manifest = FileReference("s3://" + "b" * uri_length, SHA)
    return Emitted(RESULT_SCHEMA, "evaluate", "u" * 64, 1000, "Succeeded", manifest, msgspec.to_builtins(result))


def field_counts(classes: int) -> st.SearchStrategy[dict[Model, FieldCounts]]:
    """Counts of candidate, base and live for each field; boxes are the same for all."""

    def of(boxes: tuple[int, ...]) -> st.SearchStrategy[FieldCounts]:
        matched = st.tuples(*(st.integers(0, most) for most in boxes))
        more = st.tuples(*(st.integers(0, MOST_BOXES) for _ in boxes))
        return st.builds(
            lambda f, m: FieldCounts(boxes, f, tuple(min(a + b, MOST_BOXES) for a, b in zip(f, m, strict=True))),
            matched,
            more,
        )

    def of_all(boxes: tuple[int, ...]) -> st.SearchStrategy[dict[Model, FieldCounts]]:
        return st.fixed_dictionaries({"candidate": of(boxes), "base": of(boxes)}, optional={"live": of(boxes)})

    return st.tuples(*(st.integers(0, 60) | st.integers(0, MOST_BOXES) for _ in range(classes))).flatmap(of_all)


@given(counts=field_counts(80), production=replay_counts(), data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_worst_of_80_fields_always_fit_and_the_verdict_hangs_on_nothing_that_was_left_out(
    counts: dict[Model, FieldCounts], production: ReplayCounts, data: st.DataObject
) -> None:
    shares = st.lists(st.integers(0, 1_000_000), min_size=80, max_size=80).map(tuple)
    ap50: dict[Model, tuple[int, ...]] = {name: data.draw(shares) for name in counts}
    message = fitting(evaluation(1200, counts, ap50, production, Span(80, 40)))
    assert len(message) <= RESULT_LIMIT
    result = json.loads(message)["result"]
    for name in counts:
        assert result["models"][name]["map50"] == "0.999999"
        assert result["models"][name]["fresh"]["matched"] == 2**31 - 2
    compared = result["production"]
    lost = {f for f in range(80) if production.lost[f] - production.gained[f] >= 3}
    assert compared["measured"] == 80
    assert 1 <= len(compared["field"]) <= 8
    assert set(compared["field"][: len(lost)]) <= lost
    assert compared["lost"] == [production.lost[f] for f in compared["field"]]
    large = [f for f in range(80) if counts["candidate"].boxes[f] >= 30]
    others = [name for name in counts if name != "candidate"]
    worse = {
        f
        for f in large
        if max(ap50[name][f] for name in others) - ap50["candidate"][f] >= 30_000
        and max(counts[name].matched[f] for name in others) - counts["candidate"].matched[f] >= 3
    }
    mine = counts["candidate"]
    below = {f for f in large if 2 * mine.matched[f] <= max(mine.boxes[f], mine.detections[f])}
    rules = (
        (result["testSet"]["drops"], worse, large),
        (result["testSet"]["floor"], below, large),
        (result["newSet"]["floor"], below, large),
        *((result["added"][s], below & set(range(40, 80)), [f for f in large if f >= 40]) for s in ("test", "new")),
    )
    for listed, breaks, measured in rules:
        fields = listed["field"]
        assert listed["measured"] == len(measured)
        assert len(fields) == len(set(fields)) <= 8
        first = fields[: len(breaks)]
        assert set(first) <= breaks, "whoever breaks the rule comes first"
        assert bool(fields) == bool(measured)
        assert listed["boxes"] == [mine.boxes[f] for f in fields]
        of_all = listed["matched"]
        assert (of_all if isinstance(of_all, list) else of_all["candidate"]) == [mine.matched[f] for f in fields]


@pytest.mark.parametrize("production", [None, ALL_LOST], ids=["two gates", "three gates"])
@pytest.mark.parametrize(("boxes", "rows"), [(400, (7, 4)), (40_000, (5, 3)), (MOST_BOXES, (3, 2))])
def test_as_many_fields_are_listed_as_fit_beside_the_longest_uri(
    boxes: int, rows: tuple[int, int], production: ReplayCounts | None
) -> None:
    counts: dict[Model, FieldCounts] = {
        name: FieldCounts((boxes,) * 80, (boxes,) * 80, (boxes,) * 80) for name in ("candidate", "base", "live")
    }
    emitted = evaluation(1000, counts, dict.fromkeys(counts, (999_999,) * 80), production)
    result = json.loads(fitting(emitted))["result"]
    assert len(result["testSet"]["drops"]["field"]) == rows[production is not None]
    assert len(result["baseline"]["field"]) == 0, "what no verdict hangs on goes first"
    assert result["baseline"]["confidence"] == "0.999999"


LONGEST_PREFIX = crds()["FineTunePolicy"].spec["properties"]["artifacts"]["properties"]["uri"]["maxLength"]


def below(step: str, name: str) -> FileReference:
    """A file of a step below the longest prefix that a policy may have."""
    owner = "p" * LONGEST_PREFIX + "/" + "n" * 63 + "/" + "u" * 36
    return FileReference(f"{owner}/attempt-1000/{step}/{name}", SHA)


def test_a_result_of_training_fits_below_the_longest_prefix() -> None:
    artifact, checkpoint = below("train", "01234567/model.onnx"), below("train", "01234567/checkpoint.pt")
    losses = dict.fromkeys(("box", "cls", "dfl", "l1"), "123456.7891")
    result = TrainResult(
        artifact=Artifact(artifact.uri, SHA, 2**40),
        checkpoint=checkpoint,
        epochs=1000,
        batch=4096,
        images=1_000_000,
        seconds=1_000_000,
        device="NVIDIA H100 80GB HBM3, MIG 1g.10gb",
        losses=losses,
        resumed=tuple(
            ResumedFrom(number, number, 1_000_000, "NVIDIA H100 80GB HBM3, MIG 1g.10gb")
            for number in range(999, 991, -1)
        ),
    )
    manifest = below("train", "manifest.json")
    emitted = Emitted(RESULT_SCHEMA, "train", "u" * 36, 1000, "Succeeded", manifest, msgspec.to_builtins(result))
    assert len(fitting(emitted)) <= RESULT_LIMIT
    assert json.loads(fitting(emitted))["result"]["resumed"][0]["attempt"] == 999


def test_a_verification_fits_with_the_longest_uri_of_an_artifact() -> None:
    uri = "s3://" + "b" * (LONGEST_URI - 5)
    measured = Measured(SHA, "0.999999", None, None, "0.999999", "999.999999")
    result = VerifyResult(
        settings=SHA,
        evaluator="finetune-trainer 0.1.0",
        test_set=TestSet(SHA, 100_000, 1_000_000),
        models=VerifiedModels(measured),
        artifact=Artifact(uri, SHA, 2**40),
    )
    manifest = below("verify", "manifest.json")
    emitted = Emitted(RESULT_SCHEMA, "verify", "u" * 36, 1000, "Succeeded", manifest, msgspec.to_builtins(result))
    data = fitting(emitted)
    assert len(data) <= RESULT_LIMIT
    assert json.loads(data)["result"]["models"]["base"]["map50"] == "0.999999"


@pytest.mark.parametrize("text", ['"' * 3000, "\n" * 3000, "\x00" * 3000, "ж" * 3000, "x" * 3000, "short"])
def test_an_error_fits_however_its_text_is_written_in_json(text: str) -> None:
    error = bad_input(Reason.DATA_UNREADABLE, text, text)
    data = fitting(failed("prepare", "u" * 36, 1, error))
    assert len(data) <= RESULT_LIMIT
    written = json.loads(data)["error"]
    assert (written["class"], written["reason"]) == ("BadInput", "DataUnreadable")
    assert written["message"][:5] == text[:5]


BAD_NAMES: tuple[tuple[list[str], str], ...] = (
    ([f"class-{n}" for n in range(81)], "has 81 classes; 1 to 80 are possible"),
    ([], "has 0 classes; 1 to 80 are possible"),
    (["number", "c" * 64], "calls class 1 'ccc"),
    (["number,date"], "calls class 0 'number,date'"),
    ([" number"], "calls class 0 ' number'"),
    (["number\n"], "calls class 0"),
    (["number", "date", "number"], "the name 'number' twice, for class 0 and class 2"),
)


@pytest.mark.parametrize(("names", "message"), BAD_NAMES, ids=[message for _, message in BAD_NAMES])
def test_class_names_that_a_policy_refuses_are_refused_where_they_come_in(
    tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(StepError, match=re.escape(message)) as caught:
        check_class_names(names, "It")
    assert caught.value.reason is Reason.CLASS_LIST_INVALID
    if names:  # an anchor is refused before any of its pages is read
        (tmp_path / "data.yaml").write_text(yaml.safe_dump({"names": names, "train": "nowhere"}))
        with pytest.raises(StepError, match=re.escape(message)):
            build_index(Storage(), tmp_path.as_uri())


@pytest.mark.parametrize("names", [[f"class-{n}" for n in range(80)], ["c" * 63], ["öre", "total amount", "発行日"]])
def test_class_names_that_a_policy_takes_are_taken(names: list[str]) -> None:
    check_class_names(names, "It")


def options(**changes: object) -> argparse.Namespace:
    """What `import` is given on its command line."""
    given: dict[str, object] = {
        "checkpoint": Path("best.pt"),
        "model": "marks",
        "version": "base_v1",
        "artifacts": "s3://bucket/artifacts",
        "namespace": "ml",
        "classes": None,
        "image_size": 320,
        "confidence": "0.25",
        "nms_iou": "0.7",
        "max_detections": 300,
        "pretrained": None,
    }
    return argparse.Namespace(**given | changes)


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("model", "m" * 31, "at most 30"),
        ("model", "Marks", "lower-case"),
        ("model", "marks\n", "lower-case"),
        ("version", "base_v100000", "base_v99999"),
        ("version", "base_v01", "base_v1"),
        ("namespace", "n" * 64, "at most 63"),
        ("namespace", "ml.team", "DNS label"),
        ("confidence", "1e-1", "at most 10 decimals"),
        ("confidence", "0.12345678901", "at most 10 decimals"),
        ("nms_iou", "2", "shares (0..1)"),
        ("image_size", 4128, "multiple of 32"),
        ("artifacts", "s3://bucket/" + "x" * 800, "at most 800"),
        ("artifacts", "s3://bucket/my folder", "spaces"),
        ("artifacts", "/data/my folder", "'%'"),
        ("artifacts", "s3://bucket/a/../b", "'..'"),
        ("artifacts", "s3://b/a", "s3://bucket/prefix"),
        ("classes", "number,,date", "1 to 63 characters"),
        ("classes", ",".join(f"class-{n}" for n in range(81)), "fewer classes"),
    ],
)
def test_an_import_refuses_what_the_api_server_would_refuse_after_the_upload(
    option: str, value: object, remedy: str
) -> None:
    with pytest.raises(StepError) as caught:
        ImportRequest.from_options(options(**{option: value}))
    assert remedy in caught.value.remedy
    assert caught.value.reason in (Reason.CONTRACT_VIOLATED, Reason.CLASS_LIST_INVALID)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model", "m" * 30),
        ("model", "7marks"),
        ("version", "base_v99999"),
        ("namespace", "n" * 63),
        ("namespace", "a-very-long-namespace-that-kubernetes-takes-of-course"),
        ("artifacts", "/data/artifacts"),
        ("artifacts", "gs://bucket"),
        ("confidence", "0.1234567890"),
    ],
)
def test_an_import_takes_what_the_api_server_takes(option: str, value: str) -> None:
    assert ImportRequest.from_options(options(**{option: value}))


def test_an_import_whose_object_would_have_too_long_a_name_is_refused() -> None:
    with pytest.raises(StepError, match="--model is") as caught:
        ImportRequest.from_options(options(model="m" * 30, version="base_v1000"))
    assert "at most 40 characters" in caught.value.remedy


def test_a_seldom_large_nominal_batch_of_a_policy_is_taken(shared_world: World) -> None:
    assert shared_world.parsed(BASE, training__nominalBatch=65_536).training.nominal_batch == 65_536
