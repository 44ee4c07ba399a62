"""Where Markdown of ours points, and what texts of ours name: links, anchors, pages, and texts that are not here."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import Final
from urllib.parse import unquote

HEADING: Final = re.compile(r"^#{1,6} +(.*?)(?: +#+)?$")
FENCE: Final = re.compile(r"^ {0,3}(```|~~~)")
LINK: Final = re.compile(r"\]\(<?([^)<>\s]+)>?(?: +\"[^\"]*\")?\)")
REFERENCE: Final = re.compile(r"^ {0,3}\[[^\]]+\]: +(\S+)")
TAG: Final = re.compile(r"<a +(?:id|name)=\"([^\"]+)\"|<img [^>]*src=\"([^\"]+)\"")
DIVIDER: Final = re.compile(r"^\|(?: *:?-+:? *\|)+$")
NAMED_PAGE: Final = re.compile(r"(?<![\w/.-])((?:docs|local-cluster|examples)/[\w./-]*\.md)\b")
"""A page that code or a text names by its path from the root, for example in a docstring."""

NAMED_CODE: Final = re.compile(r"`((?:[\w-]+/)+[\w-]+\.(?:py|yaml|json|toml|svg))`")
"""A file of code in a code span of a page: from the root, from a member's package, or from the page's folder."""

PACKAGES: Final = (
    "operator/src/finetune_operator",
    "trainer-image/src/finetune_trainer",
    "serving-image/src/finetune_server",
    "local-cluster/src/local_cluster",
)
"""Where the members' packages lie; their pages name modules from there."""

ELSEWHERE: Final = re.compile(r"\bDESIGN\b|\b[Tt]he seeds\b|\b[Ss]ection \d+[a-z]\b|(?<![\w/-])(?:facts|seeds)/\w+\.md")
"""Words for texts outside the repository. What they say is to stand here, in our own words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong at a line of a file, in words that say what to do."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a page that are no fenced code; code spans are taken out of them."""
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        mark = FENCE.match(line)
        if mark is not None and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif not fence:
            yield number, line


def anchors(text: str) -> frozenset[str]:
    """Return the anchors of a page as GitHub makes them: a slug for each heading, numbered where one comes again."""
    seen: Counter[str] = Counter()
    named: set[str] = set()
    for _, line in prose(text):
        named |= {tag[1] for tag in TAG.finditer(line) if tag[1]}
        heading = HEADING.match(line)
        if heading is None:
            continue
        slug = slug_of(heading[1])
        named.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(named)


def slug_of(heading: str) -> str:
    """Return GitHub's anchor of a heading: lower case, without marks and punctuation, a hyphen for each space."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")


def links(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, target) of a page's links and images that stay within the repository; code is no link."""
    for number, line in prose(text):
        plain = re.sub(r"`[^`]*`", "", line)
        targets = [*LINK.findall(plain), *REFERENCE.findall(plain), *(tag[2] for tag in TAG.finditer(plain) if tag[2])]
        yield from ((number, target) for target in targets if not re.match(r"[a-z][a-z+.-]*:", target))


def dead_links(pages: Mapping[str, str], root: Path) -> Iterator[Finding]:
    """Yield the links of pages (text by path from the root) that lead nowhere: no such file, or no such heading."""
    known = {path: anchors(text) for path, text in pages.items()}
    for path, text in pages.items():
        for line, target in links(text):
            place, _, anchor = unquote(target).partition("#")
            file = normpath((Path(path).parent / place).as_posix()) if place else path
            if file.startswith("../") or not (root / file).exists():
                yield Finding(path, line, f"{target}: there is no {file}")
            elif anchor and anchor not in known.get(file, frozenset()):
                yield Finding(path, line, f"{target}: {file} has no heading #{anchor}")


def cut_tables(path: str, text: str) -> Iterator[Finding]:
    """Yield the rows with which a table would begin without its head: an empty line above has ended the table."""
    above, head = "", 0
    for number, line in prose(text):
        if head and not DIVIDER.match(line):
            yield Finding(path, head, "this row has no head; take out the empty line above it")
        head = number if line.startswith("|") and not above.startswith("|") else 0
        above = line


def lost_pages(path: str, text: str, root: Path) -> Iterator[Finding]:
    """Yield the pages that a text names by a path at which nothing is."""
    for number, line in enumerate(text.splitlines(), start=1):
        for named in NAMED_PAGE.findall(line):
            if not (root / named).exists():
                yield Finding(path, number, f"{named} is not there; name the page where it is now")


def lost_code(path: str, text: str, root: Path) -> Iterator[Finding]:
    """Yield the files of code that a page names and that are not there."""
    folders = ("", Path(path).parent.as_posix(), *PACKAGES)
    for number, line in enumerate(text.splitlines(), start=1):
        for named in NAMED_CODE.findall(line):
            if not any((root / folder / named).exists() for folder in folders):
                yield Finding(path, number, f"{named} is not there; name the file where it is now")


def texts_elsewhere(path: str, text: str) -> Iterator[Finding]:
    """Yield the words that send a reader to a text outside the repository."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in ELSEWHERE.finditer(line):
            yield Finding(path, number, f"{match[0]!r} names a text that is not in the repository; say the rule itself")
