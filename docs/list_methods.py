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


def rows() -> list[str]:
    """The table, in Markdown: a row a method."""
    lines = ["| kind | method | what it is | paper |", "|---|---|---|---|"]
    for kind in KINDS:
        for name in catalog.names(kind):
            method = catalog.describe(kind, name)
            file = f"{catalog.KINDS[kind][0].replace('.', '/')}/{name}.py"
            title, _, rest = method.summary.rstrip(".").partition(": ")
            what = rest or title
            lines.append(
                f"| {kind.removesuffix('s')} | [{name}]({file}) | {what} | {paper(method)} |"
            )
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
