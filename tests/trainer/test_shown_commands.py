"""Commands that pages show: the command line takes each as it stands there, and the trainer's page has every option."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from finetune_trainer.cli import command_line
from house.crds import ROOT
from house.pages import DOCS, README, blocks_of

FILLED = {"$IMAGE_SIZE": "640", "$(date +%F)": "2026-11-24"}
"""What a shell puts there, where the command line wants more than a text."""

OPTION = re.compile(r"--[a-z][a-z0-9-]+")
SYNOPSIS, STANDS_FOR = (ROOT / "trainer-image" / "README.md").read_text().split("## Commands\n\n")[1].split("\n\n")[:2]


def words_of(line: str) -> list[str]:
    """Return the words of a command, up to where the shell takes over."""
    for written, filled in FILLED.items():
        line = line.replace(written, filled)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="><|;&")
    lexer.whitespace_split = True
    words = list(lexer)
    ends = (number for number, word in enumerate(words) if set(word) <= set("><|;&"))
    return words[: next(ends, len(words))]


def shown() -> dict[str, list[str]]:
    """Return the trainer's commands in the pages' shell, by place."""
    commands: dict[str, list[str]] = {}
    for block in blocks_of((README, *sorted(DOCS.rglob("*.md")))):
        text = block.text.replace("\\\n", " ") if block.language == "sh" else ""
        for number, line in enumerate(re.findall(r"^ *(?:scripts/trainer|finetune-trainer) (.*)$", text, re.MULTILINE)):
            commands[f"{block.page} line {block.line}, {number}"] = words_of(line)
    return commands


def entries() -> dict[str, str]:
    """Return what the trainer's page says of each command."""
    entries: dict[str, str] = {}
    for entry in SYNOPSIS.split("finetune-trainer ")[1:]:
        name = re.match(r"(?:(?:anchor|pool|production) )?[a-z]+", entry)
        assert name is not None, entry
        entries[name[0]] = entries.get(name[0], "") + entry
    return entries


SHOWN, ENTRIES = shown(), entries()


def usage(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        command_line().parse_args([*name.split(), "--help"])
    assert ended.value.code == 0, name
    return capsys.readouterr().out.split("\n\n")[0]


def options(name: str) -> set[str]:
    """Return the options that the page names of a command."""
    classes = STANDS_FOR if "[CLASSES]" in ENTRIES[name] else ""
    of_list = ENTRIES["production list"] if "[as list]" in ENTRIES[name] else ""
    return set(OPTION.findall(ENTRIES[name] + classes + of_list))


def test_most_pages_of_data_show_commands() -> None:
    assert len(SHOWN) >= 20
    assert {words[0] for words in SHOWN.values()} == {"anchor", "pool", "production", "import"}


@pytest.mark.parametrize("place", SHOWN)
def test_the_command_line_takes_what_a_page_shows(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        command_line().parse_args(SHOWN[place])
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_trainers_page_has_every_option_of_a_command_and_no_other(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert options(name) == set(OPTION.findall(usage(name, capsys)))


def unexplained(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield arguments without a word of help, of this command and those below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from unexplained(below)
        elif not action.help and action.dest != "step":
            yield f"{parser.prog} {action.option_strings or action.dest}"


def test_every_argument_says_what_it_is_for() -> None:
    assert [*unexplained(command_line())] == []


def test_the_trainers_page_has_every_command_and_step(capsys: pytest.CaptureFixture[str]) -> None:
    groups = {}
    for name in ("", "anchor", "pool", "production", "job"):
        (choices,) = re.findall(r"\{([a-z,]+)\}", usage(name, capsys))
        groups[name] = set(choices.split(","))
    (steps,) = re.findall(r"^job (\S+)", ENTRIES["job"])
    assert set(steps.split("|")) == groups.pop("job")
    leaves = {f"{group} {name}".strip() for group, names in groups.items() for name in names}
    assert ENTRIES.keys() == leaves - {"anchor", "pool", "production"}
