"""README is short and complete, links lead somewhere, doctests hold, the project's files agree."""

import doctest
import importlib
import os
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from blocks import PAGES, ROOT
from packaging.specifiers import SpecifierSet

from trials import catalog

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("trials", "search_spaces", "results", "sweep", "poisonsweep")
DOCTESTS = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]
LINKED = [*PAGES, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_readme_lists_every_method_as_the_catalog_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    listing = importlib.import_module("list_methods")
    assert listing.block() in README, "run python docs/list_methods.py"
    for kind in catalog.KINDS:
        if not kind.endswith("spaces"):
            rows = re.findall(rf"^\| {kind.removesuffix('s')} \| (\[.*)$", README, re.M)
            links = chain.from_iterable(re.findall(r"\[(\w+)\]\(trials/", row) for row in rows)
            assert list(links) == catalog.names(kind)


def test_the_page_says_which_defenses_each_kind_of_model_can_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    listing = importlib.import_module("list_capabilities")
    page = (ROOT / "docs" / "bring-your-model.md").read_text(encoding="utf-8")
    assert listing.block() in page, "run python docs/list_capabilities.py"


def test_the_readme_maps_every_folder_and_package() -> None:
    names = {f"`{p}/`" for p in PACKAGES}
    for package in ("results", "sweep"):
        inside = [f for f in (ROOT / package).iterdir() if (f / "__init__.py").is_file()]
        names |= {f"`{f.name}`" for f in inside}
    assert sorted(n for n in names if n not in README) == []


@pytest.mark.parametrize("page", LINKED, ids=lambda p: p.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [x for x in links if "://" not in x and not (page.parent / x).exists()] == []


@pytest.mark.parametrize("name", DOCTESTS)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 0
    assert done.failed == 0


def test_there_are_examples_in_docstrings() -> None:
    assert len(DOCTESTS) >= 2


def test_the_citation_has_the_projects_version_and_licence() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == PROJECT["project"]["version"]
    assert cited["license"] in PROJECT["project"]["license"]
    assert {"cff-version", "message", "title", "authors", "preferred-citation"} <= cited.keys()


def test_the_workflow_runs_the_checks_on_the_pythons_that_the_project_takes() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))[
        "jobs"
    ]
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    assert [
        p for p in pythons if f"{p}.9" not in SpecifierSet(PROJECT["project"]["requires-python"])
    ] == []
    assert jobs["newest-ray"]["continue-on-error"] is True
    assert any(
        "--resolution lowest-direct" in step.get("run", "") for step in jobs["lowest"]["steps"]
    )
    marks = {mark.split(":")[0] for mark in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    used = set(re.findall(r"not (\w+)", str(jobs["lowest"])))
    assert used and used <= marks


def test_the_hooks_before_a_commit_are_tools_that_make_install_has() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    tools = {
        hook["entry"].split()[0].removeprefix(".venv/bin/")
        for repo in config["repos"]
        for hook in repo["hooks"]
    }
    assert tools == {"ruff", "mypy"}
    wanted = " ".join(PROJECT["project"]["optional-dependencies"]["test"])
    assert [t for t in tools if t not in wanted] == []


@pytest.mark.examples
@pytest.mark.slow
def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="no mkdocs: `make docs` installs it")
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert 'id="sweep.api.run"' in built
    assert "Run what the store does not have yet" in built
