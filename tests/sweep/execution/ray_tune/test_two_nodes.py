"""A sweep on two real Ray nodes: both are used, one may go, nothing is lost or run twice."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import threading
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
import test_two_nodes
import tiny_sweep
from counting import repeated, started
from programs import HANGS
from ray import cloudpickle
from ray.cluster_utils import Cluster
from waiting import eventually

from results.store import Store
from sweep.execution import runner, versions
from sweep.execution.progress import Progress
from sweep.execution.ray_tune import nodes
from sweep.execution.worker import WorkerConfig
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, SpecError, Trial
from trials.trial_run import Reports

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos]
ROOT = Path(__file__).parents[4]
cloudpickle.register_pickle_by_value(test_two_nodes)  # type: ignore[no-untyped-call]  # workers have no path to the tests


@dataclass(frozen=True)
class Noting(WorkerConfig):
    """Real trials; each leaves a file named by trial, Ray node and process when it starts.

    Args:
        doomed: a node on which a configuration's trial stops at its first point, so that it is lost
            with the node; the other node's wait until it has got one.
    """

    doomed: str = ""

    def perform(self, trial: Trial) -> Reports[Record]:
        import ray  # noqa: PLC0415

        node = ray.get_runtime_context().get_node_id()
        self.mark("started", f"{trial.id}.{node}.{os.getpid()}")
        steps = WorkerConfig(self.artifacts, self.device, self.threads).perform(trial)
        if not self.doomed or trial.game.name != "tuning":
            return (yield from steps)
        if node != self.doomed:
            for _ in range(6000):
                if self.marks("held"):
                    break
                time.sleep(0.1)
            return (yield from steps)
        yield next(steps)
        self.mark("held", trial.id)
        time.sleep(3600)
        raise AssertionError("the node lives")

    def mark(self, kind: str, name: str) -> None:
        folder = Path(self.artifacts) / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()

    def marks(self, kind: str) -> list[str]:
        return [file.name for file in (Path(self.artifacts) / kind).glob("*")]

    def nodes(self) -> dict[str, list[str]]:
        """The trials that each node started."""
        found: dict[str, list[str]] = {}
        for mark in self.marks("started"):
            trial, node, _ = mark.split(".")
            found.setdefault(node, []).append(trial)
        return found

    def processes(self, node: str) -> set[int]:
        """The workers of a node that have started trials."""
        return {
            int(mark.split(".")[2]) for mark in self.marks("started") if mark.split(".")[1] == node
        }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"left": 1}})
    yield two
    ray.shutdown()
    two.shutdown()  # type: ignore[no-untyped-call]


def alive(cluster: Cluster) -> int:
    return sum(node["Alive"] for node in cluster.global_state.node_table())  # type: ignore[no-untyped-call]


def sweep(limit: int = 1, **compute: Any) -> Sweep:
    longer = [
        {**d, "limit": limit, "fixed": {"steps": 40, "batch": 16}} for d in tiny_sweep.DEFENSES
    ]
    return tiny_sweep.sweep(defenses=longer, compute={"device": "cpu", "workers": 2, **compute})


def test_a_node_is_removed_in_a_trial_and_nothing_is_lost_or_run_twice(
    cluster: Cluster, tmp_path: Path, count: Callable[..., None]
) -> None:
    other = cluster.add_node(num_cpus=1)
    worker_config = Noting(str(tmp_path / "ray"), "cpu", 1, doomed=other.node_id)
    ended: list[Progress] = []
    with (
        Store.open(f"sqlite:///{tmp_path}/ray.db") as store,
        Store.open(f"sqlite:///{tmp_path}/local.db") as here,
    ):

        def run() -> None:
            ended.append(runner.execute(sweep(3), store, worker_config, address=cluster.address))

        driver = threading.Thread(target=run)
        driver.start()
        # the other driver's trials run meanwhile
        runner.execute(
            sweep(3, workers=1), here, tiny_sweep.worker_config(tmp_path / "local"), use_ray=False
        )
        eventually(lambda: bool(worker_config.marks("held")) or not driver.is_alive())
        at_risk = len(worker_config.marks("held"))
        cluster.remove_node(other, allow_graceful=False)
        for process in worker_config.processes(other.node_id):
            # at once, as with the machine; Ray takes a second to end them
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        driver.join(HANGS)
        found, wanted = tiny_sweep.outcomes(store), tiny_sweep.outcomes(here)
    assert at_risk, worker_config.nodes()
    (progress,) = ended
    artifacts = Path(worker_config.artifacts)
    left = [
        p
        for p in worker_config.processes(other.node_id)
        if not eventually(functools.partial(gone, p))
    ]
    count(
        "a node is removed in a trial, Ray",
        kills=1,
        started_again=progress.worker_lost,
        trials=len(found),
        executions=len(started(artifacts)),
        differ=sum(found.get(i) != wanted.get(i) for i in found.keys() | wanted.keys()),
        stale=len(left),
    )
    assert (progress.failed, progress.done) == (0, progress.planned)
    assert progress.worker_lost == at_risk == 1
    assert repeated(artifacts, found, progress.worker_lost) == 0
    assert len(worker_config.nodes()) == 2
    assert found == wanted
    assert not left


def gone(process: int) -> bool:
    return not living(process)


def living(process: int) -> bool:
    """False for one that has ended, waited for or not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_no_single_node_has_is_refused_at_once(cluster: Cluster, tmp_path: Path) -> None:
    other = cluster.add_node(num_cpus=1)
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        for wanted, says in (
            ({"cpus": 2}, "compute: a trial wants 2 CPU, but no node has as much; they have 1 CPU"),
            ({"copies": {"memory": "900 TiB"}}, r"compute.copies: .*GiB memory, but no node"),
            (
                {"trials": {"resources": {"left": 1, "right": 1}}},
                "compute.trials: .* 1 left and 0 right",
            ),
        ):
            with pytest.raises(SpecError, match=says) as refused:
                runner.execute(
                    sweep(**wanted),
                    store,
                    tiny_sweep.worker_config(tmp_path),
                    address=cluster.address,
                )
            assert "\n" not in str(refused.value)
        assert not store.records()
    cluster.remove_node(other)


def test_each_stage_gets_what_its_table_says(cluster: Cluster, tmp_path: Path) -> None:
    other = cluster.add_node(num_cpus=1, resources={"right": 1})
    worker_config = Noting(str(tmp_path), "cpu", 1)
    stages: dict[str, Any] = {
        "copies": {"resources": {"left": 0.5}, "memory": "10 MiB"},
        "trials": {"resources": {"right": 1}},
    }
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        progress = runner.execute(sweep(**stages), store, worker_config, address=cluster.address)
        games = {r.trial.id: r.trial.game.name for r in store.records()}
    assert progress.failed == 0
    ran = {
        node: {games[i] for i in ids if games[i] != "training"}
        for node, ids in worker_config.nodes().items()
    }
    assert ran.pop(other.node_id) == {"tuning", "confirmation", "robustness"}
    assert list(ran.values()) == [{"self_poison"}]
    cluster.remove_node(other)


def test_a_node_that_came_later_with_other_code_computes_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # it was not there yet
    monkeypatch.setattr(nodes, "probe", lambda *_: ["a node has another torch"])
    monkeypatch.setattr(versions, "here", lambda: {"code": "other"})
    small = sweep(1, attempts=1)
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        progress = runner.execute(
            small, store, tiny_sweep.worker_config(tmp_path), address=cluster.address
        )
        (failed,) = store.records()
    assert (progress.done, progress.notes) == (0, ["a node has another torch"])
    assert "this node has another poisonsweep" in str(failed.error)
    assert not list((tmp_path / "events").glob("*"))


@pytest.fixture
def stranger(cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """A node whose Python has all libraries, but not this package."""
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    # its .pth files, by which this package may be installed, are not read
    site = Path(ray.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'old'}:{site}", "OMP_NUM_THREADS": "1"}
    if not subprocess.run(
        [python, "-c", "import sweep.execution.ray_tune.executor"],
        env=environment,
        cwd=tmp_path,
        check=False,
    ).returncode:
        pytest.skip("the package is installed among its libraries, so no Python here lacks it")
    words = [
        "start",
        f"--address={cluster.address}",
        "--num-cpus=1",
        '--resources={"bare": 1}',
        "--block",
    ]
    node = subprocess.Popen(
        [python, "-m", "ray.scripts.scripts", *words],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: alive(cluster) == 2)
        yield
    finally:
        node.terminate()
        node.wait(HANGS)


def test_a_node_without_the_package_or_with_another_is_named_and_is_sent_it_with_ship(
    cluster: Cluster, stranger: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray puts the driver's folder on its workers' path, and this machine has it
    monkeypatch.chdir(tmp_path)
    there = sweep(trials={"resources": {"bare": 1}})
    worker_config = tiny_sweep.worker_config(tmp_path / "artifacts")
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        with pytest.raises(SpecError, match="cannot run trials: .*No module named 'sweep'.*--ship"):
            runner.execute(there, store, worker_config, address=cluster.address)
        assert not store.records()
        for package in versions.PACKAGES:
            shutil.copytree(ROOT / package, tmp_path / "old" / package)
        with (tmp_path / "old" / "trials" / "train.py").open("a") as changed:
            changed.write("# one line more\n")
        ours = f"this driver \\(0.1.0, code {versions.here()['code']}\\)"
        with pytest.raises(
            SpecError, match=f"^the node .* has another poisonsweep .* than {ours}.*--ship"
        ) as refused:
            runner.execute(there, store, worker_config, address=cluster.address)
        assert "\n" not in str(refused.value)
        assert not store.records()
        progress = runner.execute(there, store, worker_config, address=cluster.address, ship=True)
        tuned = [r for r in store.records() if r.trial.game.name == "tuning"]
    assert (progress.failed, progress.worker_lost) == (0, 0)
    assert len(tuned) == 2
    assert all("commit" not in r.provenance for r in tuned)  # they ran on the code that was sent
