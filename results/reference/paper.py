"""The paper's own choices and outcomes, in our settings' names.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Table V (settings, r = 1 %), Table III (ASR
left), Table II (attacks and their detectability) and the numbers that its text gives for figure 5.
Deviation: its weight lambda_R is divided by the number of parameters, as its code does; we turn
kappa = 2 lambda_R / n. Its ASRs were measured on images that skipped normalisation in the authors'
preliminary code: read them as a reference.
"""

from functools import lru_cache
from typing import NamedTuple

from results.reference import load
from trials.spec import MethodConfig, Victim

_COLUMNS = {"cifar10": "cifar10", "imagenet": "imagenet"}  # our dataset -> Table V's column
_DATASETS = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}  # our dataset -> Table III's name
_MODELS = {"resnet18", "torchvision_resnet18"}  # ours that are the paper's ResNet-18
_NAMES = {
    "n_steps": "steps",
    "opt": "optimizer",
    "batch_size": "batch",
    "slol_lambda": "lambda_s",
    "param_lambda": "kappa",
    "power_p": "power",
    "at_lambda": "lambda_at",
    "norm_lambda": "lambda_n",
    "prune_rate": "rho",
    "sampled_batches": "ranking_batches",
}
# 2 lambda_R / n, n = 11.17 and 11.69 million parameters
_KAPPA = {"cifar10": "0.00358", "imagenet": "0.0257"}
# models a side behind a rho (caption of figure 5, section V-D1)
_PER_SIDE = {"cifar10": 10, "imagenet": 3}


class Attacked(NamedTuple):
    """An attack as the paper reports it, fractions; None where it says nothing."""

    m: int
    cda: float | None
    asr: float | None
    rho: float | None
    models: int  # a side, behind rho


@lru_cache
def optimum(defense: str, dataset: str) -> dict[str, str]:
    """Table V's settings of a defense, by our names, as text; empty where the paper has none."""
    if dataset not in _COLUMNS:
        return {}
    found = {}
    for row in load("table5_defense_hparams"):
        if row["defense"] != defense:
            continue
        name, text = str(row["parameter"]), str(row[_COLUMNS[dataset]])
        if name == "weight_decay" and defense == "weight_decay":
            name = "lambda_w"
        found[_NAMES.get(name, name)] = _KAPPA[dataset] if name == "param_lambda" else text
    return found


def attacked(victim: Victim) -> Attacked | None:
    """Table II's row of a victim's attack, or of no attack; None where the paper has no such case:
    another m or boost, a narrower model, part of the images.
    """
    benchmark = _benchmark_of(victim)
    if benchmark is None or len(victim.attacks) > 1:
        return None
    name, m, boost = "none", 0, 0
    for a in victim.attacks:
        name, m, boost = a.name, int(a.params.get("m", 0)), int(a.params.get("boost", 1))
    for row in load("table2_attacks"):
        same = (row["dataset"], row["attack"], int(row["m_poisoned"]), int(row["boost_b"]))
        if same == (benchmark, name, m, boost):
            cda, asr, rho = (float(row[k]) for k in ("cda", "asr", "detectability_auc_cti"))
            return Attacked(m, cda, asr, rho, _PER_SIDE[victim.dataset.name])
    return None


def left(victim: Victim, defense: str, trusted: float) -> float | None:
    """Table III's ASR after the defense, a fraction, where the attack is that of Table II; None
    elsewhere.
    """
    if not victim.attacks or attacked(victim) is None:
        return None
    asked = (_benchmark_of(victim), victim.attacks[0].name, defense, round(100 * trusted, 6))
    for row in load("table3_repair_asr"):
        if (row["dataset"], row["attack"], row["defense"], float(row["r_percent"])) == asked:
            return float(row["remaining_asr"])
    return None


def along_budget(victim: Victim) -> tuple[Attacked, ...]:
    """What the text says of figure 5 for a victim's attack, by rising m: ASR and rho at a few
    budgets.
    """
    benchmark = _benchmark_of(victim)
    if benchmark is None or len(victim.attacks) != 1:
        return ()
    seen: dict[int, dict[str, float]] = {}
    for row in load("prose_and_figure_values"):
        m = row["condition"].removeprefix("m=")
        ours = (benchmark, victim.attacks[0].name) == (row["dataset"], row["attack"])
        if row["where"].startswith("Fig5") and ours and m.isdigit():
            seen.setdefault(int(m), {})[row["quantity"]] = float(row["value"])
    models = _PER_SIDE[victim.dataset.name]
    return tuple(
        Attacked(m, None, said.get("asr"), said.get("auc_cti"), models)
        for m, said in sorted(seen.items())
    )


def whole(dataset: MethodConfig) -> bool:
    """Whether it is all of its training images, at the size that is usual."""
    params, sizes = dataset.params, {"cifar10": 32, "imagenet": 224}
    part = any(params.get(key) for key in ("subset", "classes", "per_class"))
    usual = sizes.get(dataset.name)
    return not part and params.get("imbalance", 1.0) == 1.0 and params.get("size", usual) == usual


def _benchmark_of(victim: Victim) -> str | None:
    """The paper's name of the dataset; None for part of it, or for another model than its ResNet-18
    of width 64.
    """
    wide = victim.model.name in _MODELS and victim.model.params.get("width", 64) == 64
    return _DATASETS.get(victim.dataset.name) if whole(victim.dataset) and wide else None
