"""What the blind choices cost models that were never attacked."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks._board_repairs import JUDGES
from results.selection.winners import Winner, overall, winners
from results.store import Store
from sweep.execution.runner import artifacts_of
from trials import catalog
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, Record, Trial, Victim
from trials.storage.artifacts import Artifacts


def run_on_clean(url: str, sweeps: str, rule: str) -> int:
    """Run each sweep's blind choice, to its step, on the clean twin that the store has of its
    victim: of the same images, network, training and seed. Artifacts lie beside the store.

    Returns:
        how many ran that the store did not have.
    """
    runtime, ran = TrialRuntime(Artifacts(artifacts_of(url, None))), 0
    with Store.open(url, create=False) as store:
        twins = _twins(store)
        for name in fnmatch.filter([row.name for row in store.sweeps()], sweeps):
            for trial in _trials(store.records(name), twins, rule):
                known = store.get(trial.id)
                ends = known is not None and known.status == "done"
                store.put(known if known and ends else run(trial, runtime), name)
                ran += not ends
    return ran


def _twins(store: Store) -> dict[tuple[object, int], Victim]:
    trained = (r.trial.victim for r in store.records(None, JUDGES[0]) if r.status == "done")
    return {(v.kin, v.seed): v for v in trained if not v.attacks and not v.filter}


def _trials(
    records: Sequence[Record], twins: dict[tuple[object, int], Victim], rule: str
) -> Iterator[Trial]:
    for w in overall(winners(records, rule)):
        twin = twins.get((w.victim.kin, w.victim.seed))
        if twin is not None and w.victim.attacks and w.step:
            yield from _on(twin, w, records)


def _on(twin: Victim, w: Winner, records: Sequence[Record]) -> Iterator[Trial]:
    """As the choice ran on the true attack, but only to its step."""
    for r in records:
        t = r.trial
        mine = (t.game.name, t.victim.id, t.trusted) == (JUDGES[1], w.victim.id, w.trusted)
        if mine and t.method is not None and t.method.id == w.method.id:
            params = {**t.game.params, "stop_at": w.step}
            game = catalog.resolve("games", MethodConfig(t.game.name, params))
            yield replace(t, victim=twin, game=game)
