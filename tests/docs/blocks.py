"""The fenced blocks and inline code of README and docs, with what their authors say of them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
RUNNABLE = ("bash", "console", "python", "toml")
OTHERS = ("bibtex", "text")
FENCE = re.compile(
    r"(?:^<!-- (?P<key>not run|file): (?P<said>[^\n]+?) -->\n)?"
    r"^```(?P<lang>[^\n]*)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
SNIPPET = re.compile(r"^--8<--\n([^\n]+)\n--8<--\n", re.M)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page, line: where it begins.
        lang: its language.
        text: its lines, with included files in place of the lines that include them.
        reason: why it is not run; "" for one that is.
        file: the name under which a reader saves it; "" for none.
    """

    page: Path
    line: int
    lang: str
    text: str
    reason: str = ""
    file: str = ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    source = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(source):
        said = {match["key"]: match["said"]}
        line = source.count("\n", 0, match.start("lang")) + 1
        text = SNIPPET.sub(
            lambda m: (ROOT / "docs" / m[1]).read_text(encoding="utf-8"), match["text"]
        )
        found.append(
            Block(page, line, match["lang"], text, said.get("not run", ""), said.get("file", ""))
        )
    return found


ALL = [block for page in PAGES for block in blocks(page)]


def sessions(block: Block) -> list[tuple[str, str]]:
    """(command, output) of a console block; the output may have ``...`` for whatever."""
    parts = re.split(r"^\$ ", block.text, flags=re.M)
    assert parts[0] == "", f"{block}: begin with a command"
    return [
        (command, output) for command, _, output in (part.partition("\n") for part in parts[1:])
    ]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a bash or console block, comments left out."""
    text = (
        "\n".join(command for command, _ in sessions(block))
        if block.lang == "console"
        else block.text
    )
    lines = text.replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in split if words]


def inline(page: Path) -> Iterator[str]:
    """The code within a page's sentences, lines joined."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    yield from (" ".join(code.split()) for code in INLINE.findall(text))
