"""Optuna's samplers, made anew for each ask: what one draws depends on its seed and the study's
history alone.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import optuna

from trials.spec import MethodConfig, Scalar, derive

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
KINDS: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "gp": optuna.samplers.GPSampler,
}


def drawn(
    study: optuna.Study,
    name: str,
    seed: int,
    space: Callable[[Any], MethodConfig],
    params: dict[str, Scalar] | None = None,
) -> tuple[optuna.Trial, MethodConfig]:
    """The study's next trial, and what it asks for.

    Args:
        study: with no trial in its queue.
        name: of the sampler.
        seed: of the search; each ask is seeded by it and the number of the ask.
        space: makes a method's configuration from a trial.
        params: known settings to ask for instead of the sampler's.
    """
    number = len(study.get_trials(deepcopy=False))
    study.sampler = KINDS[name](seed=derive(seed, number, "sampler", name) % 2**32)
    if params is not None:
        study.enqueue_trial(params)
    with _one_thread() if name == "gp" else contextlib.nullcontext():
        trial = study.ask()
        if params is not None and name == "nsga2":
            trial.relative_params  # noqa: B018  (files it under a generation, else it would be in no population)
        return trial, space(trial)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of a Gaussian process are rounded alike, however many threads this process uses
    otherwise.
    """
    import torch  # noqa: PLC0415  (its sampler loads it too)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
