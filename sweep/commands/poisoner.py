"""With which optimizer a given model's copies are poisoned, where nobody says."""

from dataclasses import replace

from sweep.execution.worker import WorkerConfig, make_runtime
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.classifier import Classifier
from trials.spec import MethodConfig

_OWN = frozenset({"optimizer", "lr"})  # whoever gives one of them has chosen


def with_optimizer(sweep: Sweep, worker_config: WorkerConfig) -> tuple[Sweep, str]:
    """The sweep with adam where the model has no normalisation layer, as an explicit setting of
    self-poisoning, and a sentence that says so; unchanged where the model has some, or the sweep
    gives an optimizer or a learning rate. SGD ruins such a model at the rates that others bear.
    """
    tables, runtime = sweep.self_poisoning, make_runtime(replace(worker_config, device="cpu"))
    if all(_OWN & set(t) for t in tables):
        return sweep, ""
    model = Classifier(runtime.fresh(sweep.victims[0]))
    if model.norms() or model.scales():
        return sweep, ""
    chosen = tuple(t if _OWN & set(t) else {**t, "optimizer": "adam"} for t in tables)
    resolved = (catalog.resolve("games", MethodConfig("self_poison", t)) for t in chosen)
    rates = sorted({float(r.params["lr"]) for r in resolved if r.params["optimizer"] == "adam"})
    written = ", ".join(f"{rate:g}" for rate in rates)
    said = (
        "The model has no normalisation layer: its copies are poisoned by Adam, at a learning rate "
        f"of {written}."
    )
    return replace(sweep, self_poisoning=chosen), said
