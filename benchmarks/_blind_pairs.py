"""What each setting that ``defend`` tried on copies leaves of the attack that the model really has.

``defend`` repairs the given model with one winner. A judge, who knows the attack, can run all the
others on it too: each is a pair of what the copies said and what came true, of copies as ``defend``
makes them. The repairs see what they saw there, the folder's trusted images and nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from results.comparison.prediction import Pair, pairs
from results.selection.labels import attack
from results.store import Store
from sweep.commands.outputs import ARTIFACTS, url_of
from trials import catalog
from trials.run import run
from trials.runtime import EvaluatorContext, TrialRuntime
from trials.spec import MethodConfig, Record, Trial, Victim
from trials.storage.artifacts import ArtifactStore
from trials.storage.checkpoint import Checkpointer
from trials.storage.remote_artifacts import artifacts_at


class Judged(TrialRuntime):
    """The defender's runtime, whose evaluator has the attacker's trigger and the test set."""

    def __init__(self, artifacts: ArtifactStore, judge: EvaluatorContext) -> None:
        super().__init__(artifacts)
        self._judge = judge

    def evaluator(self, trial: Trial, checkpointer: Checkpointer | None = None) -> EvaluatorContext:
        own = super().evaluator(trial, checkpointer)
        return replace(own, poisoning=self._judge.poisoning, test=self._judge.test)


def real_pairs(out: Path, victim: Victim, trusted: float, judge: EvaluatorContext) -> list[Pair]:
    """A pair for each setting that ran on the copies of the folder that ``defend`` wrote.

    Args:
        out: the folder.
        victim: the one whose weights ``defend`` was given.
        trusted: r of the images that it was given.
        judge: its attack and test set.
    """
    with Store.read(url_of(out)) as store:
        records = store.records()
    runtime = Judged(artifacts_at(str(out / ARTIFACTS)), judge)
    real = [run(trial, runtime) for trial in real_trials(records)]
    found = pairs([*records, *real])
    name, seed = attack(victim), victim.seed
    return [
        replace(p, victim=victim.id, attack=name, victim_seed=seed, trusted=trusted) for p in found
    ]


def real_trials(records: Sequence[Record]) -> Iterator[Trial]:
    """The robustness game for each setting that ran on copies, to its end."""
    tried: dict[str, Trial] = {}
    for record in records:
        trial = record.trial
        if trial.game.name != "tuning" or trial.method is None or len(record.curve) < 2:
            continue
        params = {"record_every": trial.game.params["record_every"], "delta": 1.0}
        game = catalog.resolve("games", MethodConfig("robustness", params))
        real = replace(trial, game=game, self_poisoning=None)
        tried[real.id] = real
    yield from tried.values()
