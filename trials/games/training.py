"""Training: make the victim, or take a stranger's checkpoint, and measure it before any defense.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-A and Table IV.
Deviation: the last epoch is kept; the reference release keeps the epoch that is best on test
images.
"""

from collections.abc import Generator as Steps

from torch import Tensor, nn

from trials.data_views import OwnPoison
from trials.games._attacks import Attacks
from trials.metrics import accuracy, hit_rate, predictions, right_rate, success
from trials.reporting import TrialProgress, reporter
from trials.runtime import EvaluatorContext
from trials.spec import SpecError
from trials.types import Images, Poisoning


def play(ctx: EvaluatorContext, /) -> Steps[TrialProgress, None, dict[str, float]]:
    """Train, keep the weights, and measure CDA and ASR on the test set (a stranger's data may have
    none).

    Of several attacks ``asr`` is the largest, each has its own ``asr/NAME``, and ``cross/A/B`` says
    how often the trigger of A leads to the target of B; ``shared/A/B`` counts the images that both
    have poisoned. An attack without a trigger has no ASR: the
    game ``targeted`` measures it. Where the defender chose the filter by poison of their own,
    ``cda_held`` and ``own_asr/NAME`` are measured on images held back, and ``own_left`` is by how
    much one of these triggers works better than on a model of all rows.
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
        clean = predictions(model, test.x)
        metrics |= {"cda": right_rate(clean, test), "n_clean": len(test)}
        attacks = Attacks(poisoning, test)
        if attacks.cases:
            metrics |= _attacked(model, poisoning, test, clean, attacks)
    if own := ctx.own():
        metrics |= _own(model, own, ctx.device)
    ctx.save(model, metrics)
    return metrics


def _attacked(
    model: nn.Module, poisoning: Poisoning, test: Images, clean: Tensor, attacks: Attacks
) -> dict[str, float]:
    """``clean``: the classes int64 (n,) that the model gives the test images without a trigger."""
    untriggered = {
        name: hit_rate(clean[cases.places.to(clean.device)], cases)
        for name, cases in attacks.cases.items()
    }
    predicted = attacks.predicted(model)
    metrics = attacks.asr(predicted) | attacks.sizes() | attacks.cross(predicted)
    metrics |= attacks.by_rule("clean_to_target", untriggered)
    metrics |= {f"shared/{a}/{b}": float(m) for (a, b), m in poisoning.shared.items()}
    for implant in poisoning.implants:
        own = f"/{implant.name}" if attacks.several else ""
        for name, goal in implant.probes.items():
            metrics[f"{name}{own}"] = success(model, goal.cases(test))
    return metrics


def _own(model: nn.Module, own: OwnPoison, device: str) -> dict[str, float]:
    """What the held-back images say of the model, and of the one that was trained on all rows: CDA,
    and how often a trigger of the defender's leads to its target. None of their rows is left, so it
    should not do so more often than before.
    """
    held, before = own.rows.held.to(device), own.before()
    metrics = {"cda_held": accuracy(model, held), "cda_held_before": accuracy(before, held)}
    left = []
    for name, goal in zip(own.rows.names, own.rows.goals, strict=True):
        cases = goal.cases(held)
        asr, known = success(model, cases), success(before, cases)
        metrics |= {f"own_asr/{name}": asr, f"own_asr_before/{name}": known}
        left.append(asr - known)
    return {**metrics, "own_left": max(left), "n_held": float(len(held))}


def _test(ctx: EvaluatorContext) -> Images | None:
    try:
        return ctx.test()
    except SpecError:
        if ctx.attacked:
            raise
        return None
