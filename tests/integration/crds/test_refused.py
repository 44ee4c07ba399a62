"""Every documented bad object is refused, with a message that names the field and the remedy."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from house.api_server import ApiServer
from house.crds import Schema, crds, properties
from house.samples import SAMPLES, at, changed, sample

pytestmark = pytest.mark.control_plane

POLICY, RUN, PROMOTION = "FineTunePolicy", "FineTuneRun", "ModelPromotion"
BASE, TUNED = "ModelVersion of a base", "ModelVersion of a fine-tune"
REBUILT, OLD_POLICY = "ModelVersion of a rebuilt base", "FineTunePolicy of the last release"


@dataclass(frozen=True)
class Bad:
    """A value that makes a good sample bad; None removes the field. `remedy` is what the message must say."""

    sample: str
    path: str
    value: Any
    remedy: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.sample}: {self.path} = {str(self.value)[:40]!r} ({self.remedy[:40]})"


NAME = "must be the name of an object"
SHARE = 'must be a decimal from 0 to 1, in quotes, for example "0.8"'
RATE = 'must be a decimal above 0 and at most 1, in quotes, for example "0.001"'
POINTS = "must be a decimal from 0 to 100"
VERSION = "must be a version such as base_v1 or ft_v1.2"
SCHEME = "must be file:///path, s3://bucket/prefix or gs://bucket/prefix, without user, password or port; credentials"
DIGEST = "must be 64 lower-case hex digits, as sha256sum prints them"
PAGES = "data.production.uri"
EVIDENCE = "copy .status.evidence.digest of"

BAD_URIS = (
    ("http://host/data", SCHEME),
    ("file://host/data", SCHEME),
    ("/data/pool", SCHEME),
    ("s3://user:password@bucket/pool", SCHEME),
    ("s3://bucket:9000/pool", SCHEME),
    ("s3://", SCHEME),
    ("s3://bucket/pool?versionId=3", "must have no query and no fragment; remove everything from '?' or '#' on"),
    ("s3://bucket/pool#part", "must have no query and no fragment"),
    ("file:///data/../etc", "must have no '.' or '..' in its path; write the path out"),
    ("file:///data/./pool", "must have no '.' or '..' in its path"),
    ("file:///data/my pool", "must have no spaces"),
    ("file:///data/%2e%2e/etc", "must have no spaces, '%'"),
    ("file:///data\\pool", "backslashes"),
    ("s3://bucket/p\u00f6l", "outside ASCII; rename the folder"),
)
URIS = (
    (POLICY, "data.anchor.uri"),
    (POLICY, "data.pool.uri"),
    (POLICY, "artifacts.uri"),
    (BASE, "artifact.uri"),
    (BASE, "checkpoint.uri"),
    (BASE, "inputs.uri"),
    (TUNED, "lineage.inputs.uri"),
)
SHARES = (
    "serving.confidence",
    "serving.nmsIou",
    "training.warmupBiasLr",
    "training.momentum",
    "training.weightDecay",
    "training.augment.fliplr",
    "training.augment.flipud",
    "training.augment.mosaic",
    "training.augment.mixup",
    "training.augment.scale",
    "training.augment.translate",
    "training.augment.hsvH",
    "training.augment.hsvS",
    "training.augment.hsvV",
    "gates.newSamples.minimum",
    "gates.floor.minimum",
    "verification.minMap50",
)


def _limits() -> Iterator[Bad]:
    """Yield, made from the schemas, what breaks each limit of each field: type, size, range, enum, required."""
    for name in SAMPLES:
        manifest = sample(name)
        for path, schema in properties(crds()[manifest["kind"]].spec):
            if at(manifest["spec"], path) is not None:
                for value, remedy in _beyond(schema, at(manifest["spec"], path)):
                    yield Bad(name, ".".join(path), value, remedy)
        for path, schema in (((), crds()[manifest["kind"]].spec), *properties(crds()[manifest["kind"]].spec)):
            if at(manifest["spec"], path) is not None:
                for child in schema.get("required", ()):
                    yield Bad(name, ".".join((*path, child)), None, "Required value")


def _beyond(schema: Schema, value: Any) -> Iterator[tuple[Any, str]]:
    if "enum" in schema:
        yield "no-such-value", "supported values: " + ", ".join(f'"{item}"' for item in schema["enum"])
    elif schema.get("format") == "date-time":
        yield "yesterday", "must be of type date-time"
    elif "maxLength" in schema:
        yield "x" * (schema["maxLength"] + 1), f"may not be more than {schema['maxLength']}"
    if schema.get("minLength"):
        yield "", f"should be at least {schema['minLength']} chars long"
    if "maximum" in schema:
        yield schema["maximum"] + 1, f"should be less than or equal to {schema['maximum']}"
        yield schema["minimum"] - 1, f"should be greater than or equal to {schema['minimum']}"
    if "maxItems" in schema and schema.get("x-kubernetes-list-type") != "set":
        yield value * (schema["maxItems"] + 1), f"must have at most {schema['maxItems']} items"
    if schema.get("minItems"):
        yield [], f"should have at least {schema['minItems']} items"
    if "maxProperties" in schema:
        yield {str(n): "1" for n in range(schema["maxProperties"] + 1)}, f"must have at most {schema['maxProperties']}"
    yield [[]] if schema.get("type") == "object" else {}, f"must be of type {schema.get('format', schema['type'])}"


CASES = (
    *_limits(),
    *(Bad(name, path, uri, remedy) for name, path in URIS for uri, remedy in BAD_URIS),
    *(Bad(POLICY, path, value, SHARE) for path in SHARES for value in ("1.01", "-0.1", "half", "1e-1", "NaN", "")),
    *(Bad(BASE, f"serving.{name}", "2", SHARE) for name in ("confidence", "nmsIou")),
    # The policy.
    Bad(POLICY, "model", "Invoice_Fields", "must be lower-case letters, digits and '-', for example invoice-fields"),
    Bad(POLICY, "deployment", "Detector", NAME),
    Bad(POLICY, "classes", [f"class-{n}" for n in range(81)], "must have at most 80 items"),
    Bad(POLICY, "classes", ["a", "b", "a"], "must not repeat a name; give every class a name of its own"),
    Bad(POLICY, "classes", ["c" * 64], "may not be more than 63", field="classes[0]"),
    Bad(POLICY, "classes", [""], "should be at least 1 chars long", field="classes[0]"),
    *(
        Bad(
            name, "classes", ["fine", value], "must be a name without commas and control characters", field="classes[1]"
        )
        for name in (POLICY, BASE)
        for value in ("a,b", " a", "a ", "a\tb", "a\n", "\x7f", ",")
    ),
    Bad(POLICY, "podTemplates.train", "Gpu", NAME),
    Bad(POLICY, "podTemplates.cpu", "cpu/other", NAME),
    Bad(POLICY, "serving.imageSize", 330, "should be a multiple of 32"),
    Bad(POLICY, "training.optimizer", "auto", 'supported values: "AdamW", "Adam", "SGD", "MuSGD"'),
    *(Bad(POLICY, f"training.{name}", value, RATE) for name in ("lr0", "lrf") for value in ("0", "1.5", "-0.001")),
    Bad(POLICY, "training.warmupEpochs", "101", "must be a decimal from 0 to 100"),
    Bad(POLICY, "training.augment.degrees", "181", "must be a decimal from 0 to 180"),
    Bad(POLICY, "gates.regression.reviewAtPoints", "101", POINTS),
    Bad(POLICY, "gates.regression.rejectAbovePoints", "-3", POINTS),
    Bad(POLICY, "gates.regression.reviewAtPoints", "2.8", "lower reviewAtPoints or raise rejectAbovePoints"),
    *(
        Bad(POLICY, path, "1", 'must be a decimal from 0 to 0.9, in quotes, for example "0.2"')
        for path in ("data.pool.holdout", "gates.newSamples.holdout")
    ),
    Bad(
        POLICY,
        "gates.newSamples.holdout",
        "0.3",
        "moved to spec.data.pool.holdout, and the two differ; remove the former",
        field="data.pool.holdout",
    ),
    Bad(
        POLICY,
        "data.production",
        None,
        "set data.production.uri as FINETUNE_CAPTURE_URI of the server, or remove gates.production",
        field="gates.production",
    ),
    Bad(
        POLICY,
        "gates.production",
        {"documents": 2},
        "raise documents, or set rule to Literal",
        field="gates.production.documents",
    ),
    *(
        Bad(POLICY, "data.production.keepDays", days, "raise data.production.keepDays or lower review.timeoutSeconds")
        for days in (2, 3)
    ),
    *(
        Bad(POLICY, path, value, "captured pages expire and are personal: give them a prefix of their own", PAGES)
        for path, value in (
            (PAGES, "file:///data"),
            (PAGES, "file:///data/pool"),
            (PAGES, "file:///data/pool/"),
            (PAGES, "file:///data//pool/pages"),
            (PAGES, "file:///data///pool"),
            (PAGES, "file://///data/pool"),
            (PAGES, "file:///////data//////pool////pages///////"),
            (PAGES, "file:///" + "/" * 900),
            (PAGES, "file:///data/anchor/pages"),
            (PAGES, "file:///artifacts/pages"),
            ("data.pool.uri", "file:///data/production/pool"),
            ("data.anchor.uri", "file:///data/production/"),
            ("artifacts.uri", "file:///data//production/artifacts/"),
            ("artifacts.uri", "file:///data///production"),
        )
    ),
    Bad(TUNED, "evidence.figures", [], "has no figures, so nobody could tell what the gates saw"),
    Bad(
        OLD_POLICY,
        "triggers",
        {},
        "names no trigger; add volume, schedule or performance, set spec.rebuild.poolSamples",
    ),
    Bad(POLICY, "rebuild.start.sha256", "AB" * 32, "must be 64 lower-case hex digits"),
    Bad(POLICY, "rebuild.start.uri", "https://weights/yolo11n.pt", "must be file:///path, s3://bucket/prefix"),
    Bad(POLICY, "rebuild.training.lr0", "0", RATE),
    Bad(RUN, "mode", "Rebuild", "a rebuild trains on everything", field="mixing.ratio"),
    *(
        Bad(POLICY, "triggers.schedule.cron", cron, "must be five fields with one space between them")
        for cron in ("@every night", "0 2 * * * *", "0 2  * * 0", "0 2 * * 0;")
    ),
    *(
        Bad(POLICY, "triggers.schedule.timeZone", zone, "must be the name of an IANA time zone")
        for zone in ("../UTC", "Europe/", "Europe/Berlin ", "/etc/localtime")
    ),
    *(
        Bad(
            POLICY,
            "triggers.performance.alerts",
            [name],
            "must be the name of an alert",
            "triggers.performance.alerts[0]",
        )
        for name in ("A B", "1st", 'A"} or up', "a|b")
    ),
    Bad(
        RUN,
        "trigger.figures",
        [{"name": "new", "value": "many"}],
        "must be a decimal in quotes",
        "trigger.figures[0].value",
    ),
    # The run: what it trains, never on what data, against which gates or in which pod.
    *(
        Bad(RUN, name, value, f'unknown field "spec.{name}"', field="-")
        for name, value in (
            ("data", {"pool": {"uri": "file:///mine"}}),
            ("gates", {}),
            ("image", "mine"),
            ("serviceAccountName", "admin"),
            ("env", []),
        )
    ),
    Bad(RUN, "training.optimizer", "SGD", 'unknown field "spec.training.optimizer"', field="-"),
    Bad(RUN, "policy", "Invoice Fields", NAME),
    *(
        Bad(RUN, "baseVersion", value, "must be a base version such as base_v1")
        for value in ("v1", "base_v0", "base_v01")
    ),
    *(
        Bad(RUN, "mixing.ratio", value, "must be Auto, or a decimal from 0 to 1000")
        for value in ("auto", "-1", "1001", "1.1234567")
    ),
    Bad(RUN, "training.lr0", "0", RATE),
    Bad(RUN, "resources.limits", {"memory": "lots"}, "must be quantities that are not negative, for example 1, 500m"),
    Bad(RUN, "resources.requests", {"cpu": "-1"}, "must be quantities that are not negative"),
    Bad(RUN, "resources.requests", {"cpu": -1}, "must be quantities that are not negative"),
    Bad(RUN, "resources.limits", {"nvidia.com/gpu": "0.5"}, "a device is given out whole"),
    Bad(RUN, "resources.requests", {"nvidia.com/gpu": "1500m"}, "a device is given out whole"),
    Bad(RUN, "resources.limits", {str(n): "1" for n in range(17)}, "must have at most 16 items"),
    Bad(RUN, "nodeSelector", {str(n): "1" for n in range(17)}, "must have at most 16 items"),
    Bad(RUN, "tolerations", [{"effect": "Never"}], "supported values", field="tolerations[0].effect"),
    Bad(RUN, "queueName", "Night", NAME),
    Bad(RUN, "review.evidence", "a" * 64, EVIDENCE),
    # Versions.
    Bad(BASE, "model", "Invoices", "must be lower-case letters, digits and '-'"),
    *(Bad(BASE, "version", value, VERSION) for value in ("v1", "base_v0", "base_v01", "ft_v1", "ft_v1.0", "base_v1.1")),
    Bad(BASE, "type", "FineTuned", "spec.type and spec.version disagree"),
    Bad(BASE, "type", "FineTuned", "needs spec.base, spec.lineage and spec.evidence"),
    Bad(TUNED, "type", "Base", "spec.type and spec.version disagree"),
    *(
        Bad(REBUILT, name, None, "a Base that a run made has spec.base, spec.lineage and spec.evidence", field="type")
        for name in ("base", "lineage", "evidence")
    ),
    *(
        Bad(TUNED, name, None, "needs spec.base, spec.lineage and spec.evidence", field="type")
        for name in ("base", "lineage", "evidence")
    ),
    Bad(TUNED, "base", "ft_v1.1", "must be a base version such as base_v1; a fine-tune never starts from a fine-tune"),
    Bad(TUNED, "base", "base_v2", "is not of the series of spec.base", field="version"),
    Bad(TUNED, "base", "base_v11", "is not of the series of spec.base", field="version"),
    *(
        Bad(BASE, f"{name}.sha256", value, DIGEST)
        for name in ("artifact", "checkpoint", "inputs")
        for value in ("", "A" * 64)
    ),
    Bad(BASE, "classes", ["a", "a"], "must not repeat a name"),
    Bad(BASE, "serving.imageSize", 100, "should be a multiple of 32"),
    Bad(TUNED, "lineage.baseSha256", "abc", DIGEST),
    Bad(TUNED, "evidence.digest", "abc", EVIDENCE),
    # Promotions.
    Bad(PROMOTION, "policy", "Invoices", NAME),
    Bad(PROMOTION, "version", "invoices-ft-v1.1", VERSION),
    Bad(PROMOTION, "from", "latest", VERSION),
    Bad(PROMOTION, "approval.evidence", "sha256:abc", EVIDENCE),
)


@pytest.mark.parametrize("bad", CASES, ids=str)
def test_a_bad_field_is_refused_by_name_with_its_remedy(server: ApiServer, bad: Bad) -> None:
    manifest = changed(sample(bad.sample), ("spec", *bad.path.split(".")), bad.value)
    answer = server.create(manifest, dry_run=True)
    assert answer.status in {400, 422}, "the object was accepted"
    assert bad.remedy in answer.message
    if bad.field != "-":
        field = f"spec.{bad.field or bad.path}"
        assert any(cause.startswith(f"{field}: ") and bad.remedy in cause for cause in answer.causes), answer.causes


def _named(name: str, title: str) -> dict[str, Any]:
    return changed(sample(name), ("metadata", "name"), title)


NAMES = (
    (_named(RUN, "r" * 41), "metadata.name is longer than 40 characters, and its Jobs are named after it; choose"),
    (_named(POLICY, "p" * 64), "metadata.name is longer than 63 characters; choose a shorter name"),
    (_named(BASE, "mine"), "metadata.name must be <spec.model>-<spec.version> with '-' for '_'"),
    (
        changed(
            _named(BASE, "m" * 30 + "-base-v10000"),
            ("spec",),
            {
                **sample(BASE)["spec"],
                "model": "m" * 30,
                "version": "base_v10000",
            },
        ),
        "metadata.name of a base is longer than 40 characters, and its Jobs are named after it",
    ),
)


@pytest.mark.parametrize(("manifest", "remedy"), NAMES, ids=("run", "policy", "version", "base"))
def test_a_bad_name_is_refused_with_its_remedy(server: ApiServer, manifest: dict[str, Any], remedy: str) -> None:
    answer = server.create(manifest, dry_run=True)
    assert answer.status == 422
    assert remedy in answer.message


def test_a_promotion_of_what_is_live_is_refused_unless_it_lifts_a_hold(server: ApiServer) -> None:
    same = changed(sample(PROMOTION), ("spec", "from"), "ft_v1.1")
    pointless = server.create(changed(same, ("spec", "releaseHold"), False), dry_run=True)
    assert pointless.status == 422
    assert "name another version, or set releaseHold: true to lift a hold" in pointless.message
    assert server.create(changed(same, ("spec", "releaseHold"), True), dry_run=True).accepted


GOOD = (
    (POLICY, "data.pool.uri", "s3://bucket"),
    (POLICY, "data.production.uri", "file:///data/pool-of-pages/"),
    (POLICY, "artifacts.uri", "file:///data/production2"),
    (POLICY, "data.pool.uri", "gs://my-bucket.example/pool_2/a=b,c+d~e/"),
    (POLICY, "data.pool.uri", "file:///data/..hidden/pool"),
    (POLICY, "classes", ["moms", "\u00f6re", "total amount"]),
    (POLICY, "gates.newSamples.minimum", "1"),
    (POLICY, "gates.newSamples.minimum", "1.000"),
    (POLICY, "gates.regression.reviewAtPoints", "2.7"),
    (POLICY, "gates.newSamples.holdout", "0.10"),
    (POLICY, "gates.newSamples.holdout", "0"),
    (POLICY, "data.pool.holdout", "0.9"),
    (POLICY, "serving.imageSize", 32),
    (RUN, "mixing.ratio", "0"),
    (RUN, "baseVersion", "ft_v1.1"),
    (RUN, "resources.limits", {"memory": "8Gi", "nvidia.com/gpu": 1, "cpu": "500m"}),
)


@pytest.mark.parametrize(("name", "path", "value"), GOOD, ids=str)
def test_the_edge_of_the_good_is_accepted(server: ApiServer, name: str, path: str, value: Any) -> None:
    answer = server.create(changed(sample(name), ("spec", *path.split(".")), value), dry_run=True)
    assert answer.accepted, answer.message
