"""Training: make the victim, or take a stranger's checkpoint, and measure it before any defense.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-A and Table IV.
Deviation: the last epoch is kept; the reference release keeps the epoch that is best on test
images.
"""

from collections.abc import Generator as Steps

from torch import nn

from trials.games._attacks import Attacks
from trials.metrics import accuracy, success
from trials.reporting import TrialProgress, reporter
from trials.runtime import EvaluatorContext
from trials.spec import SpecError
from trials.types import Cases, Images, Poisoning


def play(ctx: EvaluatorContext, /) -> Steps[TrialProgress, None, dict[str, float]]:
    """Train, keep the weights, and measure CDA and ASR on the test set (a stranger's data may have
    none).

    Of several attacks ``asr`` is the largest, each has its own ``asr/NAME``, and ``cross/A/B`` says
    how often the trigger of A leads to the target of B. An attack without a trigger has no ASR: the
    game ``targeted`` measures it.
    """
    model, poisoning = ctx.fresh(), ctx.poisoning()
    for step, steps, loss in ctx.fit(model, poisoning, ctx.rng("training")):
        yield reporter.progress(step, steps, loss)
    model.eval()
    metrics: dict[str, float] = {"n_train": len(poisoning.train), "m": len(poisoning.places)}
    test = _test(ctx)
    if test is None:
        metrics["cda_train"] = accuracy(model, poisoning.train)
    else:
        metrics |= {"cda": accuracy(model, test), "n_clean": len(test)}
        attacks = Attacks(poisoning, test)
        if attacks.cases:
            metrics |= _attacked(model, poisoning, test, attacks)
    ctx.save(model, metrics)
    return metrics


def _attacked(
    model: nn.Module, poisoning: Poisoning, test: Images, attacks: Attacks
) -> dict[str, float]:
    clean = {
        name: success(model, Cases(test.x[cases.places], cases.wanted, cases.places))
        for name, cases in attacks.cases.items()
    }
    predicted = attacks.predicted(model)
    metrics = attacks.asr(predicted) | attacks.sizes() | attacks.cross(predicted)
    metrics |= attacks.by_rule("clean_to_target", clean)
    for implant in poisoning.implants:
        own = f"/{implant.name}" if attacks.several else ""
        for name, goal in implant.probes.items():
            metrics[f"{name}{own}"] = success(model, goal.cases(test))
    return metrics


def _test(ctx: EvaluatorContext) -> Images | None:
    try:
        return ctx.test()
    except SpecError:
        if ctx.attacked:
            raise
        return None
