"""A small network that learned a real backdoor, and what a filter may see of its training set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Generator, Tensor

from search_spaces._strategies import grid
from trials import catalog
from trials.data_views import data_view, untrusted
from trials.dependencies import filtering_of, training_of, unfiltered
from trials.metrics import auroc
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import Filtering, MethodConfig, Scalar, Trial, Victim
from trials.storage.artifacts import Artifacts
from trials.views import DataView, SampleScores


def filtered_victim(attack: MethodConfig, method: str = "badloss", reject: float = 0.4) -> Victim:
    config = grid(catalog.find("filter_spaces", method), "small")[0]
    return catalog.resolve_victim(
        Victim(
            dataset=MethodConfig("digits"),
            model=MethodConfig("small_cnn"),
            attacks=(attack,),
            training=MethodConfig("fast", {"epochs": 12, "batch": 64, "peak": 0.2}),
            seed=0,
            filter=Filtering(method=config, reject=reject, trusted=0.25, seed=0),
        )
    )


@dataclass
class Attacked:
    """A victim's training set as a filter sees it, and what only the judge knows."""

    runtime: TrialRuntime
    trial: Trial
    view: DataView
    poisoned: Tensor  # bool, one for each row of the view
    _said: dict[tuple[object, ...], SampleScores] = field(default_factory=dict, init=False)

    def scored(
        self, name: str, view: DataView | None = None, /, **settings: Scalar
    ) -> SampleScores:
        """What a filter says at the first point of its small space; of a view that is given it is
        asked anew, of its own once for each of the settings.
        """
        first = grid(catalog.find("filter_spaces", name), "small")[0]
        given = catalog.resolve("filters", MethodConfig(name, {**first.params, **settings}))
        key = (name, *sorted(given.params.items()))
        if view is None and key in self._said:
            return self._said[key]
        score: Callable[..., SampleScores] = catalog.find("filters", name)
        found = score(view or self.view, Generator().manual_seed(0), **given.params)
        if view is None:
            self._said[key] = found
        return found

    def auroc(self, found: SampleScores) -> float:
        return auroc(found.scores[self.poisoned], found.scores[~self.poisoned])

    def permuted(self, order: Tensor) -> DataView:
        """The same rows in another order, with what was kept of them in that order."""
        rows, trusted, keep = len(self.view.train), len(self.view.trusted), self.view.keep

        def moved(tensor: Tensor) -> Tensor:
            if len(tensor) == rows:
                return tensor[order]
            if len(tensor) == rows + trusted:
                return torch.cat([tensor[:rows][order], tensor[rows:]])
            return tensor

        def kept(name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
            return {key: moved(tensor) for key, tensor in keep(name, make).items()}

        return replace(self.view, train=self.view.train.take(order), keep=kept)


def attacked_with(folder: Any, attack: MethodConfig, least: float) -> Attacked:
    runtime, victim = TrialRuntime(Artifacts(folder)), filtered_victim(attack)
    record = run(training_of(unfiltered(victim)), runtime)
    assert record.status == "done" and record.metrics["asr"] > least, record
    trial = filtering_of(victim)
    poisoning, rows = runtime.poisoning(unfiltered(victim)), untrusted(trial, runtime)
    poisoned = torch.isin(rows, poisoning.places)
    return Attacked(runtime, trial, data_view(trial, runtime), poisoned)
