"""What README and docs show exists: commands, options, TOML keys, files; the rest says why."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import typer
from blocks import ALL, OTHERS, PAGES, ROOT, RUNNABLE, Block, commands, inline

from sweep.cli import app
from sweep.spec import sweep_file
from sweep.spec.compute import compute_of
from trials import catalog

NOT_RUN = 29  # blocks that carry a reason; one more is one more that may rot
CLI = typer.main.get_command(app)
COMMANDS = sorted(CLI.commands)  # type: ignore[attr-defined]
FOREIGN = {"python3", ".venv/bin/pip", "sbatch", "kubectl", "kill", "cat", "export", "ray"}
FOLDERS = (
    "trials",
    "search_spaces",
    "results",
    "sweep",
    "poisonsweep",
    "tests",
    "benchmarks",
    "examples",
    "docs",
)
PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./-]+")
SHELL = [b for b in ALL if b.lang in {"bash", "console"}]
PYTHON = [b for b in ALL if b.lang == "python"]
TOML = [b for b in ALL if b.lang == "toml"]
MADE = {"benchmarks/results/"}


def parsed(words: list[str]) -> None:
    """Let the real parser read a command of ours. Raises what a user would be told."""
    if words[-1] == "-h":
        assert words[1] in COMMANDS, words[1]
    elif len(words) > 1 and not words[1].startswith("-"):
        assert words[1] in COMMANDS, words[1]
        CLI.commands[words[1]].make_context(words[1], words[2:])  # type: ignore[attr-defined]
    else:
        known = {option for parameter in CLI.params for option in parameter.opts}
        assert {w for w in words[1:] if w.startswith("-")} <= known | {"-h"}


@pytest.mark.parametrize("block", ALL, ids=str)
def test_a_block_names_its_language(block: Block) -> None:
    assert block.lang in RUNNABLE + OTHERS


def test_blocks_that_are_not_run_say_why_and_are_few() -> None:
    told = [f"{b}: {b.reason}" for b in ALL if b.reason]
    assert len(told) == NOT_RUN, "\n".join(told)
    assert [t for t in told if len(t.split(": ", 1)[1]) < 8] == []


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_exists_with_its_options(block: Block) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert commands(block)
    for given in commands(block):
        words = given[given.index("--") + 1 :] if given[0] == "ray" and "--" in given else given
        words = [w for w in words if w != "&"]
        name = words[0]
        if name == "poisonsweep" or words[:3] == ["python", "-m", "sweep.cli"]:
            parsed(["poisonsweep", *words[1 if name == "poisonsweep" else 3 :]])
        elif name == "make":
            assert set(words[1:]) <= {*targets, "test-all"}
        elif words[1:2] == ["-m"] and words[2].startswith("benchmarks."):
            source = (ROOT / f"{words[2].replace('.', '/')}.py").read_text()
            assert [w for w in words[3:] if w.startswith("--") and f'"{w}"' not in source] == []
        elif name == ".venv/bin/python":
            assert (ROOT / words[1]).is_file()
        else:
            assert name in FOREIGN, f"{block}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_in_a_sentence_exists(page: Path) -> None:
    for code in inline(page):
        words = code.split()
        if words[0] == "poisonsweep" and "..." not in words:
            bare = len(words) == 2 and not words[1].startswith("-")  # the command by its name alone
            parsed([*words, "-h"] if bare else words)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_page_shows_every_command(command: str) -> None:
    shown = list(inline(ROOT / "docs" / "commands.md"))
    assert [code for code in shown if code.startswith(f"poisonsweep {command}")] != []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = " ".join([*inline(page), *(b.text for b in ALL if b.page == page)])
    named = {name.rstrip(".") for name in PATH.findall(text)}
    absent = [
        n for n in named if "HOST" not in n and not (ROOT / n).exists() and f"{n}/" not in MADE
    ]
    assert [n for n in absent if not re.search(r"/(test_)?x\.py$", n)] == []


@pytest.mark.parametrize("block", TOML, ids=str)
def test_every_toml_block_is_read_by_the_spec_reader(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("images/a", "images/b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    table = tomllib.loads(block.text)
    if block.file == "broken.toml":
        with pytest.raises(ValueError, match="unknown attack"):
            sweep_file.parse(table, "page", tmp_path)
    elif "white_dot" in block.text:  # test_examples_run.py runs it, with the methods that it needs
        assert table == tomllib.loads((ROOT / "docs" / "methods" / "sweep.toml").read_text())
    elif set(table) == {"compute"}:
        assert compute_of(table["compute"]).time_limit == table["compute"]["time_limit"]
    elif set(table) == {"project"}:  # a package's methods
        groups = table["project"]["entry-points"]
        assert [g for g in groups if g.removeprefix("poisonsweep.") not in catalog.KINDS] == []
    elif "victim" in table:
        found = sweep_file.parse(table, "page", tmp_path)
        assert found.defenses or found.filters or found.game == "targeted"
    else:  # one for `defend`, which brings the victim and knows flip
        table.pop("flip", None)
        victim = {"dataset": "digits", "model": "small_cnn", "training": "fast"}
        assert sweep_file.parse({**table, "victim": victim}, "page", tmp_path).defenses


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_every_module_and_name_that_python_imports_exists(block: Block) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            assert all(importlib.util.find_spec(alias.name) for alias in node.names)
