"""Write the README's table of every method, from what the methods' files say of themselves.

python docs/list_methods.py
"""

import re
from pathlib import Path

from trials import catalog
from trials.catalog import Method

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- methods: written by docs/list_methods.py -->", "<!-- /methods -->"
KINDS = [kind for kind in catalog.KINDS if not kind.endswith("spaces")]
IN_ONE_ROW = {  # kinds of which names tell enough, and what they are
    "datasets": "images from a folder; your own with `image_folder` or `image_table`",
    "models": "architectures; all of torchvision and timm by name, and your own",
    "recipes": "how a victim is trained, or that it is `given`",
    "games": "who sees what in a trial, and what is measured",
}
PAPER = re.compile(
    r"([A-Z][\w&'.-]*(?:(?:,? &|,| et| al\.)? ?[A-Z&a][\w&'.-]*)*? \d{4})"
    r"(?:,? '[^']*')?(?:, (arXiv:\d+\.\d+))?"
)


def paper(method: Method) -> str:
    """The first paper that a method's ``Source:`` names, as a link where it has an arXiv number."""
    found = PAPER.search(method.source)
    if not found:
        return "–"
    name, number = found.groups()
    return f"[{name}](https://arxiv.org/abs/{number.removeprefix('arXiv:')})" if number else name


def link(kind: str, name: str) -> str:
    """A method's name, as a link to its file."""
    return f"[{name}]({catalog.KINDS[kind][0].replace('.', '/')}/{name}.py)"


def rows() -> list[str]:
    """The table, in Markdown: a row a method, or a kind of which names tell enough."""
    lines = ["| kind | method | what it is | paper |", "|---|---|---|---|"]
    for kind in KINDS:
        word, names = kind.removesuffix("s"), catalog.names(kind)
        if kind in IN_ONE_ROW:
            links = ", ".join(link(kind, name) for name in names)
            lines.append(f"| {word} | {links} | {IN_ONE_ROW[kind]} | – |")
            continue
        for name in names:
            method = catalog.describe(kind, name)
            title, _, rest = method.summary.rstrip(".").partition(": ")
            lines.append(f"| {word} | {link(kind, name)} | {rest or title} | {paper(method)} |")
    return lines


def block() -> str:
    """The README's block between the two markers."""
    return "\n".join([BEGIN, "", *rows(), "", END])


def main() -> None:
    """Write the block into README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    readme.write_text(pattern.sub(lambda _: block(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
