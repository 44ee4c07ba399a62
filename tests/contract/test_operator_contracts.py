"""The operator's types and the CRDs say what contracts/ say: it writes within them, and reads all that they allow."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from finetune_operator.api import step_result
from finetune_operator.api.meta import Artifact, FileReference
from finetune_operator.api.policy import Policy
from finetune_operator.api.progress import ProgressLine
from finetune_operator.api.run import Run
from finetune_operator.api.run_document import RunDocument, ScanDocument, document_json
from finetune_operator.api.training import Training
from finetune_operator.api.uris import LONGEST_URI
from finetune_operator.api.value import parse, plain
from finetune_operator.decide.attempts import results
from finetune_operator.decide.decision import CreateJob, CreateModelVersion, CreateSnapshot
from finetune_operator.decide.snapshot import snapshot_of_base, snapshot_of_run
from house.agreement import Direction, contract_differences
from house.crds import Schema, crds, leaves
from house.messages import message, problems
from house.samples import changed, sample
from house.schemas import LIMITS, allowed, limit, part, without_null
from simulation.trainer_script import Trainer
from unit.decide.run.results import LIVE, evaluate_result, prepare_result, train_result
from unit.decide.run.world import World, base, policy, run

TYPES: tuple[tuple[str, type, Direction], ...] = (
    ("run-document#/$defs/ofBase", RunDocument, "same"),
    ("run-document#/$defs/scan", ScanDocument, "same"),
    ("result", step_result.StepResult, "reads"),
    ("result#/$defs/error", step_result.ResultError, "reads"),
    ("result#/$defs/prepare", step_result.PrepareResult, "reads"),
    ("result#/$defs/train", step_result.TrainResult, "reads"),
    ("result#/$defs/scan", step_result.ScanResult, "reads"),
    ("report#/properties/result", step_result.EvaluateResult, "reads"),  # that of evaluate, and that of verify
    ("progress", ProgressLine, "reads"),
)


def differences(schema: Schema, kind: type, direction: Direction) -> list[str]:
    """Return the differences; the operator writes every field of a run document, see `document_json`."""
    return contract_differences(without_null(schema)[0], kind, direction, every_field=True)


@pytest.mark.parametrize(("place", "kind", "direction"), TYPES, ids=str)
def test_the_operators_types_say_what_the_contract_says(place: str, kind: type, direction: Direction) -> None:
    assert differences(part(place), kind, direction) == []


PLANTED: dict[str, tuple[str, type, Direction, Callable[[Schema], object], str]] = {
    "a field that the operator writes is not in the contract": (
        "run-document#/$defs/fineTune",
        RunDocument,
        "writes",
        lambda schema: schema["properties"].pop("holdout"),
        ".holdout: only in the types",
    ),
    "a field that the contract promises is not written": (
        "run-document#/$defs/fineTune",
        RunDocument,
        "writes",
        lambda schema: (schema["properties"].update(tags={"type": "string"}), schema["required"].append("tags")),
        ".tags: only in the schema",
    ),
    "an option that only the policy knows": (
        "run-document#/$defs/training",
        Training,
        "writes",
        lambda schema: schema["properties"]["optimizer"]["enum"].remove("MuSGD"),
        ".optimizer: enum",
    ),
    "a figure that the operator reads is not promised any more": (
        "result#/$defs/measured",
        step_result.Measured,
        "reads",
        lambda schema: schema["required"].remove("map50"),
        ": required",
    ),
    "a figure that the operator reads has another name": (
        "result#/$defs/rates",
        step_result.Scores,
        "reads",
        lambda schema: schema["properties"].update(share=schema["properties"].pop("rate")),
        ".rate: only in the types",
    ),
    "a count that becomes text": (
        "result#/$defs/rates",
        step_result.Scores,
        "reads",
        lambda schema: schema["properties"].update(boxes={"type": "string"}),
        ".boxes: type",
    ),
    "a figure that may be null": (
        "result#/$defs/measured",
        step_result.Measured,
        "reads",
        lambda schema: schema["properties"].update(map50={"type": ["string", "null"]}),
        ".map50: null only in the schema",
    ),
    "a step that the operator does not know": (
        "result#/$defs/emitted",
        step_result.StepResult,
        "reads",
        lambda schema: schema["properties"].update(
            step={"enum": ["prepare", "train", "evaluate", "verify", "scan", "search"]}
        ),
        ".step: enum",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_drift_is_found(name: str) -> None:
    place, kind, direction, plant, expected = PLANTED[name]
    schema = copy.deepcopy(part(place))
    assert not [line for line in differences(schema, kind, direction) if line.startswith(expected)]
    plant(schema)
    assert [line for line in differences(schema, kind, direction) if line.startswith(expected)]


# The CRDs, which say what people may write, and the contracts, which say what travels then.


def crd_part(path: str) -> Schema:
    """Return the schema at a path such as FineTunePolicy.spec.classes."""
    kind, *names = path.split(".")
    schema = crds()[kind].schema
    for name in names:
        schema = schema["properties"][name]
    return schema


SAME_LIMITS = (
    ("FineTunePolicy.spec.model", "common#/$defs/modelName"),
    ("ModelVersion.spec.model", "common#/$defs/modelName"),
    ("ModelVersion.spec.version", "common#/$defs/versionName"),
    ("FineTuneRun.spec.baseVersion", "common#/$defs/versionName"),
    ("ModelPromotion.spec.version", "common#/$defs/versionName"),
    ("ModelPromotion.spec.from", "common#/$defs/versionName"),
    ("FineTunePolicy.spec.classes", "common#/$defs/classNames"),
    ("ModelVersion.spec.classes", "common#/$defs/classNames"),
    ("FineTunePolicy.spec.serving", "run-document#/$defs/serving"),
    ("ModelVersion.spec.serving", "run-document#/$defs/serving"),
    ("FineTunePolicy.spec.training", "run-document#/$defs/training"),
    ("FineTuneRun.spec.training", "run-document#/$defs/training"),
    ("FineTunePolicy.spec.mixing", "run-document#/$defs/mixing"),
    ("FineTunePolicy.spec.data.production.keepDays", "run-document#/$defs/production/properties/keepDays"),
    ("FineTunePolicy.spec.minPoolSamples", "run-document#/$defs/mixing/properties/minPoolSamples"),
    ("FineTuneRun.spec.mixing", "run-document#/$defs/mixing"),
    *(
        (f"{path}", "common#/$defs/fileReference")
        for path in (
            "ModelVersion.spec.artifact",
            "ModelVersion.spec.checkpoint",
            "ModelVersion.spec.inputs",
            "ModelVersion.spec.lineage.inputs",
        )
    ),
)
WRITTEN_URIS = (
    "FineTunePolicy.status.live.uri",
    "FineTuneRun.status.inputs.plan.uri",
    "FineTuneRun.status.candidate.uri",
    "FineTuneRun.status.checkpoint.uri",
    "FineTuneRun.status.evidence.uri",
    "ModelVersion.spec.evidence.uri",
)


def other_limits(crd: Schema, schema: Schema, path: str) -> Iterator[str]:
    """Yield where a CRD and a contract limit the same thing differently; decimals are tried by value below."""
    schema = without_null(schema)[0]
    for name in crd.get("properties", {}).keys() & schema.get("properties", {}).keys():
        yield from other_limits(crd["properties"][name], schema["properties"][name], f"{path}.{name}")
    if "items" in crd and "items" in schema:
        yield from other_limits(crd["items"], schema["items"], f"{path}[]")
    if set(allowed(crd)) != set(allowed(schema)):
        yield f"{path}: {allowed(crd)} against {allowed(schema)}"
    decimal = "double(self)" in json.dumps(crd.get("x-kubernetes-validations", ()))
    for name in () if decimal or "properties" in schema else LIMITS:
        if limit(schema, name) is not None and limit(crd, name) != limit(schema, name):
            yield f"{path}: {name} {limit(crd, name)!r} against {limit(schema, name)!r}"


@pytest.mark.parametrize(("path", "place"), SAME_LIMITS)
def test_crd_and_contract_limit_alike(path: str, place: str) -> None:
    assert list(other_limits(crd_part(path), part(place), path)) == []


@pytest.mark.parametrize("path", WRITTEN_URIS)
def test_a_status_holds_every_uri_that_a_step_may_name(path: str) -> None:
    assert crd_part(path)["maxLength"] == part("common#/$defs/uri")["maxLength"] == LONGEST_URI


def test_a_status_holds_every_line_of_progress() -> None:
    status, line = crd_part("FineTuneRun.status.progress")["properties"], part("progress")["properties"]
    for name in status.keys() & line.keys():
        stands = limit(without_null(line[name])[0], "maximum")
        assert stands is None or stands <= status[name]["maximum"], name


def test_one_set_of_rules_holds_for_every_uri_that_people_write() -> None:
    paths = (
        "FineTunePolicy.spec.data.anchor.uri",
        "FineTunePolicy.spec.data.pool.uri",
        "FineTunePolicy.spec.data.production.uri",
        "FineTunePolicy.spec.artifacts.uri",
    )
    rules = [crd_part(path)["x-kubernetes-validations"] for path in (*paths, "ModelVersion.spec.artifact.uri")]
    assert all(rule == rules[0] for rule in rules)
    assert all(crd_part(path)["maxLength"] <= LONGEST_URI for path in paths)


def test_a_count_is_what_the_contract_says() -> None:
    assert part("common#/$defs/count")["maximum"] == results._MAX_COUNT


def test_exit_codes_are_those_of_the_contract() -> None:
    codes = part("result")["x-exit-codes"]
    assert (codes["BadInput"], codes["BadTraining"]) == (step_result.EXIT_BAD_INPUT, step_result.EXIT_BAD_TRAINING)
    assert (codes["OutOfMemory"], codes["Unavailable"]) == (
        step_result.EXIT_OUT_OF_MEMORY,
        step_result.EXIT_UNAVAILABLE,
    )
    assert codes["Preempted"] == step_result.EXIT_PREEMPTED


def test_another_limit_in_a_crd_is_found() -> None:
    crd = copy.deepcopy(crd_part("FineTunePolicy.spec"))
    crd["properties"]["training"]["properties"]["nominalBatch"]["maximum"] = 4096
    crd["properties"]["classes"]["items"]["maxLength"] = 64
    crd["properties"]["classes"]["items"].pop("x-kubernetes-validations")
    drifts = [
        line.partition(" ")[0]
        for name, place in (("training", "run-document#/$defs/training"), ("classes", "common#/$defs/classNames"))
        for line in other_limits(crd["properties"][name], part(place), name)
    ]
    assert drifts == ["training.nominalBatch:", "classes[]:", "classes[]:"]


# What the CRDs take travels: the document of every edge of policy and run fits the contract.

DECIMALS = (
    *("0", "1", "0.5", "000.5", "1.000", "0.1234567890", "0.0000000001", "0.0000000000", "0.9", "2.5", "100", "180"),
    *("Auto", "7.123456", "1000", "0000.000001"),
)


def edges(schema: Schema) -> Iterator[Any]:
    """Yield values at the edge of what a field of a CRD takes."""
    yield from allowed(schema)
    if "maximum" in schema:
        yield from (schema["minimum"], schema["maximum"])
    rules = " ".join(rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))
    if "double(self)" in rules:
        (pattern,) = re.findall(r"self\.matches\('(.*?)'\)", rules)
        (most,) = re.findall(r"double\(self\) <= ([0-9.]+)", rules)
        above = "double(self) > 0.0" in rules
        for text in DECIMALS:
            if re.fullmatch(pattern, text) and (not above or float(text) > 0) and float(text) <= float(most):
                yield text
        if "Auto" in rules:
            yield "Auto"


EDGES = [
    (kind, path, value)
    for kind in ("FineTunePolicy", "FineTuneRun")
    for path, schema in leaves(crds()[kind].spec)
    if path[0] in ("data", "serving", "mixing", "training", "minPoolSamples", "gates", "rebuild")
    for value in edges(schema)
]


def document(policy_object: Any, run_object: Any) -> Any:
    made = snapshot_of_run(parse(run_object, Run), parse(policy_object, Policy), base())
    return json.loads(json.dumps(plain(document_json(made))))


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """A policy and a run as the API server has them."""
    metadata = {"name": "first", "namespace": "n" * 63, "uid": "u" * 36}
    return {kind: {**sample(kind), "metadata": metadata} for kind in ("FineTunePolicy", "FineTuneRun")}


@pytest.mark.parametrize(("kind", "path", "value"), EDGES, ids=str)
def test_every_value_that_a_crd_takes_fits_the_run_document(
    objects: dict[str, Any], kind: str, path: tuple[str, ...], value: Any
) -> None:
    both = {**objects, kind: changed(objects[kind], ("spec", *path), value)}
    if path[0] == "rebuild":
        both["FineTuneRun"] = changed(both["FineTuneRun"], ("spec", "mode"), "Rebuild")
    assert problems("run-document", document(both["FineTunePolicy"], both["FineTuneRun"])) == []


def test_many_edges_are_tried() -> None:
    assert len(EDGES) > 150


# The longest URIs: a policy that is accepted leads to artifacts that a ModelVersion takes.

LONGEST_PREFIX = crds()["FineTunePolicy"].spec["properties"]["artifacts"]["properties"]["uri"]["maxLength"]
BELOW = "/" + "n" * 63 + "/" + "u" * 36
LONGEST_FILE = f"/evaluations/evaluate-attempt-1000-round-1000-{'f' * 63}/01234567/plots/precision-recall.png"


def test_what_steps_write_below_the_longest_prefix_fits_everywhere() -> None:
    longest = LONGEST_PREFIX + len(BELOW) + len(LONGEST_FILE)
    spec = crds()["ModelVersion"].spec["properties"]
    for name in ("artifact", "checkpoint", "inputs"):
        assert longest <= spec[name]["properties"]["uri"]["maxLength"]
    assert longest <= LONGEST_URI


@pytest.mark.parametrize("length", [1024, 1025, 1500, LONGEST_URI])
def test_a_uri_that_a_run_takes_is_taken_by_the_model_version(length: int) -> None:
    world = World.at("train")
    job = world.job("train")
    folder = f"file:///artifacts/ml/{world.run.metadata.uid}/attempt-{job.attempt}/train/"
    uri = folder + "x" * (length - len(folder))
    artifact = {"uri": uri, "sha256": "ca" * 32, "bytes": 9, "format": "onnx"}
    world.complete("train", train_result(artifact=artifact, checkpoint={"uri": uri, "sha256": "cb" * 32}))
    world.complete("evaluate", evaluate_result())
    (made,) = [action for action in world.history if isinstance(action, CreateModelVersion)]
    assert made.spec.artifact.uri == uri
    jsonschema.Draft202012Validator(crds()["ModelVersion"].spec).validate(plain(made.spec))


def test_a_verified_base_of_the_longest_name_fits() -> None:
    far = base(artifact=Artifact(uri="s3://b/" + "x" * 2041, sha256="ba" * 32))
    made = snapshot_of_base(far, policy())
    assert problems("run-document", json.loads(json.dumps(plain(document_json(made))))) == []


# What a run writes for its steps, whatever is live: the operator has no types for step inputs, so all are tried.

PLAN = FileReference(uri="file:///artifacts/earlier/plan.json", sha256="ab" * 32)
LIVE_VERSIONS = {
    "nothing is live": None,
    "the base is live": "base_v1",
    "a fine-tune is live": "ft_v1.1",
    "a fine-tune without a plan is live": "ft_v1.2",
}


@pytest.mark.parametrize("mode", ["FineTune", "Rebuild"])
@pytest.mark.parametrize("name", LIVE_VERSIONS)
def test_what_a_run_writes_for_its_steps_fits_the_contracts(name: str, mode: Any) -> None:
    tuned = base("ft_v1.1", LIVE, type="FineTuned", inputs=PLAN)
    unknown = base("ft_v1.2", LIVE, type="FineTuned")
    world = World(run=run(mode=mode), versions=(base(inputs=PLAN), tuned, unknown))
    if version := LIVE_VERSIONS[name]:
        world.go_live(version)
    world.settle()
    world.start("prepare")
    world.complete("prepare", prepare_result() if mode == "FineTune" else prepare_result(train=1560, old=1500))
    world.start("train")
    world.complete("train", train_result() if mode == "FineTune" else train_result(images=1560))
    steps = []
    for action in world.history:
        if isinstance(action, CreateJob):
            steps.append(action.step)
            assert problems(f"step-inputs#/$defs/{action.step}", json.loads(action.step_inputs)) == []
        if isinstance(action, CreateSnapshot):
            assert problems("run-document", document_json(action.run_document)) == []
    assert steps == ["prepare", "train", "evaluate"]


# Stand-ins for the trainer in other suites say what the trainer says, or those suites would prove nothing.


@pytest.mark.parametrize("step", allowed(part("common#/$defs/step")))
def test_the_scripted_trainer_of_the_simulation_keeps_to_the_contract(step: str) -> None:
    run = message({"verify": "run-verify", "scan": "run-scan"}.get(step, "run-finetune"))
    code, result = Trainer()(step, run, message(f"inputs-{step}"))
    assert code == 0
    assert problems("result", result) == []


@pytest.mark.parametrize(
    ("step", "result"), [("prepare", prepare_result()), ("train", train_result()), ("evaluate", evaluate_result())]
)
def test_the_results_of_the_unit_tests_keep_to_the_contract(step: str, result: dict[str, Any]) -> None:
    assert problems(f"result#/$defs/{step}", result) == []
