"""What is shipped: a whole wheel, pinned versions, examples that are sweeps; no machine named."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from sweep.spec import sweep_file

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("poisonsweep", "trials", "search_spaces", "results", "sweep")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [
    *PROJECT["dependencies"],
    *(d for extra in PROJECT["optional-dependencies"].values() for d in extra),
]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
# A path from the root of somebody's machine; /usr, /etc, /proc and /dev are the same on all of
# them.
MACHINE = re.compile(r"(?<![\w.~$}/-])/(?:home|root|work|workspace|tmp|mnt|Users|scratch)(?:/|\b)")


def tracked() -> list[Path]:
    words = ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [
        f for f in files if f.is_file() and f.suffix not in {".png", ".safetensors", ".parquet"}
    ]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {
        canonicalize_name(n): v
        for n, _, v in (x.partition("==") for x in lines if x and not x.startswith("#"))
    }


def closure(wanted: list[str]) -> dict[str, Requirement]:
    """Everything installed here that ``wanted`` needs, by canonical name."""
    todo, found, seen = (
        [Requirement(w) for w in wanted],
        dict[str, Requirement](),
        set[tuple[str, frozenset[str]]](),
    )
    while todo:
        need = todo.pop()
        name, extras = canonicalize_name(need.name), frozenset(need.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            extra = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed here
        found[name] = need
        for text in extra:
            other = Requirement(text)
            if other.marker is None or any(
                other.marker.evaluate({"extra": e}) for e in {"", *extras}
            ):
                todo.append(other)
    return found


def test_constraints_pin_exact_versions_and_nothing_else() -> None:
    lines = [
        x
        for x in (ROOT / "constraints.txt").read_text().splitlines()
        if x and not x.startswith("#")
    ]
    assert [x for x in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", x)] == []
    assert lines == sorted(lines, key=str.lower)
    assert len(pins()) == len(lines)


def test_constraints_cover_every_dependency_and_what_it_needs() -> None:
    assert [d for d in DIRECT if canonicalize_name(Requirement(d).name) not in pins()] == []
    assert sorted(closure(DIRECT).keys() - pins().keys()) == []


def test_constraints_satisfy_the_ranges_of_the_project() -> None:
    pinned = [(need, pins()[canonicalize_name(need.name)]) for need in map(Requirement, DIRECT)]
    assert [
        f"{need}, not {version}" for need, version in pinned if version not in need.specifier
    ] == []


def test_no_file_names_somebodys_machine() -> None:
    here, found = Path(__file__).resolve(), []
    for file in tracked():
        if file == here:
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        found += [f"{file.relative_to(ROOT)}: {m.group()}" for m in MACHINE.finditer(text)]
    assert found == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda f: f.stem)
def test_every_example_is_a_sweep(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("cifar10", *re.findall(r"\$POISONSWEEP_DATA/([\w./-]+)", file.read_text())):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("POISONSWEEP_DATA", str(tmp_path))
    data = tomllib.loads(file.read_text())
    if "victim" in data:  # one without is for `defend`, which brings its own
        assert sweep_file.read(file).name == data.get("name", file.stem)


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_python_3_11_0_is_refused_as_its_fork_server_listens_to_everybody(tmp_path: Path) -> None:
    assert "3.11.0" not in SpecifierSet(PROJECT["requires-python"])
    assert "3.11.1" in SpecifierSet(PROJECT["requires-python"])
    old = tmp_path / "python"  # one that says it is older
    old.write_text(
        f"#!{sys.executable}\nimport sys\nif '--version' in sys.argv: sys.exit(print('Python "
        "3.11.0'))\n"
        "sys.version_info = (3, 11, 0, 'final', 0)\nexec(sys.argv[2])\n"
    )
    old.chmod(0o755)
    words = ["make", "install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"poisonsweep needs Python 3.11.1 or newer, and '{old}' is Python 3.11.0." in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.slow
def test_the_wheel_holds_the_code_and_what_it_reads(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for file in tracked():
        copy = source / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
    ]
    done = subprocess.run([*build, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (facts,) = [archive.read(n).decode() for n in inside if n.endswith("/METADATA")]
        (scripts,) = [archive.read(n).decode() for n in inside if n.endswith("/entry_points.txt")]
    kinds = {".py", ".css", ".js", ".j2", ".csv", ".mako", ".typed"}
    expected = {
        str(f.relative_to(ROOT)) for f in tracked() if f.relative_to(ROOT).parts[0] in PACKAGES
    }
    expected = {n for n in expected if Path(n).suffix in kinds or n.endswith("py.typed")}
    assert sorted(expected - inside) == []
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside
    assert {n.split("/")[0] for n in inside} - set(PACKAGES) == {
        f"poisonsweep-{PROJECT['version']}.dist-info"
    }
    assert all(
        any(n.endswith(f"licenses/{name}") for n in inside) for name in PROJECT["license-files"]
    )
    assert "sweep.cli:main" in scripts
    assert "License-Expression: Apache-2.0 AND MIT" in facts
