"""Lets mkdocs build the pages as they are: links that leave ``docs/`` lead to copies in the site.

A link to a file that does not exist stays a broken link, which fails a strict build. The notebook
becomes a page too.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")
PAGES = ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")


def on_files(files: Files, /, *, config: Any) -> Files:
    """Add the files outside ``docs/`` that its pages link to."""
    wanted = set(PAGES)
    for page in Path(config.docs_dir).glob("*.md"):
        wanted |= set(OUTSIDE.findall(page.read_text(encoding="utf-8")))
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    files.append(File.generated(config, "notebook.md", content=page_of(notebook)))
    for name in sorted(wanted):
        if (ROOT / name).is_file():
            files.append(File.generated(config, f"files/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, /, *, page: Any, **_: Any) -> str:
    """Point the links of ``docs/`` to the copies, and the copies' links to ``docs/``."""
    if page.file.src_uri.startswith("files/"):
        return markdown.replace("](docs/", "](../")
    return OUTSIDE.sub(r"](files/\1", markdown)


def page_of(notebook: Mapping[str, Any]) -> str:
    """A notebook as Markdown: its cells with what they gave, a frame and an answer as HTML."""
    parts = ["".join(notebook["cells"][0]["source"])]
    parts.append("This page is [a notebook](notebook.ipynb), as it was executed.")
    for cell in notebook["cells"][1:]:
        source = "".join(cell["source"])
        parts += [source] if cell["cell_type"] == "markdown" else [f"```python\n{source}\n```"]
        for output in cell.get("outputs", []):
            parts += _shown(output)
    return "\n\n".join(parts) + "\n"


def _shown(output: Mapping[str, Any]) -> Iterator[str]:
    """What a cell gave."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "text/html" in data:
        text = "".join(data["text/html"])
        text = re.sub(r"\n[ \n]*", _one_line(text), text)
        yield f'<div class="output">{text}</div>'
    elif text := "".join(data["text/plain"]).rstrip():
        yield f"```text\n{text}\n```"


def _one_line(text: str) -> str:
    """What stands for a line's end: Markdown would take an indented line for code."""
    return "&#10;" if "<pre>" in text else " "
