"""``defend`` and ``tune`` as Python has them: of files, or of what lives in the session."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from results.report.sweep_results import Outcome, SweepResults
from results.selection.understood import Understood
from results.store import Store
from sweep.commands import outputs
from sweep.commands.defend import Order, begun, carry_out, prepare, tuned
from sweep.commands.given import as_files
from sweep.commands.given_module import GivenModule, Numbers
from sweep.commands.python_words import errors_in_python, in_python, understood_in_python
from sweep.console.notebook import progress_of
from sweep.console.progress import ConsoleProgress
from sweep.execution.process_pool import trials_at_a_time

OUT = "repaired"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TuneResult(SweepResults):
    """What ``tune`` found.

    Attributes:
        understood: what was made of the model and the images.
        left_out: why, for each defense that the model cannot bear.
        stopped: why tuning ended before all of it had run; empty where it did not.
    """

    understood: Understood
    left_out: tuple[str, ...] = ()
    stopped: str = ""


def defend(  # noqa: PLR0913  (the library's call: its options are keywords)
    model: str | Path | nn.Module,
    trusted: Any,
    out: str | Path = OUT,
    *,
    arch: str = "",
    norm: str | None = None,
    mean: Numbers = None,
    std: Numbers = None,
    size: int | None = None,
    spec: str | Path | Mapping[str, Any] | None = None,
    use_ray: bool = False,
    seed: int | None = None,
    device: str = "",
    flip: bool | None = None,
    order: str | None = None,
    classes: str | Path | None = None,
    retry_failed: bool = False,
    minutes: float | None = None,
    progress: bool | None = None,
) -> Outcome:
    """Repair a model with trusted images: tune on self-poisoned copies, apply the winner.

    Args:
        model: a module, which stays as it is; or a file of weights, safetensors or a plain torch
            state dict; or a Hugging Face folder. Of a module the code and the weights are written
            into ``out``/given, its code by cloudpickle; nothing of a file is unpickled.
        trusted: labelled images that nobody has poisoned: a torch ``Dataset`` of (image, label), a
            Hugging Face ``Dataset`` with the columns image (or img) and label, or a pair of arrays
            (images, labels). An image is one of PIL, a uint8 array, or a float array in [0, 1],
            (c, h, w) or of numpy (h, w, c) too; a label is the number of one of the model's
            outputs. Or a folder with one sub-folder a class, in the order of the outputs when
            sorted by name; or a table of images (.csv, .tsv, .parquet) or a shard (.tar), or a
            folder of Parquet files or shards.
        out: folder that gets ``choice.json``, ``report.html`` and, unless the model is best left
            alone, ``repaired.safetensors``. What another run left there goes to ``previous-N`` in
            it.
        arch: of a file: ``torchvision:name``, ``timm:name``, ``package.module:callable`` or the
            name of one of our models, with settings as ``resnet18:width=16`` or
            ``timm:name,norm=half``; left out for a Hugging Face folder, whose config.json says it.
        norm: how images in [0, 1] are normalised for the model: cifar10, imagenet, half or none;
            left out, none for a module; for a file what its configuration says, else the
            architecture's, unless a preset gets 5 points more of the trusted images right.
        mean: in place of norm: the mean of each channel, or one for all.
        std: the standard deviation, with it.
        size: side of the model's input, in pixels; left out, that of live images, else 32 for a
            module; for a file what its configuration says, else the trusted images' own, else what
            is usual for the architecture.
        spec: a sweep without ``[victim]``, a file or a table; left out, every defense that the
            model has the parts for, on a few points of its grid, the cheapest first.
        use_ray: run on Ray instead of worker processes.
        seed: of triggers, targets and batches; left out, the spec's ``seeds``, or 0.
        device: auto, cpu or cuda; left out, the spec's.
        flip: training mirrors half of the images; left out, the spec's ``flip``, or true.
        order: how class names are sorted: ``numbers`` (names that are all numbers by their value)
            or ``text``; left out, the spec's ``order``, or numbers, or what fits better where the
            model would not know its images.
        classes: which of the model's outputs each class is: ``imagenet``, ``index``, or a file of
            names and outputs; left out, the spec's ``classes``, or the classes are the outputs in
            their order, or what fits the model.
        retry_failed: run those trials again that failed in an earlier call.
        minutes: for copies, defenses and confirming, about; trying ends sooner once the answer
            cannot get better; left out, 30, or with ``spec`` no limit.
        progress: show it; left out, in a notebook and on a terminal.

    Returns:
        What ``choice.json`` holds, as a mapping, with the results behind it and, of a module, the
        repaired one. Its ``verdict`` is ``repaired`` or says why not: ``one kind alone``, ``own
        trigger alone``, ``inverted triggers alone``, ``not repaired``, ``too costly``, ``do
        nothing``, ``only controls ran`` or ``nothing ran``.

    Raises:
        SpecError: an unfit model, data set, folder, architecture or sweep; before any compute.
    """
    with errors_in_python():
        prepared, module = _prepared(
            model,
            trusted,
            Path(out),
            {"arch": arch, "size": size, "norm": norm, "mean": mean, "std": std},
            spec=spec,
            use_ray=use_ray,
            seed=seed,
            device=device,
            flip=flip,
            order=order,
            classes=classes,
            minutes=minutes,
        )
        with _shown(prepared, progress) as reporter:
            facts = carry_out(prepared, reporter, retry_failed=retry_failed)
    weights = prepared.out / outputs.WEIGHTS  # of a module always one file
    found = module.repaired(weights) if module and weights.exists() else None
    return Outcome(**_results(prepared), facts=facts, model=found)


def tune(  # noqa: PLR0913
    model: str | Path | nn.Module,
    trusted: Any,
    out: str | Path = OUT,
    *,
    arch: str = "",
    norm: str | None = None,
    mean: Numbers = None,
    std: Numbers = None,
    size: int | None = None,
    spec: str | Path | Mapping[str, Any] | None = None,
    use_ray: bool = False,
    seed: int | None = None,
    device: str = "",
    flip: bool | None = None,
    order: str | None = None,
    classes: str | Path | None = None,
    retry_failed: bool = False,
    minutes: float | None = None,
    progress: bool | None = None,
) -> TuneResult:
    """Tune defenses on self-poisoned copies of a model, as ``defend`` does, and repair nothing.

    What ran is kept in ``out``, where ``defend`` finds it.

    Args:
        model, trusted, out, arch, norm, mean, std, size, spec, use_ray, seed, device, flip, order,
            classes, retry_failed, minutes, progress: as for ``defend``.

    Raises:
        SpecError: as ``defend``.
    """
    with errors_in_python():
        prepared, _ = _prepared(
            model,
            trusted,
            Path(out),
            {"arch": arch, "size": size, "norm": norm, "mean": mean, "std": std},
            spec=spec,
            use_ray=use_ray,
            seed=seed,
            device=device,
            flip=flip,
            order=order,
            classes=classes,
            minutes=minutes,
        )
        with _shown(prepared, progress) as reporter:
            begun(prepared, reporter)
            with Store.open(prepared.url) as opened:
                patient = opened.patient(prepared.sweep.compute.outage)
                stopped = tuned(prepared, patient, reporter, retry_failed)
    return TuneResult(
        **_results(prepared),
        understood=prepared.understood,
        left_out=prepared.left_out,
        stopped=stopped,
    )


def _prepared(
    model: Any, trusted: Any, out: Path, how: Mapping[str, Any], **asked: Any
) -> tuple[Order, GivenModule | None]:
    """What is to be done, checked, and the live network if one is given."""
    with as_files(model, trusted, out, **how) as given:
        order = prepare(
            given.model, given.arch, given.trusted, out, size=given.size, **given.norm, **asked
        )
    order = replace(
        order,
        understood=understood_in_python(order.understood),
        left_out=tuple(map(in_python, order.left_out)),
    )
    if given.module is None:
        return order, None
    title = f"{order.sweep.name}: {type(given.module.network).__name__}"
    return replace(order, title=title), given.module


def _shown(order: Order, progress: bool | None) -> AbstractContextManager[ConsoleProgress | None]:
    sweep = order.sweep
    return progress_of(sweep.name, sweep.rule, trials_at_a_time(sweep.compute), progress)


def _results(order: Order) -> dict[str, Any]:
    with Store.read(order.url) as store:
        records = tuple(store.records(order.sweep.name))
    return {"name": order.sweep.name, "rule": order.sweep.rule, "records": records}
