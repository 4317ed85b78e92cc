"""How fast the store is, beside Optuna's own storage in the same run, on the disk where the folder
lies.

    python -m benchmarks.store [--folder DIR] [--url URL] [--trials N]

Ours: one trial with 20 curve points and 4 metrics a record, one durable transaction each (SQLite:
WAL, FULL). Optuna: RDBStorage with its defaults on SQLite, one trial with 2 parameters, 5 reports
and a tell. Writes benchmarks/results/store.json.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable

import optuna
import sqlalchemy

from benchmarks._shared import parsed, write
from results.store import Store
from trials.spec import MethodConfig, Point, Record, Trial, Victim


def record(number: int) -> Record:
    victim = Victim(
        dataset=MethodConfig("cifar10"),
        model=MethodConfig("resnet18", {"width": 64}),
        attacks=(MethodConfig("badnets", {"m": 500, "patch": 3, "target": 0}),),
        training=MethodConfig("sgd", {"epochs": 120, "lr": 0.1}),
        seed=0,
    )
    method = MethodConfig("pivotal_tuning", {"lr": 0.01, "ratio": 1e-5, "steps": 2000})
    trial = Trial(
        game=MethodConfig("tuning", {"delta": 0.02}),
        victim=victim,
        method=method,
        trusted=0.01,
        seed=number,
    )
    return Record(
        trial=trial,
        status="done",
        metrics={"asr0": 0.99, "cda0": 0.94, "n_clean": 1000.0, "n_triggered": 900.0},
        curve=tuple(Point(50 * i, 0.94 - i / 1000, 1 / (1 + i), 0.5 * i) for i in range(20)),
        seconds=12.5,
        provenance={"python": platform.python_version(), "revision": "0" * 40},
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ours(url: str, trials: int) -> dict[str, float]:
    """Records a second one by one and in batches, and milliseconds to get one and to open the
    store.
    """
    single, batch = (
        [record(i) for i in range(trials)],
        [record(i) for i in range(10_000, 10_000 + 5 * trials)],
    )
    figures = {"make_ms": 1e3 * timed(lambda: Store.open(url).close())}
    with Store.open(url) as store:
        store.add_sweep("benchmark", {})
        store.put(record(9_999), "benchmark")
        figures["put_per_s"] = trials / timed(lambda: [store.put(r, "benchmark") for r in single])
        figures["put_many_per_s"] = len(batch) / timed(lambda: store.put_many(batch, "benchmark"))
        gets = [timed(lambda r=r: store.get(r.trial.id)) for r in single]  # type: ignore[misc]
        figures["get_ms_median"] = 1e3 * statistics.median(gets)
        figures["get_ms_p99"] = 1e3 * statistics.quantiles(gets, n=100)[-1]
        figures["records_per_s_read"] = (6 * trials) / timed(lambda: store.records("benchmark"))
    figures["open_ms"] = 1e3 * statistics.median(
        timed(lambda: Store.open(url).close()) for _ in range(20)
    )
    return figures


def theirs(url: str, trials: int) -> dict[str, float]:
    """Optuna's trials a second, on a storage that the same machine holds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=url, sampler=optuna.samplers.RandomSampler(seed=0))

    def one() -> None:
        trial = study.ask()
        asr = trial.suggest_float("lr", 1e-4, 1.0, log=True) * 0.0 + trial.suggest_float(
            "ratio", 0.0, 1.0
        )
        for step in range(5):
            trial.report(asr / (step + 1), step)
        study.tell(trial, asr)

    def several() -> None:
        for _ in range(trials):
            one()

    one()
    return {"trials_per_s": trials / timed(several)}


def main() -> None:
    """Measure, print a table, write the figures."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument(
        "--folder",
        default=None,
        help="where the databases are made; default: the system's for such files",
    )
    words.add_argument(
        "--url", default=None, help="measure this new, empty store instead of an SQLite file"
    )
    words.add_argument("--trials", type=int, default=500)
    asked = parsed(words, trials=20)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        store = ours(asked.url or f"sqlite:///{folder}/ours.db", asked.trials)
        other = theirs(f"sqlite:///{folder}/optuna.db", max(5, asked.trials // 5))
    figures = {
        "store": store,
        "optuna_rdb_sqlite_default": other,
        "ratio_one_by_one": store["put_per_s"] / other["trials_per_s"],
        "setting": {
            "database": (asked.url or "sqlite").split(":", 1)[0],
            "trials": asked.trials,
            "sqlalchemy": sqlalchemy.__version__,
            "optuna": optuna.__version__,
        },
    }
    for name, value in (*store.items(), *((f"optuna {k}", v) for k, v in other.items())):
        print(f"{name:24} {value:10.2f}")
    if asked.url is None:
        write("store", figures, tiny=asked.tiny)


if __name__ == "__main__":
    main()
