"""The paper's own choices and outcomes for a defense, in our settings' names.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Table V (settings, r = 1 %) and Table III (ASR left).
Deviation: its weight lambda_R is divided by the number of parameters, as its code does; we turn kappa = 2 lambda_R / n.
Its ASRs were measured on images that skipped normalisation in the authors' preliminary code: read them as a reference.
"""

from functools import lru_cache

from results.reference import load

_COLUMNS = {"cifar10": "cifar10", "imagenet": "imagenet"}  # our dataset -> Table V's column
_DATASETS = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}  # our dataset -> Table III's name
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
_KAPPA = {"cifar10": "0.00358", "imagenet": "0.0257"}  # 2 lambda_R / n, n = 11.17 and 11.69 million parameters


@lru_cache
def optimum(defense: str, dataset: str) -> dict[str, str]:
    """Table V's settings of a defense, by our names, as text; empty where the paper has none."""
    if dataset not in _COLUMNS:
        return {}
    found = {}
    for row in load("table5_defense_hparams").to_dict("records"):
        if row["defense"] != defense:
            continue
        name, text = str(row["parameter"]), str(row[_COLUMNS[dataset]])
        if name == "weight_decay" and defense == "weight_decay":
            name = "lambda_w"
        found[_NAMES.get(name, name)] = _KAPPA[dataset] if name == "param_lambda" else text
    return found


@lru_cache
def left(dataset: str, model: str, attack: str, defense: str, trusted: float) -> float | None:
    """Table III's ASR after the defense, a fraction; None where the paper has no such cell."""
    for row in load("table3_repair_asr").to_dict("records"):
        same = (row["dataset"], row["model"], row["attack"], row["defense"])
        if same == (_DATASETS.get(dataset), model, attack, defense) and float(row["r_percent"]) == round(
            100 * trusted, 6
        ):
            return float(row["remaining_asr"])
    return None
