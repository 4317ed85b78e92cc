"""``filter`` as Python has it: of folders and tables, or of images that live in the session."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from results.report.sweep_results import FilterOutcome
from results.store import Store
from sweep.commands import outputs
from sweep.commands.filter_images import carry_out
from sweep.commands.filter_order import prepare
from sweep.commands.given import sets_as_files, written_in
from sweep.commands.given_module import Numbers, normalisation
from sweep.commands.python_words import errors_in_python, in_python
from sweep.console.notebook import progress_of
from sweep.execution.process_pool import trials_at_a_time

OUT = "kept"


def filter(  # noqa: PLR0913  (the library's call: its options are keywords)
    images: Any,
    trusted: Any,
    out: str | Path = OUT,
    *,
    arch: str,
    norm: str | None = None,
    mean: Numbers = None,
    std: Numbers = None,
    size: int | None = None,
    spec: str | Path | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    use_ray: bool = False,
    seed: int | None = None,
    device: str = "",
    flip: bool | None = None,
    order: str | None = None,
    retrain: bool = True,
    repair: bool = False,
    retry_failed: bool = False,
    minutes: float | None = None,
    progress: bool | None = None,
) -> FilterOutcome:
    """Find poisoned images in a set of unknown origin: set data filters by poison of your own, keep
    what the best one lets pass, and train on it.

    Args:
        images: the set: a folder with one sub-folder a class, a table of images (.csv, .tsv,
            .parquet), a shard (.tar) or a folder of these; or live, a torch ``Dataset`` of (image,
            label), a Hugging Face ``Dataset`` or a pair of arrays, as ``defend`` takes them.
        trusted: images of the same classes that nobody has poisoned, none of them in the set; as
            ``images``.
        out: folder that gets ``kept.txt``, ``scores.csv``, ``choice.json``, ``report.html`` and
            ``retrained.safetensors``. What another run left there goes to ``previous-N`` in it.
        arch: what is trained: ``torchvision:name``, ``timm:name``, ``package.module:callable`` or
            the name of one of our models, with settings as ``resnet18:width=16``.
        norm: how images in [0, 1] are normalised for the model: cifar10, imagenet, half or none;
            left out, the architecture's.
        mean: in place of norm: the mean of each channel, or one for all.
        std: the standard deviation, with it.
        size: side of the model's input, in pixels; left out, the images' own, or what is usual.
        spec: a sweep without ``[victim]``, a file or a table: ``filters``, ``self_poisoning``,
            ``training`` and ``compute``; left out, every filter that fits, in two settings each.
        epochs: passes of each training; left out, 24, or the spec's.
        use_ray: run on Ray instead of worker processes.
        seed: of your own poison; left out, 0.
        device: auto, cpu or cuda; left out, the spec's.
        flip: training mirrors half of the images; left out, the spec's ``flip``, or true.
        order: how class names are sorted, ``numbers`` or ``text``; left out, the spec's ``order``,
            or numbers.
        retrain: train a model on what is kept.
        repair: try repairs behind the two best filters, choose filter and repair by your own
            poison, and repair that model: ``repaired.safetensors``.
        retry_failed: run those trials again that failed in an earlier call.
        minutes: try filters for so long, once the models that they look at are there; left out,
            30, or with ``spec`` no limit.
        progress: show it; left out, in a notebook and on a terminal.

    Returns:
        What ``choice.json`` holds, as a mapping, with the results behind it and a row an image. Its
        ``verdict`` is ``filtered`` or says why not: ``not sure``, ``not trained``, ``too costly``,
        ``own poison left`` or ``nothing ran``.

    Raises:
        SpecError: unfit sets, a folder, an architecture or a sweep; before any compute.
    """
    with errors_in_python():
        normal = normalisation(norm, mean, std)
        with written_in(Path(out)) as folder:
            untrusted, known = sets_as_files(images, trusted, folder)
            asked = prepare(
                untrusted,
                known,
                out,
                arch,
                size=size,
                spec=spec,
                epochs=epochs,
                use_ray=use_ray,
                seed=seed,
                device=device,
                flip=flip,
                order=order,
                retrain=retrain,
                repair=repair,
                minutes=minutes,
                **normal,
            )
        asked = replace(asked, left_out=tuple(map(in_python, asked.left_out)))
        sweep = asked.sweep
        workers = trials_at_a_time(sweep.compute)
        with progress_of(sweep.name, sweep.rule, workers, progress) as reporter:
            facts = carry_out(asked, reporter, retry_failed=retry_failed)
    with Store.read(asked.url) as store:
        records = tuple(store.records(sweep.name))
    scores = Path(out) / outputs.SCORES
    table = pd.DataFrame()
    if scores.exists():
        table = pd.read_csv(scores, keep_default_na=False, encoding_errors="surrogateescape")
    return FilterOutcome(
        name=sweep.name, rule=sweep.rule, records=records, facts=facts, scores=table
    )
