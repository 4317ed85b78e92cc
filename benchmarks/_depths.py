"""What ``benchmarks.depth`` measures of victims and copies, in a table."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from results.stats.correlation import correlation
from results.stats.intervals import bootstrap

TRAINED_IN = "trained in"  # in place of a scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was measured of a victim or of one of its copies; rates are fractions.

    Attributes:
        scheme: by which the copy was poisoned; ``trained in`` of the victim itself.
        asr, cda: of its own backdoor, and clean, on test images.
        half_life: steps of fine-tuning until half of the ASR is left, at most all; of the
            victim by the same images ``half_life_real``.
        real_asr: ASR of the victim's attack on it.
        repair: whose figures follow; the others are the same in each of a model's rows.
        eta: ASR of its own backdoor after that repair.
        eta_real: that of the victim's, of the victim.
        shift: distance of what the repair changes from what it changes in the victim.
    """

    victim: str
    attack: str
    victim_seed: int
    trusted: float
    seed: int
    scheme: str
    copy: int
    kind: str
    asr: float
    cda: float
    half_life: int
    half_life_real: int
    real_asr: float
    repair: str
    eta: float
    eta_real: float
    shift: float


def table(found: Sequence[Seen]) -> list[str]:
    """What each scheme's copies are like, beside the victims themselves, in Markdown."""
    lines = [
        "| models | victims | ASR (%) | half-life (steps), median | shallower than the victim "
        "| the victim's ASR (%), mean and least | lower than on the victim (pp) "
        "| shift and error: Kendall τ by repair |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for scheme in dict.fromkeys(one.scheme for one in found):
        rows = [one for one in found if one.scheme == scheme]
        mine = list({(*_model(one), one.copy): one for one in rows}.values())
        victims, asr = {one.victim for one in mine}, fmean(one.asr for one in mine)
        life = median(one.half_life for one in mine)
        cells = [scheme, str(len(victims)), f"{100 * asr:.0f}", f"{life:.0f}"]
        if scheme != TRAINED_IN:
            less = sum(one.half_life < one.half_life_real for one in mine)
            rates = [one.real_asr for one in mine]
            cells.append(f"{less} of {len(mine)}")
            cells.append(f"{100 * fmean(rates):.0f}, {100 * min(rates):.0f}")
            cells += [_lost(mine, found), _taus(rows)]
        lines.append(f"| {' | '.join([*cells, *[''] * (8 - len(cells))])} |")
    return lines


def _model(one: Seen) -> tuple[str, float, int]:
    return one.victim, one.trusted, one.seed


def _lost(mine: Sequence[Seen], found: Sequence[Seen]) -> str:
    """How far the victim's ASR is lower on its copies, the mean over victims."""
    whole = {_model(one): one.asr for one in found if one.scheme == TRAINED_IN}
    each: dict[tuple[str, float, int], list[float]] = defaultdict(list)
    for one in mine:
        each[_model(one)].append(100 * (whole[_model(one)] - one.real_asr))
    drops = [fmean(drop) for drop in each.values()]
    if len(drops) < 2:
        return f"{drops[0]:.0f}"
    low, high = bootstrap(drops)
    return f"{fmean(drops):.0f} ({low:.0f} to {high:.0f})"


def _taus(rows: Sequence[Seen]) -> str:
    """Of the distance and the error over all copies, for each repair."""
    told = []
    for name in dict.fromkeys(one.repair for one in rows):
        some = [one for one in rows if one.repair == name]
        errors = [abs(one.eta - one.eta_real) for one in some]
        tau = correlation([one.shift for one in some], errors, "kendall", draws=1).value
        told.append("-" if tau is None else f"{tau:.2f}")
    return ", ".join(told)
