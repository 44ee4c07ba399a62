"""The README and the docs say what is so: their shell parses, their links lead somewhere, their names exist."""

import re
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from house.crds import ROOT, crds
from house.pages import (
    DOCS,
    GUIDE,
    README,
    Block,
    PageError,
    blocks,
    blocks_of,
    fields_of_messages,
    manifests,
    named_fields,
    page_name,
    paths_of,
    reasons_of_tables,
    runnable,
    session,
    source_reasons,
    trainer_reasons,
    trouble_reasons,
    unknown_fields,
)

PAGES = (README, *sorted(DOCS.rglob("*.md")))
BLOCKS = blocks_of(PAGES)
REASONS = DOCS / "operate" / "reasons.md"
FIELDS = DOCS / "reference" / "README.md"
METRICS = DOCS / "operate" / "metrics.md"


def block_name(block: Block) -> str:
    return f"{block.page} line {block.line}"


class TestReading:
    def test_a_block_is_run_unless_the_comment_directly_above_says_why_not(self) -> None:
        text = "<!-- not run: slow -->\n```sh\nsleep 9\n```\n\ntext\n```sh\ntrue\n```\n```yaml\na: 1\n```\n"
        slow, run, other = blocks(text)
        assert (slow.not_run, slow.text, slow.line) == ("slow", "sleep 9\n", 2)
        assert (run.not_run, run.line) == (None, 7)
        assert other.language == "yaml"
        assert runnable(blocks(text)) == [run]

    def test_a_comment_further_up_does_not_count(self) -> None:
        (block,) = blocks("<!-- not run: slow -->\n\n```sh\ntrue\n```\n")
        assert block.not_run is None

    def test_a_block_that_never_ends_is_an_error_with_its_line(self) -> None:
        with pytest.raises(PageError, match=r"^page\.md line 2"):
            blocks("text\n```sh\ntrue\n", "page.md")

    def test_the_session_is_one_shell_over_all_pages_and_stops_at_the_first_failure(self) -> None:
        one = blocks("```sh\nexport A=1\n```\n", "one.md")
        two = blocks("text\n```sh\ntest $A = 1; false | true\n```\n```sh\necho never\n```\n", "two.md")
        script = session(runnable([*one, *two]), after_each="echo after")
        done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert done.stdout.splitlines() == ["after 1"]
        assert done.stderr.splitlines() == ["### one.md line 1", "### two.md line 2"]

    def test_reasons_are_found_in_the_column_of_that_name_alone(self) -> None:
        assert reasons_of_tables("| a | reason |\n|---|---|\n| `No` | `Yes`, `Also` |\n\n`Neither`\n") == {
            "Yes",
            "Also",
        }

    def test_unknown_fields_are_named_by_path(self) -> None:
        schema: dict[str, Any] = {"properties": {"a": {"items": {"properties": {"b": {}}}}, "free": {}}}
        assert unknown_fields({"a": [{"b": 1, "c": 2}], "free": {"x": 1}, "d": 3}, schema) == [".d", ".a[].c"]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh"], ids=block_name)
def test_every_shell_block_parses(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_pipe_ends_before_what_feeds_it() -> None:
    """With pipefail, as scripts have it, `... | head` fails by the signal that the writer may get, now and then."""
    assert [block_name(b) for b in BLOCKS if re.search(r"\|\s*head\b|\|\s*grep\s+(-\w+\s+)*-\w*q", b.text)] == []


def test_blocks_have_a_language_and_those_that_are_not_run_a_reason() -> None:
    assert [block_name(b) for b in BLOCKS if b.language not in {"sh", "yaml", "python", "promql"}] == []
    assert [block_name(b) for b in BLOCKS if b.not_run is not None and len(b.not_run.split()) < 4] == []


def test_the_guide_begins_with_its_variables_and_follows_the_numbers_of_its_pages() -> None:
    names = [page_name(page) for page in GUIDE]
    assert names[0] == "docs/guide/README.md"
    assert [name[len("docs/guide/") :][0] for name in names[1:-1]] == [str(n) for n in range(1, len(names) - 1)]
    assert names[-1] == "docs/operate/uninstall.md"


def test_the_guides_first_page_links_every_page_that_is_run_in_order() -> None:
    linked = re.findall(r"\]\(([^)#]+\.md)\)", GUIDE[0].read_text())
    targets = [(GUIDE[0].parent / link).resolve() for link in linked]
    assert [target for target in targets if target in GUIDE] == list(GUIDE[1:])


def test_most_of_the_guide_is_run() -> None:
    """A page could be made true by running nothing of it."""
    among = blocks_of(GUIDE)
    assert len(runnable(among)) >= 3 * sum(b.not_run is not None for b in among)


def test_a_block_outside_the_pages_that_are_run_says_why_it_is_not() -> None:
    """A reader could think that every block was tried."""
    others = blocks_of([README, *sorted((DOCS / "operate").glob("*.md"))])
    run = {page_name(page) for page in GUIDE}
    assert [block_name(b) for b in others if b.page not in run and b.language == "sh" and b.not_run is None] == []


def test_the_readme_is_short_and_has_the_two_commands_and_the_run() -> None:
    text = README.read_text()
    assert len(text.encode()) <= 6000
    assert {"make demo", "make test"} <= set(re.findall(r"^(make \w+) ", text, re.MULTILINE))
    assert [item["spec"] for _, item in manifests(blocks(text))] == [{"policy": "invoice-fields"}]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=block_name)
def test_every_yaml_block_parses(block: Block) -> None:
    assert all(yaml.safe_load_all(block.text))


def test_every_object_that_a_page_applies_has_only_fields_that_exist() -> None:
    applied = list(manifests(BLOCKS))
    assert {item["kind"] for _, item in applied} == {"FineTunePolicy", "FineTuneRun", "ModelPromotion"}
    bad = [(block_name(b), unknown_fields(item["spec"], crds()[item["kind"]].spec, "spec")) for b, item in applied]
    assert [(name, fields) for name, fields in bad if fields] == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name not in {"decisions", "docs"}], ids=page_name)
def test_every_field_that_is_named_exists(page: Path) -> None:
    known = {
        path
        for crd in crds().values()
        for path in chain(paths_of(crd.spec, "spec"), paths_of(crd.status, "status"), ("spec", "status"))
    }
    assert named_fields(page.read_text()) - known == set()


def test_the_example_of_every_field_of_a_run_has_every_one() -> None:
    """A decision goes into `review` later: it stands in the comment."""
    text = (ROOT / "examples" / "manifests" / "run-with-everything.yaml").read_text()
    spec, schema = yaml.safe_load(text)["spec"], crds()["FineTuneRun"].spec["properties"]
    assert schema.keys() - spec.keys() == {"review"}
    for name in ("mixing", "training", "trigger"):
        assert schema[name]["properties"].keys() == spec[name].keys()
    assert all(f"#   {name}: " in text for name in schema["review"]["properties"])


def test_every_field_that_a_message_names_exists() -> None:
    """What people are told to set is there to be set."""
    named = fields_of_messages()
    assert {"spec.minPoolSamples", "spec.rebuild.start", "spec.serving.maxDetections"} <= named
    assert named - {path for crd in crds().values() for path in paths_of(crd.spec, "spec")} == set()


def test_defaults_in_the_table_of_fields_are_the_crds() -> None:
    """Rows of one field with one default; lists of fields are held by their names alone."""
    policy = crds()["FineTunePolicy"].spec
    rows = re.findall(
        r"^\| `spec\.([A-Za-z.]+)` \| ([^|]+) \|", FIELDS.read_text().split("## FineTunePolicy")[1], re.MULTILINE
    )
    compared = 0
    for path, default in rows:
        schema = policy
        for key in path.split("."):
            schema = schema.get("properties", {}).get(key, {})
        if "default" in schema:
            compared += 1
            assert default.strip().strip('"').lower() == str(schema["default"]).lower(), path
    assert compared >= 5


def test_every_reason_that_is_named_exists_in_the_sources() -> None:
    named = reasons_of_tables(REASONS.read_text())
    assert len(named) > 20
    assert named - source_reasons() == set()


def test_the_architecture_names_every_module_of_the_operator() -> None:
    page = (DOCS / "develop" / "architecture.md").read_text()
    sources = ROOT / "operator" / "src" / "finetune_operator"
    modules = {p for p in sources.rglob("*.py") if p.stem not in {"__init__", "view", "refusal"}}
    assert len(modules) > 80
    assert {p.relative_to(sources).as_posix() for p in modules if not re.search(rf"\b{p.stem}\b", page)} == set()


def test_the_page_of_reasons_has_whatever_stands_in_the_way() -> None:
    assert len(trouble_reasons()) > 50
    assert trouble_reasons() - reasons_of_tables(REASONS.read_text()) == set()


def test_the_page_of_reasons_has_every_phase() -> None:
    text = REASONS.read_text().split("## A run waits")[0].split("## What a run's phase says")[1]
    for kind in ("FineTuneRun", "ModelVersion", "ModelPromotion"):
        phases = set(crds()[kind].status["properties"]["phase"]["enum"])
        assert phases - set(re.findall(r"\b[A-Z]\w+", text)) == set(), kind


def test_the_page_of_reasons_has_every_reason_of_the_trainer() -> None:
    assert trainer_reasons() - reasons_of_tables(REASONS.read_text()) == set()


def test_the_page_of_metrics_has_every_series_of_operator_and_server_and_no_other() -> None:
    """Names of series are texts that begin with finetune_; a counter shows with _total."""
    rows = [line for line in METRICS.read_text().splitlines() if line.startswith("| `finetune_")]
    shown = {name.removesuffix("_total") for row in rows for name in re.findall(r"`(finetune_\w+)`", row.split("|")[1])}
    folders = (ROOT / "operator/src/finetune_operator", ROOT / "serving-image/src/finetune_server")
    texts = [path.read_text() for folder in folders for path in folder.rglob("*.py")]
    made = {name for text in texts for name in re.findall(r'"(finetune_[a-z_]+)"', text)}
    assert shown == made - {"finetune_operator", "finetune_server"}


def test_the_page_of_metrics_names_the_charts_service() -> None:
    template = (ROOT / "charts/finetune-operator/templates/service.yaml").read_text()
    assert '{{ include "finetune-operator.fullname" . }}-metrics' in template
    assert "`finetune-operator-metrics`" in METRICS.read_text()


def test_the_architecture_names_every_package_and_every_layer() -> None:
    text = (DOCS / "develop" / "architecture.md").read_text()
    sources = (ROOT / "operator/src/finetune_operator", ROOT / "trainer-image/src/finetune_trainer")
    packages = {path.parent.name for source in sources for path in source.rglob("*/__init__.py")}
    assert {name for name in packages if not re.search(rf"`{name}/?`", text)} == set()


def test_every_image_is_shown_and_has_a_text_for_those_who_cannot_see_it() -> None:
    images = {path.name for path in (DOCS / "images").iterdir()}
    shown = {Path(image).name for page in PAGES for image in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())}
    assert images == shown
