"""Lets mkdocs build the pages as they are: links that leave ``docs/`` lead to copies in the site.

A link to a file that does not exist stays a broken link, which fails a strict build.
"""

import re
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
    for name in sorted(wanted):
        if (ROOT / name).is_file():
            files.append(File.generated(config, f"files/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, /, *, page: Any, **_: Any) -> str:
    """Point the links of ``docs/`` to the copies, and the copies' links to ``docs/``."""
    if page.file.src_uri.startswith("files/"):
        return markdown.replace("](docs/", "](../")
    return OUTSIDE.sub(r"](files/\1", markdown)
