"""η by victim: the ASR that a defense leaves on each repetition of an attack.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, sections V-B and V-E.
Deviation: η is a mean over victims with its interval over them; a victim met with several seeds
counts once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from results.selection.configurations import of_game, on_all_rows
from results.selection.disambiguation import panels
from results.selection.grouping import AttackConfig, attack_config_of, benchmark_of, budget
from results.selection.rules import curve_of, delta_of, pick
from trials.spec import MethodConfig, Point, Record, Trial, Victim

FROZEN = "frozen"  # the settings and the step that tuning chose, run as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualAsr:
    """One attack after one defense; fractions by victim's id, each a mean over the defense's own
    seeds.
    """

    attack_config: AttackConfig
    victim: Victim  # one of them
    defense: MethodConfig
    trusted: float  # r
    panel: str  # id of what is held against every attack: the defense, r, the game's settings
    rule: str
    eta: Mapping[str, float]
    cda: Mapping[str, float]
    asr0: Mapping[str, float]  # before the defense
    cda0: Mapping[str, float]
    delta: float  # the loss of CDA that the game allows, a fraction
    refused: int  # finished rows without a curve, or with a measurement that is not finite
    failed: int

    @property
    def m(self) -> int | None:
        return budget(self.victim)

    @property
    def cost(self) -> float:
        """CDA that the defense took, the mean over victims."""
        return fmean(self.cda0[k] - self.cda[k] for k in self.cda)


def residual_asrs(records: Iterable[Record], rule: str | None = None) -> list[ResidualAsr]:
    """Every attack after every defense.

    Args:
        records: those of the robustness game count, on victims that were trained on all rows.
        rule: ``frozen`` reads the runs that tuning stopped (and those of ``none``, which needs no
            stop), a rule's name the whole runs, which it stops. None is ``frozen`` where there are
            such runs, else ``last_before_delta``.

    Raises:
        SpecError: unknown rule.
    """
    played = [
        r
        for r in on_all_rows(of_game(records, "robustness"))
        if r.trial.method is not None and r.trial.victim.attacks
    ]
    rule = rule or usual(played)
    played = [r for r in played if _counts(r, rule)]
    of = panels([r.trial for r in played], _coarse if rule == FROZEN else _fine, _fine)
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for r in played:
        groups[of[r.trial.id], attack_config_of(r.trial.victim).attack].append(r)
    found = [_residual_asr(panel, group, rule) for (panel, _), group in groups.items()]
    return sorted(
        found,
        key=lambda x: (
            x.attack_config.benchmark,
            x.trusted,
            x.defense.name,
            x.panel,
            x.m or 0,
            x.attack_config,
        ),
    )


def usual(records: Iterable[Record]) -> str:
    """The rule that these records call for."""
    return (
        FROZEN if any(r.trial.game.params.get("stop_at") for r in records) else "last_before_delta"
    )


def _counts(record: Record, rule: str) -> bool:
    stopped = bool(record.trial.game.params.get("stop_at"))
    assert record.trial.method is not None
    return stopped == (rule == FROZEN) or record.trial.method.name == "none"


def _coarse(t: Trial) -> object:
    """Settings and steps that tuning chose for each victim apart are one defense."""
    return [benchmark_of(t.victim), t.trusted, t.method.name if t.method else ""]


def _fine(t: Trial) -> object:
    return [_coarse(t), t.method.identity() if t.method else "", t.game.identity()]


def _residual_asr(panel: str, group: list[Record], rule: str) -> ResidualAsr:
    trial = min((r.trial for r in group), key=lambda t: (t.victim.seed, t.id))
    assert trial.method is not None
    first: dict[str, list[Point]] = defaultdict(list)  # by victim
    last: dict[str, list[Point]] = defaultdict(list)
    for r in group:
        if (seen := _ends(r, rule)) is not None:
            first[r.trial.victim.id].append(seen[0])
            last[r.trial.victim.id].append(seen[1])
    done = sum(r.status == "done" for r in group)
    return ResidualAsr(
        attack_config=attack_config_of(trial.victim),
        victim=trial.victim,
        defense=trial.method,
        trusted=trial.trusted,
        panel=panel,
        rule=rule,
        eta={k: _mean_asr(ends) for k, ends in last.items()},
        cda={k: _mean_cda(ends) for k, ends in last.items()},
        asr0={k: _mean_asr(starts) for k, starts in first.items()},
        cda0={k: _mean_cda(starts) for k, starts in first.items()},
        delta=min(map(delta_of, group)),
        refused=done - sum(map(len, last.values())),
        failed=len(group) - done,
    )


def _ends(record: Record, rule: str) -> tuple[Point, Point] | None:
    """The first and the chosen point; None for a frozen run that did not reach its step, or where a
    measurement is not finite.
    """
    if rule == FROZEN and not _arrived(record):
        return None
    try:
        picked = pick(record, "last" if rule == FROZEN else rule)
    except ValueError as problem:
        if "not finite" in str(problem):
            return None
        raise
    return None if picked is None else (curve_of(record)[0], picked.point)


def _arrived(record: Record) -> bool:
    """True where a frozen run reached the step at which it is to stop."""
    return max((p.step for p in record.curve), default=-1) >= int(
        record.trial.game.params.get("stop_at", 0)
    )


def _mean_asr(points: Iterable[Point]) -> float:
    return fmean(p.asr for p in points)


def _mean_cda(points: Iterable[Point]) -> float:
    return fmean(p.cda for p in points)
