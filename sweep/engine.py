"""Run a sweep: check it, take up what an earlier run left, hand the rest to an executor."""

from collections.abc import Callable
from pathlib import Path

from results.store import DEFAULT_URL, Store
from sweep import local, plan
from sweep.check import check
from sweep.config import Sweep
from sweep.source import Progress, Source, Watch
from sweep.worker import Place, device_for, leftovers, unspool
from trials.spec import Record, to_json

MAKES_ARTIFACTS = ("training", "self_poison")


def place_of(sweep: Sweep, store_url: str = DEFAULT_URL, artifacts: str | None = None) -> Place:
    """Where the sweep's trials run; the artifacts lie beside an SQLite store unless named."""
    beside = Path("runs/artifacts")
    if store_url.startswith("sqlite:///") or store_url.endswith(".db"):
        beside = Path(store_url.removeprefix("sqlite:///")).parent / "artifacts"
    return Place(str(Path(artifacts or beside).resolve()), sweep.compute.device, sweep.compute.threads)


def execute(
    sweep: Sweep,
    store: Store,
    place: Place,
    *,
    use_ray: bool = True,
    address: str | None = None,
    watch: Watch | None = None,
) -> Progress:
    """Run what is not in the store yet; the progress counts it.

    Raises:
        SpecError: before any compute, for what cannot run.
        KeyboardInterrupt: passed on; everything finished is stored, and the same call goes on from there.
    """
    if not address:
        device_for(sweep.compute.device)
    check(sweep, place)
    store.add_sweep(sweep.name, to_json(_plain(sweep)))
    for record in leftovers(place):
        store.put(record)
        unspool(place, record.trial.id)
    source = Source(plan.waves(sweep, store), store, sweep.name, sweep.compute.attempts, watch, _usable(place))
    if not source.waiting():  # all is stored: start nothing
        return source.progress
    workers = sweep.compute.workers or local.workers_for(sweep.compute)
    if use_ray:
        from sweep import tune  # noqa: PLC0415  (Ray is imported only where it is used)

        tune.run(source, place, sweep.compute, address)
    elif workers > 1:
        local.pool(source, place, workers)
    else:
        local.inline(source, place)
    if not source.over:
        raise KeyboardInterrupt
    return source.progress


def _usable(place: Place) -> Callable[[Record], bool]:
    from trials.artifacts import Artifacts  # noqa: PLC0415

    artifacts = Artifacts(place.artifacts)

    def usable(record: Record) -> bool:
        makes = record.trial.game.name in MAKES_ARTIFACTS and record.status == "done"
        return not makes or artifacts.has(record.trial.id)

    return usable


def _plain(sweep: Sweep) -> dict[str, object]:
    """What a person would want to see of the sweep again."""
    return {
        "trusted": list(sweep.trusted),
        "seeds": list(sweep.seeds),
        "rule": sweep.rule,
        "delta": sweep.delta,
        "game": sweep.game,
        "defenses": [d.name for d in sweep.defenses],
        "victims": [v.id for v in sweep.victims],
    }
