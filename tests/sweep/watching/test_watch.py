"""The live page: what drivers tell, who may read it, and that a browser renews it."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import tiny_sweep
from programs import HANGS
from starlette.testclient import TestClient
from waiting import eventually

from results.store import Store
from sweep.execution.now import ENDS_WITH, Now
from sweep.execution.progress import Progress
from sweep.watching.heard import Heard, Listener
from sweep.watching.pages import Pages, Watched
from sweep.watching.server import SHORTEST, app_of, serve
from trials.reporting import TrialProgress
from trials.spec import Point, Record, SpecError

TOKEN = "a token of twenty-odd signs"
SWEEP = "tiny"
DRAWN = "What each defense can reach"


def trial_record(asr: float) -> Record:
    trial = tiny_sweep.first(tiny_sweep.sweep(), "tuning")
    curve = (Point(0, 0.95, 1.0), Point(2, 0.94, asr))
    metrics = {"n_triggered": 90.0, "n_clean": 100.0, "cda0": 0.95, "asr0": 1.0}
    return Record(trial=trial, status="done", metrics=metrics, curve=curve)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A sweep of which nothing has run."""
    url = f"sqlite:///{tmp_path}/s.db"
    with Store.open(url) as store:
        store.add_sweep(SWEEP, {})
    return Watched(url, "", "worst_kind_within_delta", tmp_path / "artifacts")


@pytest.fixture
def running(watched: Watched) -> Iterator[Progress]:
    """A driver of this process with one trial in its third epoch of four, which it has told."""
    trial = tiny_sweep.first(tiny_sweep.sweep(), "training")
    progress = Progress(planned=3, stored=1, stage=["victims"], running={trial.id: trial})
    progress.loops[trial.id] = TrialProgress(75, 100, 0.5, "", 0.75)
    with Now(watched.folder, SWEEP, None) as now:
        now("progress", trial, progress, None)
        assert eventually(lambda: bool(heard(watched.folder, SWEEP)))
        yield progress


def heard(folder: Path, sweep: str) -> list[Heard]:
    """At a first look."""
    return list(Listener().heard(folder, sweep))


def client_of(watched: Watched, token: str = "", local: bool = True) -> TestClient:
    host = "http://127.0.0.1" if local else "http://box.example"
    return TestClient(app_of(Pages(watched), token, local), base_url=host, follow_redirects=False)


def test_what_a_driver_tells_is_heard_until_it_ends(watched: Watched, running: Progress) -> None:
    (one,) = heard(watched.folder, SWEEP)
    assert one.progress.running == running.running and one.progress.loops == running.loops
    assert one.progress.stage == ["victims"] and one.progress.planned == 3
    assert one.silent < 30 and list(one.ran) == list(running.running)
    assert heard(watched.folder, "another") == []


def test_nothing_is_left_of_a_driver_that_has_ended(watched: Watched, running: Progress) -> None:
    (file,) = (watched.folder / "events").glob(f"*{ENDS_WITH}")
    with Now(watched.folder, SWEEP, None):
        pass
    assert not file.exists()


def test_a_driver_that_was_killed_is_not_heard(watched: Watched, running: Progress) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (file,) = (watched.folder / "events").glob(f"*{ENDS_WITH}")
    told = {**json.loads(file.read_text()), "pid": gone.pid}
    (watched.folder / "events" / f"killed{ENDS_WITH}").write_text(json.dumps(told))
    (watched.folder / "events" / f"odd{ENDS_WITH}").write_text('{"sweep": "tiny"}')
    assert len(heard(watched.folder, SWEEP)) == 1


def test_a_driver_of_another_machine_is_heard_for_ten_minutes(
    watched: Watched, running: Progress
) -> None:
    (file,) = (watched.folder / "events").glob(f"*{ENDS_WITH}")
    told = json.loads(file.read_text())
    for name, ago in (("near", 60), ("long", 700)):
        far = {**told, "host": f"{name}.example", "time": time.time() - ago}
        (watched.folder / "events" / f"{name}{ENDS_WITH}").write_text(json.dumps(far))
    huge = {**told, "pid": 2**40}  # no process has it
    (watched.folder / "events" / f"huge{ENDS_WITH}").write_text(json.dumps(huge))
    drivers = " ".join(one.driver for one in heard(watched.folder, SWEEP))
    assert "near.example" in drivers and "long.example" not in drivers and str(2**40) not in drivers


@pytest.mark.parametrize("off", [-7200, 7200])
def test_a_driver_whose_clock_is_off_is_heard_once_it_tells_again(
    watched: Watched, running: Progress, off: float
) -> None:
    (file,) = (watched.folder / "events").glob(f"*{ENDS_WITH}")
    told, listener = json.loads(file.read_text()), Listener()
    (trial,) = running.running
    far = watched.folder / "events" / f"far{ENDS_WITH}"

    def told_of() -> list[Heard]:
        found = listener.heard(watched.folder, SWEEP)
        return [one for one in found if one.driver.startswith("far.example")]

    begun = {**told["running"][0], "began": told["time"] + off}
    for later in (0, 2):
        now = {"host": "far.example", "time": told["time"] + off + later, "running": [begun]}
        far.write_text(json.dumps({**told, **now}))
        found = told_of()
        assert len(found) == bool(later)
    assert found[0].silent < 30 and 2 <= found[0].ran[trial] < 32


def test_events_are_passed_on(watched: Watched) -> None:
    heard_events = []
    trial, progress = tiny_sweep.first(tiny_sweep.sweep(), "training"), Progress()
    Now(watched.folder, SWEEP, lambda *event: heard_events.append(event))(
        "start", trial, progress, None
    )
    assert heard_events == [("start", trial, progress, None)]


def test_the_page_says_what_runs_now_and_how_far_it_is(watched: Watched, running: Progress) -> None:
    client = client_of(watched)
    assert client.get("/").status_code == 200
    text = client.get("/now").text
    (trial,) = running.running.values()
    assert f"training digits {trial.id}" in text
    assert "epoch 3 of 4, step 75 of 100, loss 0.5" in text and "75 %" in text
    assert "victims" in text


def test_the_report_follows_the_store_and_its_version_says_so(watched: Watched) -> None:
    pages = Pages(watched)
    client = TestClient(app_of(pages, "", True), base_url="http://127.0.0.1")
    assert "No answer yet" in client.get("/report").text
    before = client.get("/now").headers["x-report"]
    with Store.open(watched.url) as store:
        store.put(trial_record(0.03), SWEEP)
    pages._next = 0.0  # it is drawn at most every few seconds
    assert eventually(lambda: client.get("/now").headers["x-report"] != before)
    assert DRAWN in client.get("/report").text
    assert "<b>1</b> done" in client.get("/now").text


class Undrawable(Pages):
    """Its report fails, as one with a figure that cannot be drawn does."""

    def _draw_newer(self) -> None:
        raise ZeroDivisionError("no figure\nof two lines")


def test_a_report_that_fails_is_said_in_a_line_and_not_retried_at_once(watched: Watched) -> None:
    with Store.open(watched.url) as store:
        store.put(trial_record(0.03), SWEEP)
    pages = Undrawable(watched)
    client = TestClient(app_of(pages, "", True), base_url="http://127.0.0.1")
    assert eventually(lambda: "could not be drawn anew" in client.get("/now").text)
    assert client.get("/now").text.count("drawn anew: ZeroDivisionError: no figure</p>") == 1
    assert pages._next > time.monotonic()  # it is drawn at most every few seconds


@pytest.mark.parametrize("path", ["/", "/now", "/report", "/watch.js", "/watch.css"])
def test_without_the_token_nothing_is_given(watched: Watched, path: str) -> None:
    client = client_of(watched, TOKEN, local=False)
    assert client.get(path).status_code == 401
    assert client.get(path, params={"token": TOKEN[:-1]}).status_code == 401
    let_in = client.get(path, params={"token": TOKEN})
    assert let_in.status_code == 303 and "token" not in let_in.headers["location"]
    cookie = let_in.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert client.get(path).status_code == 200  # by the cookie


@pytest.mark.parametrize("token", ["a+b&c#d%e/f?g h=i;j", "ein Wort aus Straßen, 秘密"])
def test_the_address_that_is_printed_lets_one_in(watched: Watched, token: str) -> None:
    printed = list[str]()

    def told(address: str) -> None:
        printed.append(address)
        raise KeyboardInterrupt  # it is served no further

    with pytest.raises(KeyboardInterrupt):
        serve(Pages(watched), "127.0.0.2", 0, token, told)
    address = urlsplit(printed[0])
    app = app_of(Pages(watched), token, True, "127.0.0.2")
    client = TestClient(app, base_url=f"http://{address.netloc}", follow_redirects=False)
    assert client.get(f"/?{address.query}").status_code == 303
    assert client.get("/now").status_code == 200  # by the cookie
    assert TestClient(app, base_url="http://127.0.0.3").get("/now").status_code == 400


def test_another_name_of_the_host_is_refused_on_the_loopback_address(watched: Watched) -> None:
    client = client_of(watched)
    assert client.get("/now", headers={"host": "attacker.example"}).status_code == 400
    assert client.get("/now").status_code == 200


def test_names_from_the_store_are_no_markup(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        store.add_sweep(name, {})
    watched = Watched(f"sqlite:///{tmp_path}/s.db", "", "worst_kind_within_delta", tmp_path)
    client = client_of(watched)
    assert "<script>alert" not in client.get("/").text + client.get("/now").text
    assert "<script>alert" not in client.get("/report").text


def silent(_: str) -> None:
    pytest.fail("nothing was to be served")


@pytest.mark.parametrize(
    ("host", "token", "says"),
    [
        ("0.0.0.0", "", "other machines could read a page at 0.0.0.0. Give --token TEXT"),
        ("box.example", "", "other machines could read a page at box.example"),
        ("127.0.0.1", "x" * (SHORTEST - 1), "the token has 15 characters; needed are 16 or more"),
        ("b\u00fccher..de", TOKEN, "nothing can be served at b\u00fccher..de, port 0"),
        ("192.0.2.1", TOKEN, "nothing can be served at 192.0.2.1, port 0"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    watched: Watched, host: str, token: str, says: str
) -> None:
    with pytest.raises(SpecError, match=says.replace(".", r"\.")) as told:
        serve(Pages(watched), host, 0, token, silent)
    assert "\n" not in str(told.value)


def test_a_sweep_that_is_not_there_is_one_line(watched: Watched) -> None:
    there_is_none = Watched(watched.url, "other", watched.rule, watched.folder)
    with pytest.raises(SpecError, match="the store has no sweep 'other' yet"):
        serve(Pages(there_is_none), "127.0.0.1", 0, "", silent)


@pytest.fixture
def address(watched: Watched) -> Iterator[str]:
    """Where the command serves it, in a process of its own."""
    command = ["-m", "poisonsweep", "watch", "--store", watched.url, "--port", "0"]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        yield line.split()[-1]
        server.terminate()
    assert line.startswith("watch at http://127.0.0.1:"), line


def version(address: str) -> str:
    """Of the report, as a look at what runs now tells it."""
    with urllib.request.urlopen(address + "now") as answer:
        return str(answer.headers["x-report"])


@pytest.mark.browser
def test_a_browser_shows_what_runs_and_the_report(
    address: str, watched: Watched, running: Progress, tmp_path: Path
) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: install the package chromium to draw the page")
    with Store.open(watched.url) as store:
        store.put(trial_record(0.03), SWEEP)
    assert eventually(lambda: bool(version(address)))  # the browser's clock does not wait
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=6000", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", address], capture_output=True, text=True, timeout=HANGS, check=True
    )
    assert "epoch 3 of 4, step 75 of 100" in done.stdout
    assert "Renewed every two seconds" in done.stdout and "<iframe" in done.stdout
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
