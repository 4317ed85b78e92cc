"""Confident learning: rows whose label is improbable to models that were not trained on them.

Source: Northcutt, Jiang, Chuang 2021, 'Confident Learning: Estimating Uncertainty in Dataset
Labels', arXiv:1911.00068: self-confidence of out-of-fold probabilities, and the confident joint,
whose entries off the diagonal are suspect.
Deviation: a control. It looks for wrong labels, so it has to be blind to attacks that leave labels
as they are; and to a backdoor that the models learn from other rows, which makes the wrong label
probable. Trusted images are trained on in every fold.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Generator, Tensor

from trials.filters._passes import logits_of
from trials.filters._tracking import drawn_seed, with_trusted
from trials.spec import PositiveInt, SpecError
from trials.splits import stratified_order
from trials.types import Poisoning
from trials.views import DataView, SampleScores

REJECTS = True


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    form: Literal["self_confidence", "margin"] = "self_confidence",
    folds: PositiveInt = 5,
) -> SampleScores:
    """One minus the probability of the row's label, or the margin by which another is likelier.

    Args:
        view: the rows, and the trusted images, which are trained on with them.
        rng: cuts the folds, draws the models' weights and their batches.
        form: of the score.
        folds: parts of the rows; each is judged by a model that was trained on the others.
    """
    check(view, folds=folds)

    def make() -> dict[str, Tensor]:
        labels = view.train.y.cpu()
        order = stratified_order(labels, torch.arange(len(labels)), rng)
        found = torch.zeros(len(labels), view.train.classes)
        for fold in range(folds):
            held = torch.zeros(len(labels), dtype=torch.bool)
            held[order[fold::folds]] = True
            seen = held.to(view.train.y.device)
            rest = with_trusted(view.train.take(~seen), view.trusted)
            given = Poisoning(replace(rest, x=rest.x.cpu(), y=rest.y.cpu()))
            model = view.fit(view.fresh(drawn_seed(rng)), given, rng)
            found[held] = logits_of(model, view.train.x[seen]).softmax(1)
        return {"probabilities": found}

    name = f"confident_learning: out-of-fold probabilities, folds={folds}"
    probabilities, labels = view.keep(name, make)["probabilities"], view.train.y.cpu()
    own = probabilities.gather(1, labels[:, None])[:, 0]
    others = probabilities.scatter(1, labels[:, None], -1.0).max(1).values
    scores = 1 - own if form == "self_confidence" else others - own
    return SampleScores(scores, confidently_other(probabilities, labels))


def check(view: DataView, /, *, folds: int, **_: object) -> None:
    """Raises SpecError for fewer than two folds, or more than rows."""
    if not 2 <= folds <= len(view.train):
        raise SpecError(
            f"confident_learning: folds must lie in [2, {len(view.train)}], the number of rows, "
            f"got {folds}."
        )


def confidently_other(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Bool (n,): rows that the confident joint counts off its diagonal.

    A class is confident in a row if it has at least the mean probability that rows of its own label
    give it; of several, the likeliest counts, and with none the row is not counted.

    Args:
        probabilities: (n, classes), each row's by a model that was not trained on it.
        labels: int64 (n,), as given.
    """
    classes = probabilities.shape[1]
    thresholds = torch.full((classes,), torch.inf)
    for label in torch.unique(labels).tolist():
        thresholds[label] = probabilities[labels == label, label].mean()
    confident = torch.where(probabilities >= thresholds, probabilities, -1.0)
    best = confident.max(1)
    return (best.values >= 0) & (best.indices != labels)
