"""What `make lint` finds in texts: dead links and anchors, pages that moved, texts that are not in the repository."""

from pathlib import Path

import pytest

from house.links import anchors, cut_tables, dead_links, links, lost_code, lost_pages, slug_of, texts_elsewhere


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("Without internet", "without-internet"),
        ("No test split?", "no-test-split"),
        ("A run waits before it starts (`Accepted` is False)", "a-run-waits-before-it-starts-accepted-is-false"),
        ("Run document (`run.json`, one per run)", "run-document-runjson-one-per-run"),
        ("[Linked](page.md) and snake_case", "linked-and-snake_case"),
        ("Git, Argo CD and Flux", "git-argo-cd-and-flux"),
    ],
)  # fmt: skip
def test_a_heading_has_githubs_anchor(heading: str, slug: str) -> None:
    assert slug_of(heading) == slug


def test_a_heading_that_comes_again_is_numbered_and_code_is_no_heading() -> None:
    assert anchors('# One\n## Two\n## Two\n```sh\n# a comment\n```\n<a id="own"></a>\n') == {
        "one",
        "two",
        "two-1",
        "own",
    }


def test_links_are_those_of_prose_that_stay_in_the_repository() -> None:
    text = (
        "[a](a.md) and ![b](b.svg), `[c](c.md)`, [d](https://example.com/d)\n"
        "```sh\n[e](e.md)\n```\n"
        "[f]: f.md\n"
        "[g](#heading)\n"
    )
    assert list(links(text)) == [(1, "a.md"), (1, "b.svg"), (5, "f.md"), (6, "#heading")]


def test_a_link_that_leads_nowhere_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text("# Here\n")
    page = "[a](other.md#here)\n[gone](gone.md)\n[none](other.md#there)\n[self](#title)\n# Title\n[out](../../x)\n"
    pages = {"docs/page.md": page, "docs/other.md": "# Here\n"}
    (tmp_path / "docs" / "page.md").write_text(page)
    assert [str(finding) for finding in dead_links(pages, tmp_path)] == [
        "docs/page.md:2: gone.md: there is no docs/gone.md",
        "docs/page.md:3: other.md#there: docs/other.md has no heading #there",
        "docs/page.md:6: ../../x: there is no ../x",
    ]


def test_a_row_that_an_empty_line_cuts_off_its_table_is_named() -> None:
    table = "| a | b |\n|---|:-:|\n| 1 | 2 |\n"
    assert list(cut_tables("a.md", f"{table}\n{table}text\n```\n| no table |\n```\n")) == []
    assert [str(finding) for finding in cut_tables("a.md", f"{table}\n| 3 | 4 |\n| 5 | 6 |\n")] == [
        "a.md:5: this row has no head; take out the empty line above it"
    ]


def test_a_page_that_code_names_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "here.md").touch()
    code = '"""See docs/here.md."""\n# docs/gone.md, section 2\nURL = "https://example.com/docs/other.md"\n'
    assert [str(finding) for finding in lost_pages("a.py", code, tmp_path)] == [
        "a.py:2: docs/gone.md is not there; name the page where it is now"
    ]


def test_a_file_of_code_that_a_page_names_has_to_be_there(tmp_path: Path) -> None:
    module = tmp_path / "operator/src/finetune_operator/decide/limits.py"
    module.parent.mkdir(parents=True)
    module.touch()
    text = "`decide/limits.py`, `operator/src/finetune_operator/decide/limits.py`\n`decide/gone.py`, `<name>/x.py`\n"
    assert [str(finding) for finding in lost_code("docs/page.md", text, tmp_path)] == [
        "docs/page.md:2: decide/gone.py is not there; name the file where it is now"
    ]


@pytest.mark.parametrize(
    "text", ["as DESIGN says", "the seeds' values", "The seeds ask for it", "see section 3b", "facts/delivery.md 7"]
)
def test_a_text_outside_the_repository_is_refused(text: str) -> None:
    (finding,) = texts_elsewhere("a.py", f"first line\n{text}\n")
    assert finding.line == 2
    assert "say the rule itself" in finding.message


@pytest.mark.parametrize(
    "text", ["Five seeds, each with a base", "docs/reference/contracts.md, section 2", "designed", "the seed"]
)
def test_words_that_mean_themselves_stay(text: str) -> None:
    assert list(texts_elsewhere("a.py", text)) == []
