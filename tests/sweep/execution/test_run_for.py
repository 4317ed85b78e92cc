"""``run --for``: a run ends when its time is over as it would by a signal, and goes on later."""

import signal
import time
from pathlib import Path

import pytest
import tiny_sweep
from commands_run import Capture, called, refused
from programs import Program
from test_stops import HOW, checkpoints, environment, training, words_of, working
from waiting import SOON, eventually

from results.store import Store
from sweep.cli.options import duration
from sweep.execution import stops
from trials.spec import SpecError


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_the_end_of_the_time_ends_a_run_as_a_signal_does(tmp_path: Path, how: str) -> None:
    """The clock's signal is sent here, when the trainings are under way on any machine."""
    words = [*words_of(tmp_path, how), "--for", "100m"]
    driver = Program(words, tmp_path, environment())
    trainings = 1 if how == "inline" else 2
    training(tmp_path, trainings, lambda: driver.poll() is not None)
    driver.send_signal(signal.SIGALRM)
    _, said = driver.communicate()
    assert driver.returncode == 124, said
    last = said.splitlines()[-1]
    assert last == (
        f"poisonsweep: stopped after the 6000 s of --for, with {trainings} of {trainings} trials "
        "left. Everything finished is stored; the same command goes on from there."
    )
    assert len(checkpoints(tmp_path)) == trainings
    with Store.open(f"sqlite:///{tmp_path}/s.db", create=False) as store:
        assert not store.owners() and not store.records()
    assert eventually(lambda: not working(tmp_path), SOON)


def test_the_clock_stops_what_runs() -> None:
    with stops.listening():
        with pytest.raises(KeyboardInterrupt), stops.after(0.2):
            time.sleep(60)
        assert stops.timed_out()
    with stops.listening():
        with stops.after(0):
            assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
        with stops.after(60):
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0 and not stops.timed_out()


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, capsys: Capture) -> None:
    file, store = tmp_path / "tiny.toml", f"sqlite:///{tmp_path}/s.db"
    compute = {"device": "cpu", "workers": 1}
    file.write_text(tiny_sweep.toml(tiny_sweep.table(game="training", compute=compute)))
    words = ("run", file, "--local", "--store", store)
    assert called(*words, "--for", "0.001") == 124
    assert "stopped after the 0.001 s of --for, with 1 of 1 trials left." in capsys.readouterr().err
    assert called(*words, "--for", "1.5h") == 0
    assert "ran 1 trials" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "seconds"), [("540", 540), ("540s", 540), ("9m", 540), ("1.5h", 5400), (None, 0)]
)
def test_a_time_is_written_in_seconds_minutes_or_hours(text: str | None, seconds: float) -> None:
    assert duration("--for", text) == seconds


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "1e9", "m", "9 min", "1d", "²", "", " "])
def test_what_is_no_time_is_refused_before_anything_runs(
    text: str, tmp_path: Path, capsys: Capture
) -> None:
    with pytest.raises(SpecError, match="540, 9m, 1.5h"):
        duration("--for", text)
    line = refused(capsys, "run", tmp_path / "none.toml", "--for", text)
    assert repr(text) in line
