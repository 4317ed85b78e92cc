"""Sweep files: any bytes, any mutation of a valid one, and what lies in a file system under such a
name.
"""

import os
import string
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
from fences import MARK, escapes, fenced
from fuzzing import command, process, tries
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import ANY, NAMES, NASTY, changed, places

from sweep.execution.preflight import check
from sweep.spec import sweep_file
from trials import catalog
from trials.spec import SpecError

pytestmark = pytest.mark.fuzz

VALID = tiny_sweep.toml(tiny_sweep.table(trusted=[0.2, 0.5], seeds=[0, 1]))


def toml(value: Any) -> str:
    """TOML of any value, also of such as no TOML file can hold."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return (
            '"'
            + "".join(
                c if c in string.printable and c not in '"\\\n\r\t\v\f' else f"\\U{ord(c):08x}"
                for c in value
            )
            + '"'
        )
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


def document(data: dict[str, Any]) -> str:
    return "\n".join(f"{toml(k)} = {toml(v)}" for k, v in data.items())


def planned(text: str | bytes, kind: str = "spec, any text") -> str:
    with fenced() as folder:
        file = folder / "x.toml"
        file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        verdict, _, _ = command(kind, "plan", file)
        assert [p.name for p in folder.iterdir()] == ["x.toml"]
    return verdict


WHOLE = tiny_sweep.table(
    name="x",
    trusted=[0.2],
    seeds=[0],
    rule="last",
    game="tuning",
    tune_on="each",
    confirm=True,
    judge=True,
    detectors=[
        {"name": "neural_cleanse", "profile": "small", "limit": 1, "repairs": ["weight_decay"]}
    ],
    defenses=[
        {
            "name": "weight_decay",
            "profile": "small",
            "strategy": "search",
            "sampler": "tpe",
            "trials": 3,
            "objectives": ["asr"],
            "fixed": {"steps": 6},
        },
        {"name": "none", "profile": "small"},
    ],
    victim={**tiny_sweep.VICTIM, "seeds": [0], "targets": [1], "reserve": 0.1, "strategy": "grid"},
)
PLACES = [p for p in places(WHOLE) if p]


@tries(150)
@given(st.binary(max_size=300) | st.text(max_size=300))
@example(b"")
@example(b"\xff\xfe")
@example("a = " + "9" * 5000)
@example("trusted = 0x" + "f" * 6000)
@example("a = " + "[" * 100_000)
@example("a = " + "{a=" * 50_000)
@example(".".join("a" * 40_000) + " = 1")
@example("[" + ".".join("a" * 40_000) + "]")
@example("seeds = [" + "1, " * 10**6 + "]")
@example('name = "' + "x" * 10**6 + '"')
@example("name = 1\nname = 2")
@example("a = 9999-99-99")
def test_any_text_is_a_sweep_or_one_line(text: bytes | str) -> None:
    planned(text)


@tries(150)
@given(
    st.integers(0, len(VALID) - 1),
    st.integers(0, 20),
    st.sampled_from([*"[]{}=.,\"'#\n\0\x1b0e-", VALID, "é", "0x", "nan", "inf"]),
)
def test_a_valid_sweep_with_a_slip_of_the_pen_is_a_sweep_or_one_line(
    at: int, cut: int, put: str
) -> None:
    planned(f"{VALID[:at]}{put}{VALID[at + cut :]}", "spec, characters mutated")


@tries(300)
@given(st.sampled_from(PLACES), ANY)
@example(("victim", "model"), "~nobody-of-that-name/x")
@example(("trusted",), 10**400)
@example(("compute", "cpus"), 10**400)
@example(("victim", "seeds"), list(range(20_000)))
@example(("seeds",), list(range(100_000)))
@example(("trusted",), [i / 20_000 for i in range(1, 20_000)])
@example(("self_poisoning",), [{}] * 2000)
@example(("defenses",), [{"name": "none"}] * 2000)
@example(
    ("victim", "training"),
    {
        "name": "fast",
        "epochs": list(range(1, 400)),
        "batch": list(range(1, 400)),
        "peak": [0.1] * 400,
    },
)
@example(("tuning",), [])
@example(("victim",), [])
@example(("defenses", 0, "fixed"), {"lr": [[[]]]})
@example(("name",), "\x1b]0;owned\x07")
@example(("name",), f"../../{MARK}")
def test_any_value_in_any_place_is_a_sweep_or_one_line(path: tuple[Any, ...], value: Any) -> None:
    planned(document(changed(WHOLE, path, lambda _: value)), "spec, values mutated")


@tries(100)
@given(
    st.sampled_from(
        [
            ("victim", "dataset"),
            ("victim", "model", "name"),
            ("victim", "training", "name"),
            ("victim", "attacks", 0, "name"),
            ("defenses", 0, "name"),
            ("detectors", 0, "name"),
            ("rule",),
            ("game",),
        ]
    ),
    st.sampled_from([*NAMES, *escapes()]) | st.text(max_size=20),
)
def test_no_name_reaches_a_module_that_is_no_method(path: tuple[Any, ...], name: str) -> None:
    text = document(changed(WHOLE, path, lambda _: name))
    assert planned(text, "spec, names of modules") == "refused"


FILES = [
    (kind, key)
    for kind in ("datasets", "recipes", "attacks", "models")
    for name in catalog.names(kind)
    for key in [(name, k) for k, s in catalog.describe(kind, name).settings.items() if s.location]
]
FIELD_OF = {"datasets": "dataset", "recipes": "training", "attacks": "attacks", "models": "model"}


@tries(60)
@given(
    st.sampled_from(FILES),
    st.sampled_from(
        [*NASTY, "/dev/zero", "/dev/stdin", "pipe", "loop", "deep", "huge", ".", "/", "bytes\udcff"]
    ),
)
def test_a_location_that_nobody_can_read_is_one_line(
    place: tuple[str, tuple[str, str]], where: str
) -> None:
    kind, (name, key) = place
    if where == "/" or (where == "." and kind == "datasets"):
        where = "./x.toml"
    with fenced() as folder:
        os.mkfifo("pipe")
        Path("loop").symlink_to("loop")
        with Path("huge").open("wb") as stream:
            stream.truncate(2**42)
        table = {"name": name, key: where}
        value: Any = [table] if kind == "attacks" else table
        victim = {**tiny_sweep.VICTIM, FIELD_OF[kind]: value}
        (folder / "x.toml").write_bytes(document(tiny_sweep.table(victim=victim)).encode())
        command("spec, locations", "plan", "x.toml")


NUMBERS = [
    (kind, name, key)
    for kind in ("datasets", "models", "attacks", "defenses", "recipes", "detectors")
    for name in catalog.names(kind)
    for key, s in catalog.describe(kind, name).settings.items()
    if s.type in (int, float) and name != "clip_vit_b32"
]
EXTREMES = (
    0,
    1,
    -1,
    2,
    7,
    255,
    10**4,
    10**6,
    2**31,
    2**32 + 1,
    2**53,
    2**63 - 1,
    2**63,
    5e-324,
    1e-30,
    0.5,
    1.0,
    1e30,
    1.7e308,
)


@tries(80)
@given(st.sampled_from(NUMBERS), st.sampled_from(EXTREMES))
def test_an_extreme_setting_is_refused_before_anything_runs_or_can_be_checked(
    setting: tuple[str, str, str], value: float
) -> None:
    from fuzzing import bounded, tallied  # noqa: PLC0415

    kind, name, key = setting
    changes: dict[str, Any] = {}
    one = {"name": name, key: value}
    if kind in FIELD_OF and not (kind == "datasets" and name != "digits") and name != "given":
        changes["victim"] = {
            **tiny_sweep.VICTIM,
            FIELD_OF[kind]: [one] if kind == "attacks" else one,
        }
    elif kind in ("defenses", "detectors"):
        changes[kind] = [{"name": name, "profile": "small", "fixed": {key: value}}]
    with fenced() as folder:

        def call() -> str:
            try:
                with bounded():
                    check(
                        sweep_file.parse(tiny_sweep.table(**changes), "x"),
                        tiny_sweep.worker_config(folder / "artifacts"),
                    )
            except SpecError as problem:
                assert "\n" not in str(problem)
                return "refused"
            return "accepted"

        tallied("spec, extreme settings", call)


def special(folder: Path) -> dict[str, Path]:
    """What may lie where a file is expected."""
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "empty").write_bytes(b"")
    (folder / "folder").mkdir()
    with (folder / "huge").open("wb") as stream:
        stream.truncate(2**42)  # 4 TiB that take no room
    found = {p.name: p for p in folder.iterdir()}
    return found | {
        "absent": folder / "absent",
        "long": folder / ("x" * 4000),
        "zeros": Path("/dev/zero"),
        "mem": Path("/proc/self/mem"),
    }


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "FILE"],
        ["run", "FILE", "--local"],
        ["run", "FILE"],
        [
            "defend",
            "--model",
            "empty",
            "--arch",
            "resnet18",
            "--trusted",
            "folder",
            "--out",
            "out",
            "--spec",
            "FILE",
        ],
    ],
    ids=["plan", "run-local", "run", "defend"],
)
def test_what_is_no_file_is_no_sweep(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in special(tmp_path).values():
        assert (
            command("spec, special files", *[str(path) if w == "FILE" else w for w in words])[0]
            == "refused"
        )
    assert not (tmp_path / "runs").exists()


def test_hostile_specs_leave_a_real_process_within_its_limits(tmp_path: Path) -> None:
    texts = {
        "deep": "a = " + "[" * 500_000,
        "dots": ".".join("a" * 400_000) + " = 1",
        "digits": "a = 0x" + "f" * 900_000,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert process("spec, real processes", "plan", name, cwd=tmp_path)[0] == "refused"
    odd = os.fsencode(tmp_path) + b"/\xff\x1b[2J.toml"
    Path(os.fsdecode(odd)).write_text(VALID)
    assert process("spec, real processes", "plan", os.fsdecode(odd), cwd=tmp_path)[0] == "refused"
