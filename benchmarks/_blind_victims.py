"""The victims that ``benchmarks.blind`` defends, and what ``defend`` is given of each."""

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from sweep import api
from sweep.execution.runner import worker_config_of
from sweep.execution.worker import make_runtime
from sweep.planning import expansion
from sweep.spec.sweep_file import Sweep
from trials import splits
from trials.cache_key import Key
from trials.games._attacks import Attacks
from trials.metrics import accuracy
from trials.runtime import EvaluatorContext, generator
from trials.spec import Trial, Victim
from trials.types import Images


class Victims:
    """The victims of a sweep, trained, with what a judge knows of them.

    Args:
        from_test: the defender's images are drawn from the test set, and the others of it judge:
            for victims that were trained on all others. As many as r of the training set.
    """

    def __init__(self, sweep: Sweep, url: str, from_test: bool = False) -> None:
        self.sweep = replace(sweep, name=f"{sweep.name}, victims", game="training")
        api.run(self.sweep, url)
        self.runtime = make_runtime(worker_config_of(self.sweep, url))
        self._from_test = from_test

    def trials(self) -> list[Trial]:
        share = self.sweep.trusted[0]
        return [replace(t, trusted=share) for t in expansion.victims(self.sweep)]

    def model(self, trial: Trial) -> nn.Module:
        """The victim, as it was trained."""
        return self.runtime.defender(trial).view.model

    def trusted(self, trial: Trial) -> Images:
        """The defender's images."""
        if self._from_test:
            test = self._test(trial)
            return test.take(self._trusted_places(trial, test))
        return self.runtime.trusted(trial)

    def source(self, trial: Trial) -> str:
        """Where the defender's images come from."""
        if self._from_test:
            return "test set"
        return "held out" if trial.victim.reserve else "trained on"

    def judge(self, trial: Trial) -> EvaluatorContext:
        """What the judge has: the attack, and test images that are not the defender's."""
        whole = self.runtime.evaluator(trial)
        if not self._from_test:
            return whole
        test = self._test(trial)
        others = torch.ones(len(test), dtype=torch.bool)
        others[self._trusted_places(trial, test)] = False
        rest = test.take(others.nonzero().flatten()).to(self.runtime.device)
        return replace(whole, test=lambda: rest)

    def _test(self, trial: Trial) -> Images:
        """The whole test set, on the CPU."""
        found: Images = self.runtime.images(Key(trial.victim.dataset), "test")
        return found

    def _trusted_places(self, trial: Trial, test: Images) -> Tensor:
        n = round(trial.trusted * len(self.runtime.trainable(trial.victim)))
        rng = generator(trial.victim.seed, "trusted")
        return splits.draw_trusted(test, n / len(test), torch.empty(0, dtype=torch.long), rng)

    def repaired(self, trial: Trial, weights: Path) -> nn.Module:
        """The victim with these weights; as it was where there are none."""
        if not weights.exists():
            return self.model(trial)
        model = self.runtime.fresh(trial.victim)
        model.load_state_dict(load_file(weights))
        return model.eval()

    def measured(self, trial: Trial, model: nn.Module) -> tuple[float, float | None]:
        """CDA and ASR on the judge's images; no ASR for a clean victim."""
        test = self.judge(trial).test()
        if not trial.victim.attacks:
            return accuracy(model, test), None
        attacks = Attacks(self.runtime.poisoning(trial.victim), test)
        return accuracy(model, test), attacks.measure(model)["asr"]


def export(images: Images, folder: Path) -> None:
    """The images as PNGs, one sub-folder a class, in the order of the classes."""
    for i, (pixels, label) in enumerate(zip(images.x.cpu(), images.y.tolist(), strict=True)):
        place = folder / f"{label:04}" / f"{i:06}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(place)


def arch_of(victim: Victim) -> str:
    """The model as ``--arch`` names it."""
    settings = ",".join(f"{k}={v}" for k, v in victim.model.params.items())
    return f"{victim.model.name}:{settings}" if settings else victim.model.name
