"""One word for each thing: words that were replaced by the field's own are left nowhere.

Each was this project's private name for something that has a standard one. Many are plain English
too, so identifiers are held to the whole list, prose only to what could be nothing but jargon.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("trials", "sweep", "results", "search_spaces", "poisonsweep", "benchmarks", "tests")
FILES = sorted(chain.from_iterable((ROOT / package).rglob("*.py") for package in PACKAGES))
GLOBS = (
    *("*.md", "docs/*.md", "examples/*.toml", "results/report/*.j2"),
    *("Makefile", "mkdocs.yml", "pyproject.toml"),
)
PAGES = sorted(chain.from_iterable(ROOT.glob(pattern) for pattern in GLOBS))

# a part of an identifier, between underscores or capitals: what it is called now
PARTS = {
    "aside": "overlay artifacts",
    "bench": "runtime",
    "elsewhere": "remote_done",
    "inbox": "search_feed",
    "journal": "event_log",
    "judgement": "held-out result",
    "judging": "confirmation",
    "lab": "context",
    "leftovers": "pending",
    "news": "search_feed",
    "plant": "self_poisoning",
    "planting": "self_poisoning",
    "plantings": "self_poisonings",
    "plants": "self_poisonings",
    "price": "cost estimate",
    "referee": "evaluator context",
    "roof": "package",
    "room": "package",
    "rooms": "packages",
    "scene": "benchmark",
    "setups": "attack configs",
    "sheet": "report table",
    "sheets": "report tables",
    "spool": "outbox",
    "spooled": "pending",
    "spools": "outbox",
    "star": "one_at_a_time",
    "unmet": "unschedulable",
    "walk": "strategy",
    "walked": "strategy",
    "walks": "strategies",
    "watcher": "progress reporter",
    "wave": "stage",
    "waves": "stages",
}
# a whole identifier, as the word is too common to forbid as a part of one
WHOLE = {
    "Choice": "MethodConfig",
    "setup": "game",
    "Defender": "DefenderContext",
    "Entry": "Cell",
    "Far": "RemoteBlobStore",
    "Folder": "BlobStore",
    "Journal": "Checkpointer",
    "Near": "LocalBlobStore",
    "Patience": "RetryPolicy",
    "Place": "WorkerConfig",
    "Remaining": "ResidualAsr",
    "Source": "Scheduler",
    "View": "DefenderView",
    "Watch": "ProgressReporter",
    "Writes": "Statements",
    "_source": "scheduler",
    "choice": "config, or the method of a Winner",
    "late": "lease_lost",
    "more": "extra",
    "placed": "with_resources",
}
# modules that have another name now
MODULES = {
    *("address", "after", "answers", "association", "attacker", "background", "database", "ended"),
    *("defender", "folders", "idle", "kinds", "needs", "patience", "reads", "remaining", "serving"),
    *("setups", "strict", "variants", "words", "writes"),
}
# an identifier that may hold such a word in a file, or anywhere, and why
ALLOWED = {
    ("", "walk"): "ast.walk, os.walk",
    ("results/store/engine.py", "walk_revisions"): "Alembic's",
    ("sweep/execution/ray_tune/warm_runner.py", "setup"): "Tune's",
    ("benchmarks/engine.py", "setup"): "Tune's",
    ("tests/chaos/test_worker_killed.py", "choice"): "random's",
    ("tests/results/synthetic.py", "choice"): "random's",
    ("tests/results/selection/test_importance.py", "choice"): "random's",
    ("tests/sweep/commands/test_defend.py", "choice"): "what defend chose: choice.json",
    ("sweep/cli", "choice"): "what defend chose: choice.json",
    ("sweep/commands/defend.py", "choice"): "what defend chose: choice.json",
    ("sweep/commands/repair.py", "choice"): "what defend chose: choice.json",
    ("sweep/console/grid.py", "room"): "of a line, in columns",
    ("sweep/execution/sockets.py", "room"): "of a path, in bytes",
    ("trials/storage", "room"): "of a disk",
    ("trials/recipes/_loop.py", "room"): "on the GPU",
    ("tests/forked_reader.py", "room"): "of memory",
    ("tests/fuzz", "room"): "of memory",
    ("tests/models/test_checkpoints.py", "room"): "of memory",
    ("tests/results/store/test_full_disk.py", "room"): "on a disk",
    ("results/figures", "star"): "a symbol",
    ("results/store/read_only.py", "_JOURNAL"): "SQLite's rollback journal",
    ("tests/results/store/test_read_only.py", "journal"): "SQLite's rollback journal",
    ("trials/attacks/sinusoid.py", "waves"): "the trigger is a wave",
    ("tests/attacks", "waves"): "the trigger is a wave",
    ("trials/attacks/a_blend.py", "waves"): "the picture is made of waves",
    ("trials/attacks/_pictures.py", "waves"): "the picture is made of waves",
    ("trials/datasets/_cifar10_layouts.py", "Source"): "where a data set comes from",
    ("tests/defenses/test_shared.py", "star"): "Python's *, in a signature",
    ("tests/detectors/test_detectors.py", "star"): "Python's *, in a signature",
    ("tests/sweep/commands/test_outputs.py", "aside"): "English: older results are set aside",
    ("tests/results/selection/test_copies.py", "aside"): "English: copies are left aside",
    ("tests/sweep/execution/test_sharing.py", "elsewhere"): "English",
    ("tests/games", "elsewhere"): "English",
    ("tests/fuzz/test_checkpoint_bombs.py", "elsewhere"): "English",
}
# comments, docstrings and pages: what can be nothing but the old jargon
JARGON = {
    r"\bthe bench\b": "the runtime",
    r"\bwalk(s|ed|ing)?\b(?! (through|over|along|away))": "strategy",
    r"\bstars?\b": "one_at_a_time",
    r"(?<![./])\bplanting\b": "self-poisoning",
    r"\b(a|the|our|real|same|executor's) source\b(?! of\b)": "scheduler",
    r"\bjudg(e?ments?|ing)\b": "held-out result, confirmation",
    r"\b(a|an|the|no|and|same|this|each|every|of) plants?\b(?! a\b)": "self-poisoning",
    r"\b(in|is|per|and) (a |each |every |one )?cell\b|\bmany cells\b": "task",
    r"\b(a|trials a|victims a|same|per) setups?\b": "game",
    r"\bwalkers?\b": "chooser",
    r"\bwaves?\b": "stage",
    r"\bspool(s|ed|ing)?\b": "outbox",
    r"\bleftovers?\b": "pending records",
    r"\[\[?planting\]": "[self_poisoning]",
    r"\b(every|each|this|that|two|of the) rooms?\b|\brooms\b": "package",
    r"\bthe roof\b": "the package sweep",
    r"\bscenes?\b": "benchmark",
    r"\bthe lab\b": "context",
    r"\breferees?\b": "evaluator context",
    r"\bsheets?\b": "report table",
    r"\binbox\b": "search_feed",
    r"\bno news\b|\bthe news\b": "records of other drivers",
    r"\bjournal(s)?\b": "event log",
}
# a file whose prose may hold a word, and why
SPARED = {
    ("trials/attacks/a_blend.py", "waves"): "the picture is made of waves",
    ("trials/attacks/_pictures.py", "waves"): "the picture is made of waves",
    ("tests/attacks/test_a_blend.py", "waves"): "the picture is made of waves",
    ("README.md", "waves"): "the trigger is a wave",
    ("docs/index.md", "journal"): "a field of BibTeX",
    ("trials/catalog.py", "the source"): "of a method: a paper",
    ("docs/cluster.md", "rooms"): "of nodes",
    ("trials/attacks/sinusoid.py", "wave"): "the trigger is one",
    ("trials/attacks/sinusoid.py", "waves"): "the trigger is one",
    ("tests/attacks/test_sinusoid.py", "waves"): "the trigger is one",
    ("SECURITY.md", "journal"): "SQLite's",
    ("results/store/read_only.py", "journal"): "SQLite's",
    ("tests/results/store/test_read_only.py", "journal"): "SQLite's",
    ("README.md", "journal"): "of the citation",
    ("tests/test_words.py", ""): "this list",
    ("tests/sweep/spec/test_old_words.py", ""): "tests the old words",
    ("sweep/spec/old_words.py", ""): "knows the old words",
    ("CHANGELOG.md", ""): "tells what was renamed",
}


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names, attributes, arguments, and what functions, classes and imports are called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.value.lineno, node.arg
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def parts(identifier: str) -> list[str]:
    """'_WAVE_OF' and 'WaveOf' alike: wave, of."""
    found = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)
    return [part.lower() for part in found]


def allowed(file: Path, word: str) -> bool:
    return any(word == of and name(file).startswith(where) for where, of in ALLOWED)


def old_names(file: Path) -> Iterator[str]:
    if file.stem in MODULES:
        yield f"the module {file.stem} has another name now"
    old = PARTS.keys() & set(parts(file.stem))
    if old and not any(allowed(file, word) for word in old):
        yield f"the module's name holds {', '.join(old)}"
    for line, identifier in identifiers(ast.parse(file.read_text(encoding="utf-8"))):
        if identifier in WHOLE and not allowed(file, identifier):
            yield f"line {line}: {identifier} is {WHOLE[identifier]} now"
        for part in PARTS.keys() & set(parts(identifier)):
            if not allowed(file, identifier) and not allowed(file, part):
                yield f"line {line}: in {identifier}, {part} is {PARTS[part]} now"


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and messages of a module; the lines of any other file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def old_prose(file: Path) -> Iterator[str]:
    spared = [word for path, word in SPARED if path == name(file)]
    for line, text in prose(file):
        for pattern, now in JARGON.items():
            for match in re.finditer(pattern, text, re.IGNORECASE):
                if "" not in spared and match[0].lower() not in spared:
                    yield f"line {line}: {match[0]!r} is {now} now"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_names_in_code_are_the_standard_ones(file: Path) -> None:
    found = [*old_names(file), *old_prose(file)]
    assert not found, f"{name(file)}: {'; '.join(found)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_use_the_standard_words(page: Path) -> None:
    found = list(old_prose(page))
    assert not found, f"{name(page)}: {'; '.join(found)}"


@pytest.mark.parametrize("identifier", ["_WAVE_OF", "WaveOf", "wave", "of_wave"])
def test_a_word_is_found_in_every_spelling(identifier: str) -> None:
    assert "wave" in parts(identifier)
