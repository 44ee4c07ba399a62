"""Only the judged bytes are ever served: everything else ends the process with a reason, and never is ready."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from finetune_server.artifact import Artifact
from finetune_server.config import serve_config
from finetune_server.errors import StartError
from finetune_server.metadata import parse_model, parse_settings
from finetune_server.model import load_detector
from server.support import (
    DEADLINE,
    ServerProcess,
    StartServer,
    encode,
    install_model,
    page_with,
    serving_settings,
    sha256,
    tiny_model,
    wait_until,
)

OTHER = tiny_model(("red", "green", "other"))


def swap_file(directory: Path) -> None:
    (directory / "model.onnx").write_bytes(OTHER)


def swap_file_and_record(directory: Path) -> None:
    install_model(directory, OTHER)


def flip_one_bit(directory: Path) -> None:
    content = bytearray((directory / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (directory / "model.onnx").write_bytes(content)


def remove_record(directory: Path) -> None:
    (directory / "model.json").unlink()


def remove_model(directory: Path) -> None:
    (directory / "model.onnx").unlink()


def record_without_digest(directory: Path) -> None:
    (directory / "model.json").write_text('{"version": "ft_v1.1", "uri": "file:///a/b"}')


def record_that_is_not_json(directory: Path) -> None:
    (directory / "model.json").write_text("{")


def never_was_ready(server: ServerProcess) -> tuple[int, str]:
    """Exit code and last log line of a server that must not become ready."""
    deadline = time.monotonic() + DEADLINE
    while server.process.poll() is None:
        assert server.status_of_readyz() in (None, 503)
        assert server.predict_status() in (None, 503)
        assert time.monotonic() < deadline, server.log.read_text()
    return server.wait_end(), server.last_message()


def refused(directory: Path, digest: str) -> str:
    """The reason for which a model volume is not loaded."""
    artifact = Artifact("ft_v1.1", "file:///artifacts/model.onnx", digest)
    with pytest.raises(StartError) as caught:
        load_detector(directory, artifact, threads=1)
    assert caught.value.remedy
    return caught.value.reason


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (swap_file, "DigestMismatch"),
        (swap_file_and_record, "DigestMismatch"),
        (flip_one_bit, "DigestMismatch"),
        (remove_record, "RecordMissing"),
        (remove_model, "ModelUnreadable"),
        (record_without_digest, "RecordUnreadable"),
        (record_that_is_not_json, "RecordUnreadable"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_volume_that_was_tampered_with_is_refused(
    model_dir: Path, tamper: Callable[[Path], None], reason: str
) -> None:
    digest = sha256((model_dir / "model.onnx").read_bytes())
    tamper(model_dir)
    assert refused(model_dir, digest) == reason


@pytest.mark.parametrize("tamper", [swap_file, swap_file_and_record])
def test_a_server_on_a_swapped_model_ends_and_never_was_ready(
    model_dir: Path, start_server: StartServer, tamper: Callable[[Path], None]
) -> None:
    digest = sha256((model_dir / "model.onnx").read_bytes())
    tamper(model_dir)
    code, message = never_was_ready(start_server(model_dir, FINETUNE_ARTIFACT_SHA256=digest))
    assert code == 10
    assert message.startswith("DigestMismatch: ")


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in serving_settings().items() if k != key}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (b"not an ONNX model", "ModelUnusable"),
        (tiny_model(settings={}), "ModelSettingsMissing"),
        (tiny_model(settings=serving_settings(schema="finetune-operator.io/serving/v2")), "ModelSettingsUnknown"),
        (tiny_model(settings=serving_settings(preprocess="stretch")), "ModelSettingsUnknown"),
        (tiny_model(settings=without("classes")), "ModelSettingsInvalid"),
        (tiny_model(settings=serving_settings(classes=("red", "red", "blue"))), "ModelSettingsInvalid"),
        (tiny_model(settings=serving_settings(confidence="1.5")), "ModelSettingsInvalid"),
        (tiny_model(settings=serving_settings(confidence="NaN")), "ModelSettingsInvalid"),
        (tiny_model(settings=serving_settings(nmsIou="__import__('os')")), "ModelSettingsInvalid"),
        (tiny_model(settings=serving_settings(maxDetections=0)), "ModelSettingsInvalid"),
        (tiny_model(settings=serving_settings(imageSize=128)), "ModelShape"),
        (tiny_model(settings=serving_settings(classes=("red", "green"))), "ModelShape"),
        (tiny_model(kind=TensorProto.DOUBLE), "ModelShape"),
        (tiny_model(kind=TensorProto.FLOAT16), "ModelShape"),
        (tiny_model(poison=float("nan")), "ModelUnusable"),
    ],
    ids=[
        "noise",
        "no settings",
        "newer schema",
        "other preprocessing",
        "no classes",
        "classes twice",
        "confidence above 1",
        "confidence NaN",
        "code in settings",
        "no detections",
        "other size",
        "a class too few",
        "more digits",
        "fewer digits",
        "NaN weights",
    ],
)
def test_a_model_that_breaks_the_contract_is_refused(tmp_path: Path, model: bytes, reason: str) -> None:
    assert refused(install_model(tmp_path / "model", model), sha256(model)) == reason


GOOD = {
    "FINETUNE_MODEL_VERSION": "ft_v1.1",
    "FINETUNE_ARTIFACT_URI": "s3://models/ft_v1.1/model.onnx",
    "FINETUNE_ARTIFACT_SHA256": "0" * 64,
    "FINETUNE_NAMESPACE": "ml",
    "FINETUNE_DEPLOYMENT": "invoice-detector",
    "FINETUNE_MODEL": "invoice-fields",
}


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({"FINETUNE_ARTIFACT_SHA256": ""}, "ArtifactIncomplete", "FINETUNE_ARTIFACT_SHA256"),
        ({"FINETUNE_ARTIFACT_SHA256": "abc"}, "DigestMalformed", "abc"),
        ({"FINETUNE_ARTIFACT_URI": "https://example.com/model.onnx"}, "UriUnsupported", "https"),
        ({"FINETUNE_ARTIFACT_URI": "s3://key:secret@bucket/model.onnx"}, "UriUnsupported", "user information"),
        ({"FINETUNE_NAMESPACE": ""}, "SettingMissing", "FINETUNE_NAMESPACE"),
        ({"FINETUNE_PORT": "http"}, "SettingInvalid", "FINETUNE_PORT"),
        ({"FINETUNE_THREADS": "0"}, "SettingInvalid", "FINETUNE_THREADS"),
        ({"FINETUNE_DRAIN_SECONDS": "-1"}, "SettingInvalid", "FINETUNE_DRAIN_SECONDS"),
        (dict.fromkeys(list(GOOD)[:3], ""), "NothingToServe", "annotations"),
    ],
)
def test_a_wrong_setting_is_named_with_a_remedy(changes: dict[str, str], reason: str, named: str) -> None:
    assert serve_config(GOOD).namespace == "ml"
    with pytest.raises(StartError) as caught:
        serve_config(GOOD | changes)
    assert caught.value.reason == reason
    assert named in caught.value.message
    assert caught.value.remedy
    assert "secret" not in str(caught.value)


def test_expected_fields_that_were_appended_since_do_not_keep_an_older_version_from_serving(
    model_dir: Path, start_server: StartServer
) -> None:
    """The pod template is that of every version: the way back to one without a field must not end there."""
    server = start_server(model_dir, FINETUNE_EXPECTED_FIELDS="red,colour")
    server.wait_ready()
    server.predict(encode(page_with("red", at=(0, 0))))
    expected = {key for key, value in server.metrics().items() if "field_expected" in key and value}
    assert len(expected) == 1
    assert 'field="red"' in expected.pop()
    assert "FINETUNE_EXPECTED_FIELDS names colour, which this model does not know" in server.log.read_text()


def test_expected_fields_of_which_the_model_knows_none_end_the_server(
    model_dir: Path, start_server: StartServer
) -> None:
    server = start_server(model_dir, FINETUNE_EXPECTED_FIELDS="colour,size")
    assert server.wait_end() == 10
    assert server.last_message().startswith("FieldUnknown: ")
    assert "colour" in server.last_message()


def test_without_the_operators_keys_the_pin_from_git_is_served(model_dir: Path, start_server: StartServer) -> None:
    record = json.loads((model_dir / "model.json").read_text())
    keys = ("FINETUNE_MODEL_VERSION", "FINETUNE_ARTIFACT_URI", "FINETUNE_ARTIFACT_SHA256")
    pin = {f"FINETUNE_PINNED_{key.upper()}": value for key, value in record.items()}
    server = start_server(model_dir, **dict.fromkeys(keys, ""), **pin)
    server.wait_ready()
    assert server.get("/version").json["sha256"] == record["sha256"]


def test_a_model_exchanged_after_loading_is_not_picked_up(model_dir: Path, start_server: StartServer) -> None:
    server = start_server(model_dir)
    server.wait_ready()
    before = server.get("/version").json
    swap_file_and_record(model_dir)
    assert server.get("/version").json == before


def test_probes_answer_while_the_model_still_loads(model_dir: Path, start_server: StartServer) -> None:
    # A named pipe in the file's place: reading it waits until the test writes.
    content = (model_dir / "model.onnx").read_bytes()
    (model_dir / "model.onnx").unlink()
    os.mkfifo(model_dir / "model.onnx")
    server = start_server(model_dir)
    wait_until(lambda: server.status_of_readyz() is not None)
    assert server.get("/livez").status == 200
    for path in ("/readyz", "/version"):
        answer = server.get(path)
        assert (answer.status, answer.reason) == (503, "NotReady")
    assert server.predict(b"x").status == 503
    threading.Thread(target=(model_dir / "model.onnx").write_bytes, args=(content,)).start()
    server.wait_ready()


def test_the_server_leaves_no_trace_of_telemetry(tmp_path: Path, model_dir: Path, start_server: StartServer) -> None:
    # onnxruntime's reporter begins by storing an identifier and its queue of events in the home folder.
    home = tmp_path / "home"
    home.mkdir()
    server = start_server(model_dir, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), ORT_DISABLE_TELEMETRY="")
    server.wait_ready()
    assert server.predict(encode(page_with("red", at=(0, 0)))).status == 200
    server.terminate()
    assert server.wait_end() == 0
    assert list(home.rglob("*")) == []


def test_sigterm_before_the_server_listens_ends_it_at_once(model_dir: Path, start_server: StartServer) -> None:
    def told_to_end() -> int:
        """The exit code of one that is told as soon as it handles the signal."""
        server = start_server(model_dir)
        deadline = time.monotonic() + DEADLINE
        while not handles_sigterm(server):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        server.terminate()
        return server.wait_end()

    # On a loaded machine it may listen by then: that is another story, which ends with 0.
    assert next((code for code in (told_to_end() for _ in range(5)) if code != 0), 0) == 143


def handles_sigterm(server: ServerProcess) -> bool:
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert caught is not None
    return bool(int(caught[1], 16) & 1 << (signal.SIGTERM - 1))


BASE: dict[str, Any] = {"type": "Base", "base": "base_v1", "owner": None}


@pytest.mark.parametrize(
    ("lineage", "setting", "name", "warned"),
    [
        (BASE | {"model": "letters"}, "invoice-fields", "letters", True),
        pytest.param(BASE | {"model": "letters"}, "letters", "letters", False, marks=pytest.mark.deep),
        (BASE | {"model": "letters"}, "", "letters", False),
        (BASE | {"model": None}, "invoice-fields", "invoice-fields", False),
        pytest.param(BASE, "invoice-fields", "invoice-fields", False, marks=pytest.mark.deep),
        (None, "invoice-fields", "invoice-fields", False),
    ],
)
def test_the_artifact_says_which_model_it_is_and_the_environment_only_where_it_does_not(
    tmp_path: Path, start_server: StartServer, lineage: dict[str, Any], setting: str, name: str, warned: bool
) -> None:
    server = start_server(install_model(tmp_path / "model", tiny_model(lineage=lineage)), FINETUNE_MODEL=setting)
    server.wait_ready()
    assert server.get("/version").json["name"] == name
    assert server.predict(encode(page_with("red", at=(16, 16)))).json["model"]["name"] == name
    documents = [series for series in server.metrics() if series.startswith("finetune_documents_total{")]
    assert [f'model="{name}"' in series for series in documents] == [True]
    warnings = [json.loads(line) for line in server.log.read_text().splitlines() if '"warning"' in line]
    assert [all(word in warning["message"] for word in (setting, name)) for warning in warnings] == [True] * warned


def test_a_model_that_nobody_names_is_not_served(tmp_path: Path, start_server: StartServer) -> None:
    directory = install_model(tmp_path / "model", tiny_model(lineage=BASE))
    code, message = never_was_ready(start_server(directory, FINETUNE_MODEL=""))
    assert code == 10
    assert message.startswith("SettingMissing: ")
    assert "FINETUNE_MODEL" in message


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": ' * 100_000], ids=["lists", "objects"])
def test_metadata_nested_without_end_is_refused_in_words(text: str) -> None:
    for parse in (parse_settings, parse_model):
        with pytest.raises(StartError) as caught:
            parse(text)
        assert caught.value.reason == "ModelSettingsInvalid"


def test_a_class_name_that_no_answer_could_carry_is_refused() -> None:
    with pytest.raises(StartError) as caught:
        parse_settings(json.dumps(serving_settings(classes=("half a character: \ud800",))))
    assert caught.value.reason == "ModelSettingsInvalid"


@pytest.mark.parametrize("name", ["", "Letters", "a" * 31, "-a", "a\n", 1, ["a"]])
def test_a_record_that_is_no_name_is_refused(tmp_path: Path, name: object) -> None:
    model = tiny_model(lineage=BASE | {"model": name})
    assert refused(install_model(tmp_path / "model", model), sha256(model)) == "ModelSettingsInvalid"


def test_weights_that_the_digest_does_not_cover_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load_from_string(tiny_model())
    boxes = next(tensor for tensor in model.graph.initializer if tensor.name == "boxes")
    (tmp_path / "boxes.bin").write_bytes(boxes.raw_data)
    boxes.ClearField("raw_data")
    boxes.data_location = onnx.TensorProto.EXTERNAL
    boxes.external_data.add(key="location", value="boxes.bin")
    content = model.SerializeToString()
    monkeypatch.chdir(tmp_path)
    assert refused(install_model(tmp_path / "model", content), sha256(content)) == "ModelUnusable"


@pytest.mark.row("R326")
def test_what_begins_as_a_format_of_onnxruntimes_own_is_read_as_onnx(tmp_path: Path) -> None:
    """As an evaluation reads it: of one file two readers could make two networks."""
    content = b"\xfa\x01\x84\x00ORTM" + tiny_model()
    artifact = Artifact("ft_v1.1", "file:///artifacts/ft_v1.1/model.onnx", sha256(content))
    assert load_detector(install_model(tmp_path / "model", content), artifact, 1).settings.classes
