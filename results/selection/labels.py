"""How things are called and numbers are written, the same in every table, figure and page."""

from results.stats.intervals import Interval
from trials.catalog import describe
from trials.spec import (
    OWN,
    RECALL,
    Filtering,
    MethodConfig,
    Scalar,
    SpecError,
    Victim,
)

BUDGET = ("m", "boost", "budget")  # settings of an attack that its label has
RULES_SAID = {
    "worst_kind_within_delta": "lowest ASR of the worst kind of trigger within Δ",
    "mean_within_delta": "lowest mean ASR over the kinds of trigger within Δ",
    "reconstructed_within_delta": (
        "lowest ASR of the reconstructed trigger within Δ, or of the worst kind of trigger"
    ),
    "worst_trigger_within_delta": (
        "lowest ASR within Δ of the trigger of which most is left, planted or reconstructed"
    ),
    "min_asr_within_delta": "lowest ASR within Δ",
    "last_before_delta": "last point before the CDA falls by Δ",
    "last": "last recorded step",
    "frozen": "the settings and the step that tuning chose",
    "oracle": "oracle: lowest test ASR within Δ, seen by nobody but the judge",
}


def percent(value: float, digits: int = 1) -> str:
    """A fraction as a percentage, without its sign: 0.034 is '3.4'."""
    text = f"{100 * value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def percents(interval: Interval | None) -> str | None:
    """An interval as '0.9 - 8.2' percent, with an en dash."""
    return None if interval is None else f"{percent(interval.low)} – {percent(interval.high)}"


def value(given: Scalar) -> str:
    """A setting's value, as short as it stays exact to six digits."""
    return f"{given:g}" if isinstance(given, float) else str(given)


def settings(config: MethodConfig) -> str:
    """'lr = 0.01, steps = 2000'; empty where there are none."""
    return ", ".join(f"{k} = {value(v)}" for k, v in config.params.items())


def short(kind: str, config: MethodConfig) -> str:
    """'resnet18:width=16', 'torchvision:vgg11': a method of this kind with those of its settings
    that are not its defaults, but for places of files.
    """
    try:
        known = describe(kind, config.name).settings
    except SpecError:
        known = {}
    usual = {name: setting.default for name, setting in known.items()}
    said = [
        f"{value(v)}" if k == "arch" else f"{k}={value(v)}"
        for k, v in config.params.items()
        if k not in config.files and not (k in usual and usual[k] == v)
    ]
    return f"{config.name}:{','.join(said)}" if said else config.name


def rejection(filtering: Filtering) -> str:
    """What decides how much is removed, as it is read."""
    reject = filtering.reject
    told = "its own rule" if reject == OWN else reject
    if not isinstance(told, str):
        told = f"{value(100 * told)} %"
    if reject == RECALL:
        told = f"recall {value(100 * (1 - float(filtering.threshold.get('beta', 0.1))))} %"
    quota = filtering.threshold.get("quota")
    return f"{told}, {quota}" if quota else told


def last_line(error: str | None) -> str | None:
    """What a traceback ends with; None where there is none."""
    lines = (error or "").strip().splitlines()
    return lines[-1] if lines else None


def attack(victim: Victim) -> str:
    """'badnets (m = 50)', 'badnets + wanet', or 'clean'; of the settings only the budget, a boost
    of 1 left out.
    """
    shown = []
    for a in victim.attacks:
        said = [k for k in BUDGET if k in a.params and (k, a.params[k]) != ("boost", 1)]
        budget = [f"{k} = {value(a.params[k])}" for k in said]
        shown.append(f"{a.name} ({', '.join(budget)})" if budget else a.name)
    return " + ".join(shown) or "clean"


def of_attack(one: str, victim: Victim) -> str:
    """'badnets in badnets (m = 50) + wanet', one of several attacks; all of them for ''."""
    return f"{one} in {attack(victim)}" if one else attack(victim)


def victim_name(victim: Victim) -> str:
    """'cifar10, resnet18, badnets (m = 50), seed 0'."""
    return f"{victim.dataset.name}, {victim.model.name}, {attack(victim)}, seed {victim.seed}"
