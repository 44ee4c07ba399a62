"""Whoever trains chooses the network: what is judged here is what serves, page by page, for as long as it serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EvaluateInputs, PrepareInputs
from finetune_trainer.documents.plan import Sample
from finetune_trainer.documents.run import TrainingDocument
from finetune_trainer.documents.serving import LINEAGE_KEY, Lineage
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.detector import Detector, open_detector
from finetune_trainer.evaluation.evaluate import VALIDATION, run_model
from finetune_trainer.evaluation.network import CHANCE
from finetune_trainer.evaluation.pages import Page
from finetune_trainer.evaluation.postprocess import Thresholds
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.models import fetch_base, fetch_candidate
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.verify import verify
from trainer.networks import BLACK, BOX, SERVING, SIZE, WHITE, by_page, constant, network, nothing_of_the_page
from trainer.policy import NOTHING
from trainer.world import CLASSES, NONCE, World, context

GRAPHS: Final = {"If", "Loop", "Scan", "SequenceMap", "AffineGrid"}
"""Operators of the standard that are as determined as the graphs in them, in which each node is looked at."""

SERVED: Final = {"imageSize": SIZE, "confidence": "0.25", "nmsIou": "0.7", "maxDetections": 300}
WEIGHTS: Final = numpy_helper.from_array(BOX, "weights")
OWN: Final = Lineage(type="FineTuned", model="marks", base="base_v1", owner="uid-1")


def opened(path: Path) -> Detector:
    return open_detector(path, "file:///model.onnx", threads=1)


def refused(path: Path) -> str:
    with pytest.raises(StepError) as caught:
        opened(path)
    assert caught.value.reason is Reason.BASE_UNUSABLE
    assert "file:///model.onnx" in caught.value.message
    return caught.value.message


def drawn(name: str) -> list[onnx.NodeProto]:
    """Nodes that make `drawn`, a number by chance."""
    match name:
        case "RandomNormal" | "RandomUniform":
            return [helper.make_node(name, [], ["drawn"], shape=[1], seed=1.0)]
        case "Dropout":
            return [helper.make_node(name, ["least", "half", "yes"], ["drawn"], seed=1)]
        case "Multinomial":
            row = helper.make_node("Reshape", ["images", "one_row"], ["row"])
            return [
                row,
                helper.make_node(name, ["row"], ["index"], seed=1.0),
                helper.make_node("Cast", ["index"], ["drawn"], to=1),
            ]
        case _:
            return [helper.make_node(name, ["images"], ["every"], seed=1.0), least_of("every")]


def least_of(name: str) -> onnx.NodeProto:
    return helper.make_node("ReduceMin", [name], ["drawn"], keepdims=0)


SAID: Final = (
    numpy_helper.from_array(np.array(0.5, np.float32), "half"),
    numpy_helper.from_array(np.array(True), "yes"),
    numpy_helper.from_array(np.array([1, -1], np.int64), "one_row"),
    numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
)


def plainly(folder: Path, name: str) -> Path:
    unseen = helper.make_node("Mul", ["drawn", "zero"], ["unseen"])
    add = helper.make_node("Add", ["weights", "unseen"], ["output0"])
    return network(folder, [*nothing_of_the_page(), *drawn(name), unseen, add], WEIGHTS, *SAID)


def in_a_branch(folder: Path, name: str) -> Path:
    """Of a branch within a branch: the graphs of a node have nodes with graphs."""

    def branch(title: str, *nodes: onnx.NodeProto, gives: str) -> onnx.GraphProto:
        shape = list(BOX.shape)
        return helper.make_graph(nodes, title, [], [helper.make_tensor_value_info(gives, TensorProto.FLOAT, shape)])

    unseen = helper.make_node("Mul", ["drawn", "zero"], ["unseen"])
    chance = branch("chance", *drawn(name), unseen, helper.make_node("Add", ["weights", "unseen"], ["in"]), gives="in")
    same = branch("same", helper.make_node("Identity", ["weights"], ["as_ever"]), gives="as_ever")
    other = branch("other", helper.make_node("Identity", ["weights"], ["too"]), gives="too")
    inner = helper.make_node("If", ["yes"], ["inner"], then_branch=same, else_branch=chance)
    outer = branch("outer", inner, gives="inner")
    node = helper.make_node("If", ["yes"], ["output0"], then_branch=other, else_branch=outer)
    return network(folder, [*nothing_of_the_page(), node], WEIGHTS, *SAID)


def in_a_function(folder: Path, name: str) -> Path:
    inside = [helper.make_node("Identity", [given], [given.removeprefix("of_")]) for given in OUTSIDE]
    unseen = helper.make_node("Mul", ["drawn", "zero"], ["unseen"])
    body = [
        *inside,
        *nothing_of_the_page(),
        *drawn(name),
        unseen,
        helper.make_node("Add", ["weights", "unseen"], ["out"]),
    ]
    function = helper.make_function("own", "Head", list(OUTSIDE), ["out"], body, [helper.make_opsetid("", 17)])
    call = helper.make_node("Head", [given.removeprefix("of_") for given in OUTSIDE], ["output0"], domain="own")
    return network(folder, [call], WEIGHTS, *SAID, functions=[function])


OUTSIDE: Final = ("of_images", "of_weights", "of_half", "of_yes", "of_one_row", "of_zero")


@pytest.mark.row("R326")
@pytest.mark.parametrize("where", [plainly, in_a_branch, in_a_function])
@pytest.mark.parametrize("name", sorted(CHANCE))
def test_a_network_that_draws_numbers_is_unusable(
    tmp_path: Path, name: str, where: Callable[[Path, str], Path]
) -> None:
    """With a seed the numbers are a row that each session draws anew: a network can tell its thousandth page by it."""
    path = where(tmp_path, name)
    onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    assert f"draws numbers by chance ({name})" in refused(path)


def test_all_operators_of_the_standard_that_draw_are_known() -> None:
    undetermined = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain in ("", "ai.onnx") and "NonDeterministic" in str(schema.node_determinism)
    }
    assert undetermined - GRAPHS == CHANCE


@pytest.mark.row("R326")
def test_a_network_with_operators_of_others_is_unusable(tmp_path: Path) -> None:
    nodes = [
        *nothing_of_the_page(),
        helper.make_node("Gelu", ["nothing"], ["unseen"], domain="com.microsoft"),
        helper.make_node("Add", ["weights", "unseen"], ["output0"]),
    ]
    assert "Gelu of com.microsoft" in refused(network(tmp_path, nodes, WEIGHTS))


def test_a_network_may_have_functions_of_the_standards_operators(tmp_path: Path) -> None:
    body = [helper.make_node("Add", ["of_weights", "of_nothing"], ["out"])]
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Head", ["of_weights", "of_nothing"], ["out"], body, opset)
    call = helper.make_node("Head", ["weights", "nothing"], ["output0"], domain="own")
    detector = opened(network(tmp_path, [*nothing_of_the_page(), call], WEIGHTS, functions=[function]))
    assert len(detector.detect(BLACK, Thresholds.of(SERVING)).scores) == 1


@pytest.mark.row("R326")
def test_what_begins_as_a_format_of_onnxruntimes_own_is_read_as_onnx(tmp_path: Path) -> None:
    """Of one file two readers could make two networks: one that is looked at, and one that answers."""
    path = constant(tmp_path, WEIGHTS)
    path.write_bytes(b"\xfa\x01\x84\x00ORTM" + path.read_bytes())
    assert len(opened(path).detect(BLACK, Thresholds.of(SERVING)).scores) == 1
    other = tmp_path / "other.ort"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(other)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(constant(tmp_path, WEIGHTS).read_bytes(), options, providers=["CPUExecutionProvider"])
    assert "is no ONNX" in refused(other)


UNUSABLE: Final = {
    "no numbers": np.full_like(BOX, np.nan),
    "without an end": np.where(BOX == 0, np.float32(np.inf), BOX),
    "a class too many": BOX.reshape(1, 14, 1),
    "two pages": BOX.reshape(2, 7, 1),
    "two pages, of which one has no numbers": np.where(np.arange(14) < 7, BOX.ravel(), np.nan).reshape(2, 7, 1),
    "no rows": BOX.reshape(14, 1, 1),
}


def white_page() -> Page:
    """A page without a label."""
    image = FileReference("file:///white.png", sha256_of(b""))
    return Page(Sample(image, None, 0, 0), (), lambda _: cv2.imencode(".png", WHITE)[1].tobytes())


@pytest.mark.row("R327")
@pytest.mark.parametrize("case", UNUSABLE)
def test_a_page_without_labels_on_which_the_server_would_answer_with_an_error_is_not_right(
    tmp_path: Path, case: str
) -> None:
    detector = opened(by_page(tmp_path, UNUSABLE[case].astype(np.float32), OWN))
    with pytest.raises(StepError, match=r"file:///white\.png would be answered with an error: the output of") as caught:
        run_model(detector, [white_page()], Thresholds.of(SERVING), must_answer=True)
    assert caught.value.reason is Reason.BASE_UNUSABLE
    [result], _ = run_model(detector, [white_page()], VALIDATION, served=Thresholds.of(SERVING))
    assert not len(result.detections.scores) + len(result.served.scores), "what serves already finds nothing there"


@pytest.mark.row("R327")
def test_a_base_that_does_not_answer_a_page_is_not_verified(tmp_path: Path, world: World) -> None:
    path = by_page(tmp_path, np.full_like(BOX, np.nan))
    base = {"version": "base_v1", "artifact": reference(path), "checkpoint": reference(path), "inputs": None}
    document = world.verification(base, serving=SERVED, artifacts__uri=(tmp_path / "artifacts").as_uri())
    with pytest.raises(StepError, match="would be answered with an error") as caught:
        verify(context("verify", document, tmp_path / "scratch"), document)
    assert caught.value.reason is Reason.BASE_UNUSABLE
    assert path.as_uri() in caught.value.message


@pytest.mark.row("R327")
@pytest.mark.parametrize("silent", ["candidate", "base"])
def test_a_candidate_answers_each_page_that_it_is_measured_on(
    base: dict[str, Any], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    document = world.parsed(base, artifacts__uri=(tmp_path / "artifacts").as_uri())
    prepared = prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE))
    models = dict.fromkeys(
        ("candidate", "base"), (fetch_base(context("evaluate", document, tmp_path / "b"), document), "0" * 64)
    )
    models[silent] = opened(by_page(tmp_path, np.full_like(BOX, np.nan))), "1" * 64
    monkeypatch.setattr("finetune_trainer.steps.evaluate._fetch_models", lambda *_: models)
    # As if training began with such a network, too: what is asked here is what comes after that.
    monkeypatch.setattr("finetune_trainer.steps.evaluate.check_candidate_network", lambda *_: None)
    inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, FileReference("file:///candidate", "0" * 64))
    step = context("evaluate", document, tmp_path / "e")
    if silent == "base":
        assert float(evaluate(step, document, inputs).models.base.map50) == 0
        return
    with pytest.raises(StepError, match="would be answered with an error") as caught:
        evaluate(step, document, inputs)
    assert caught.value.reason is Reason.BASE_UNUSABLE


@pytest.mark.row("R327")
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_network_that_no_server_starts_with_is_unusable(tmp_path: Path, number: float) -> None:
    """The server is ready once it has read a grey page."""
    weights = numpy_helper.from_array(np.full_like(BOX, number), "weights")
    assert "No server would start with" in refused(constant(tmp_path, weights))


def reference(path: Path) -> dict[str, str]:
    return {"uri": path.as_uri(), "sha256": sha256_of(path.read_bytes())}


def fetched(folder: Path, path: Path, *, rebuilds: bool = False) -> Detector:
    """The candidate as an evaluation opens it."""
    world = World(folder)
    base = {"version": "base_v1", "artifact": NOTHING, "checkpoint": NOTHING, "inputs": None}
    document: TrainingDocument = world.rebuild(base, serving=SERVED) if rebuilds else world.parsed(base, serving=SERVED)
    step = context("evaluate", document, folder / "scratch")
    return fetch_candidate(step, document, FileReference(path.as_uri(), sha256_of(path.read_bytes())))


@pytest.mark.row("R328")
@pytest.mark.parametrize(
    ("lineage", "rebuilds", "said"),
    [
        (OWN, False, None),
        (None, False, None),
        (None, True, None),
        (Lineage(type="FineTuned", base="base_v1", owner="uid-1"), False, None),
        (Lineage(type="Base", model="marks", owner="uid-rebuild"), True, None),
        (Lineage(type="FineTuned", model="others", base="base_v1", owner="uid-1"), False, "a FineTuned of others"),
        (Lineage(type="Base", model="marks", owner="uid-1"), False, "a Base of marks"),
        (Lineage(type="FineTuned", model="marks", owner="uid-rebuild"), True, "a FineTuned of marks"),
    ],
    ids=["its own", "nothing", "nothing of a rebuild", "no model", "a base", "another model", "too much", "too little"],
)
def test_a_candidate_is_what_its_run_makes(
    tmp_path: Path, lineage: Lineage | None, rebuilds: bool, said: str | None
) -> None:
    """Series under another model's name fire no alert, and from what calls itself a fine-tune no run starts."""
    path = constant(tmp_path, WEIGHTS, lineage)
    if said is None:
        assert fetched(tmp_path, path, rebuilds=rebuilds).lineage == lineage
        return
    with pytest.raises(StepError, match=f"says that it is {said}, and it is to be") as caught:
        fetched(tmp_path, path, rebuilds=rebuilds)
    assert caught.value.reason is Reason.CONTRACT_VIOLATED


@pytest.mark.row("R328")
@pytest.mark.parametrize(
    "text",
    ["", " ", "null", '{"type":"FineTuned","size":' + "9" * 5000 + "}", '{"type":"FineTuned","model":"marks\\n"}'],
    ids=["nothing", "blank", "null", "a number that is too long", "a name with an end of line"],
)
def test_a_lineage_that_no_server_starts_with_is_refused(tmp_path: Path, text: str) -> None:
    nodes = [*nothing_of_the_page(), helper.make_node("Add", ["weights", "nothing"], ["output0"])]
    path = network(tmp_path, nodes, WEIGHTS, properties={LINEAGE_KEY: text})
    with pytest.raises(StepError) as caught:
        fetched(tmp_path, path)
    assert caught.value.reason is Reason.CONTRACT_VIOLATED


def test_the_classes_of_these_networks_are_those_of_the_world() -> None:
    assert BOX.shape[1] == 4 + len(CLASSES)
