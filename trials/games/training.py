"""Training: make the victim, or take a stranger's checkpoint, and measure it before any defense.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-A and Table IV.
Deviation: the last epoch is kept; the reference release keeps the epoch that is best on test
images."""

from collections.abc import Generator as Steps

from trials.metrics import accuracy, rate, stamped
from trials.runtime import EvaluatorContext
from trials.spec import SpecError
from trials.trial_run import TrialProgress
from trials.types import Images


def play(ctx: EvaluatorContext, /) -> Steps[TrialProgress, None, dict[str, float]]:
    """Train, keep the weights, and measure CDA and ASR on the test set (a stranger's data may have
    none).
    """
    model, backdoor = ctx.fresh(), ctx.backdoor()
    for step, steps, loss in ctx.fit(model, backdoor, ctx.rng("training")):
        yield TrialProgress(step, steps, loss)
    model.eval()
    metrics: dict[str, float] = {"n_train": len(backdoor.train), "m": len(backdoor.poisoned)}
    test = _test(ctx)
    if test is None:
        metrics["cda_train"] = accuracy(model, backdoor.train)
    else:
        metrics |= {"cda": accuracy(model, test), "n_clean": len(test)}
        if ctx.attacked:
            x = stamped(test, backdoor.trigger, backdoor.target)
            clean = test.x[test.y != backdoor.target]
            metrics |= {"asr": rate(model, x, backdoor.target), "n_triggered": len(x)}
            metrics["clean_to_target"] = rate(model, clean, backdoor.target)
            for name, trigger in backdoor.probes.items():
                metrics[name] = rate(
                    model, stamped(test, trigger, backdoor.target), backdoor.target
                )
    ctx.save(model, metrics)
    return metrics


def _test(ctx: EvaluatorContext) -> Images | None:
    try:
        return ctx.test()
    except SpecError:
        if ctx.attacked:
            raise
        return None
