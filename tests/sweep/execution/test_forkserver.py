"""What runs in a fork of a process that has loaded libraries: its answer, its errors, what it does
not get.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
from programs import HANGS

import sweep
from results.store import Store
from sweep.execution import forkserver, runner, secrets, worker
from sweep.execution.executor import Engine
from sweep.execution.worker import WorkerConfig, device_for
from trials.spec import SpecError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


def test_a_function_answers_from_a_process_that_has_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv(secrets.STORE, "postgresql://tester:secret@nowhere/x")
    monkeypatch.setenv("POISONSWEEP_TEST_WORD", "heard")
    assert forkserver.ask(os.getpid) != os.getpid()
    assert [
        forkserver.ask(os.getenv, n) for n in ("PGPASSWORD", secrets.STORE, "POISONSWEEP_TEST_WORD")
    ] == [
        None,
        None,
        "heard",
    ]
    assert os.environ["PGPASSWORD"] == "secret"


@pytest.mark.parametrize(
    ("function", "given", "error", "says"),
    [
        (device_for, ("cuda:99",), SpecError, "device is 'cuda:99'"),
        (os.listdir, ("/nowhere",), FileNotFoundError, "/nowhere"),
        (bytearray, (1 << 60,), MemoryError, None),
        (int, ("word",), RuntimeError, "ValueError: invalid literal"),
        (os._exit, (7,), RuntimeError, "exit code 7"),
        (os.kill, (0, signal.SIGKILL), MemoryError, "killed"),
    ],
    ids=["refused", "files", "memory", "bug", "ended", "killed"],
)
def test_an_error_there_is_one_here(
    function: Any, given: tuple[Any, ...], error: type[Exception], says: str | None
) -> None:
    if function is os.kill:
        function, given = _kill_oneself, ()
    with pytest.raises(error, match=says):
        forkserver.ask(function, *given)


def _kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


DYING = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from sweep import cli
from sweep.execution import forkserver
if sys.argv[1] == "eof":
    forkserver.start = lambda *_: (_ for _ in ()).throw(EOFError("a bug"))
forkserver.PRELOADED[:0] = ["dying"]
cli.main(["run", {spec!r}, "--local", "--store", "s.db"])
"""


@pytest.mark.parametrize(
    ("dying", "code", "says"),
    [
        ("import os; os.kill(os.getpid(), 9)", 2, "was killed, for want of memory most likely"),
        ("import os; os._exit(5)", 1, "ended with exit code 5"),
        ("eof", 1, "EOFError: a bug"),
    ],
)
def test_a_process_that_dies_while_it_loads_is_not_taken_for_ctrl_c(
    tmp_path: Path, dying: str, code: int, says: str
) -> None:
    (tmp_path / "dying.py").write_text("" if dying == "eof" else dying)
    (tmp_path / "tiny.toml").write_text(tiny_sweep.toml(tiny_sweep.table()))
    script = DYING.format(folder=str(tmp_path), spec=str(tmp_path / "tiny.toml"))
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, dying],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    if code == 2:
        (line,) = done.stderr.splitlines()
        assert line.startswith("poisonsweep: there is not enough memory for this (")
    assert "stopped." not in done.stderr


def _slow(folder: str) -> None:
    part = Path(folder) / "part"
    try:
        part.touch()
        time.sleep(60)
    finally:
        part.unlink()


def test_ctrl_c_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        while not (tmp_path / "part").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    started = forkserver.start

    def start(*given: Any) -> Any:
        process, pipe = started(*given)
        monkeypatch.setattr(type(pipe), "recv", interrupted)
        return process, pipe

    monkeypatch.setattr(forkserver, "start", start)
    with pytest.raises(KeyboardInterrupt):
        forkserver.ask(_slow, str(tmp_path))
    assert not list(tmp_path.iterdir())


SCRIPT = """
import sys
from sweep import read, run
print("body")
sweep = read("tiny.toml")
run(sweep, store="sqlite:///s.db")
print("torch" in sys.modules)
run(sweep, store="sqlite:///s.db")
print("torch" in sys.modules)
"""


def test_a_script_needs_no_guard_and_its_process_no_torch(tmp_path: Path) -> None:
    compute = {"device": "auto", "workers": 2}
    (tmp_path / "tiny.toml").write_text(tiny_sweep.toml(tiny_sweep.table(compute=compute)))
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=HANGS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["body", *2 * [str(worker._may_have_gpus())]]


def test_what_was_checked_is_checked_again_only_if_something_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, sweep = [], tiny_sweep.sweep(compute={"device": "cpu", "workers": 1})
    check = runner._check_here

    def counted(*given: Any) -> None:
        asked.append(given)
        check(*given)

    monkeypatch.setattr(runner, "_check_here", counted)
    url = f"sqlite:///{tmp_path}/s.db"
    worker_config = runner.worker_config_of(sweep, url)
    with Store.open(url) as store:
        runner.execute(sweep, store, worker_config, use_ray=False)
        assert len(asked) == 1
        assert runner.execute(sweep, store, worker_config, use_ray=False).stored == 9
        assert len(asked) == 1
        (victim,) = store.records("tiny", "training")
        shutil.rmtree(Path(worker_config.artifacts) / victim.trial.id)
        monkeypatch.setattr(runner, "_check_here", _refuse)
        with pytest.raises(SpecError, match="no"):
            runner.execute(sweep, store, worker_config, use_ray=False)
        assert not store.owners()
        monkeypatch.setattr(runner, "_check_here", counted)
        assert runner.execute(sweep, store, worker_config, use_ray=False).done == 1
        assert len(asked) == 2


def test_a_refused_retry_keeps_the_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defenses = [
        {
            "name": "weight_decay",
            "profile": "small",
            "limit": 1,
            "fixed": {"steps": 6, "batch": 16, "lr": 1e9},
        }
    ]
    sweep = tiny_sweep.sweep(compute={"device": "cpu", "workers": 1}, defenses=defenses)
    url = f"sqlite:///{tmp_path}/s.db"
    worker_config = runner.worker_config_of(sweep, url)
    with Store.open(url) as store:
        runner.execute(sweep, store, worker_config, use_ray=False)
        failed = [r for r in store.records("tiny") if r.status == "failed"]
        assert failed
        monkeypatch.setattr(runner, "_check_here", _refuse)
        with pytest.raises(SpecError, match="no"):
            runner.execute(sweep, store, worker_config, use_ray=False, retry_failed=True)
        assert [r for r in store.records("tiny") if r.status == "failed"] == failed


def test_a_driver_on_ray_needs_no_gpu_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(runner, "_check_here", lambda *given: asked.append(given))
    monkeypatch.setattr(runner, "device_for", _refuse)  # as on a node without one
    sweep = tiny_sweep.sweep(compute={"device": "cuda", "gpus": 1})
    runner._check(sweep, WorkerConfig(str(tmp_path)), Engine(address="10.0.0.1:6379"))
    assert len(asked) == 1
    for here in (Engine(), Engine(use_ray=False)):
        with pytest.raises(SpecError, match="no"):
            runner._check(sweep, WorkerConfig(str(tmp_path)), here)


def _refuse(*_: object) -> None:
    raise SpecError("no")


def test_every_name_of_the_package_is_there() -> None:
    assert all(getattr(sweep, name) for name in sweep.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sweep.nothing  # noqa: B018


@pytest.mark.parametrize("shown", worker._DRIVERS)
def test_torch_is_asked_for_gpus_where_a_driver_shows(
    shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == shown)
    assert worker._may_have_gpus()
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert worker._may_have_gpus() == (sys.platform != "linux")


def test_what_is_defined_in_the_main_module_is_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, worker_config = sys.modules["__main__"], WorkerConfig(str(tmp_path))
    with forkserver._without_main([worker_config]):
        assert sys.modules["__main__"] is not main
    monkeypatch.setattr(WorkerConfig, "__module__", "__main__")
    with forkserver._without_main([worker_config]):
        assert sys.modules["__main__"] is main
    assert sys.modules["__main__"] is main


def test_a_worker_config_is_the_same_in_another_process(tmp_path: Path) -> None:
    assert forkserver.ask(_given, WorkerConfig(str(tmp_path), threads=3)) == WorkerConfig(
        str(tmp_path), threads=3
    )


def _given(worker_config: WorkerConfig) -> WorkerConfig:
    return worker_config
