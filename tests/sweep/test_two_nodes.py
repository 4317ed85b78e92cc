"""A sweep on two real Ray nodes: both are used, one may go, nothing finished is lost or run twice."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
import test_two_nodes
import tiny_sweep
from ray import cloudpickle
from ray.cluster_utils import Cluster
from test_executors import eventually

from results.store import Store
from sweep import engine
from sweep.worker import Place
from trials.spec import Point, Record, Trial

pytestmark = [pytest.mark.ray, pytest.mark.slow]
cloudpickle.register_pickle_by_value(test_two_nodes)  # workers have no path to the tests


@dataclass(frozen=True)
class Noting(Place):
    """Real trials; each leaves a file named by trial and Ray node when it starts."""

    def perform(self, trial: Trial) -> Generator[Point, None, Record]:
        import ray  # noqa: PLC0415

        marks = Path(self.artifacts) / "marks"
        marks.mkdir(parents=True, exist_ok=True)
        (marks / f"{trial.id}.{ray.get_runtime_context().get_node_id()}").touch()
        plain = Place(self.artifacts, self.device, self.threads)
        return plain.perform(trial)

    def nodes(self) -> dict[str, list[str]]:
        """The trials that each node started."""
        found: dict[str, list[str]] = {}
        for file in (Path(self.artifacts) / "marks").glob("*"):
            trial, node = file.name.split(".")
            found.setdefault(node, []).append(trial)
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"left": 1}})
    yield two
    ray.shutdown()
    two.shutdown()


def sweep(**compute: object) -> engine.Sweep:
    longer = [{**d, "limit": 3, "fixed": {"steps": 40, "batch": 16}} for d in tiny_sweep.DEFENSES]
    return tiny_sweep.sweep(defenses=longer, seeds=[0, 1], compute={"device": "cpu", "workers": 2, **compute})


def test_a_node_is_removed_and_nothing_is_lost_or_run_twice(cluster: Cluster, tmp_path: Path) -> None:
    other = cluster.add_node(num_cpus=1)
    assert eventually(lambda: cluster.list_all_nodes() and len(cluster.list_all_nodes()) == 2)
    place = Noting(str(tmp_path / "ray"), "cpu", 1)
    finished: list[str] = []
    both = threading.Event()

    def watch(event: str, trial: Trial, progress: engine.Progress, record: Record | None) -> None:
        if event == "finish":
            finished.append(trial.id)
            if len(place.nodes()) == 2 and progress.done > 6:
                both.set()

    def run() -> None:
        with Store.open(f"sqlite:///{tmp_path}/ray.db") as store:
            ended.append(engine.execute(sweep(), store, place, address=cluster.address, watch=watch))

    ended: list[engine.Progress] = []
    driver = threading.Thread(target=run)
    driver.start()
    assert both.wait(120), place.nodes()
    cluster.remove_node(other)  # its raylet and workers are killed
    driver.join(200)
    (progress,) = ended
    assert (progress.failed, progress.done) == (0, progress.planned)
    assert sorted(set(finished)) == sorted(finished)
    assert len(place.nodes()) == 2
    with (
        Store.open(f"sqlite:///{tmp_path}/ray.db") as store,
        Store.open(f"sqlite:///{tmp_path}/local.db") as here,
    ):
        engine.execute(sweep(workers=1), here, tiny_sweep.place(tmp_path / "local"), use_ray=False)
        assert tiny_sweep.outcomes(store) == tiny_sweep.outcomes(here)
