"""What is remembered is what would be worked out anew."""

from dataclasses import replace
from statistics import fmean

import synthetic

from results.selection.configurations import configurations, tasks
from results.selection.mean_curves import mean_curve
from results.selection.remembered import once, remembering
from results.selection.rules import RULES, seen_by
from results.selection.winners import winners
from trials.curve import Curve, curve_from
from trials.spec import Point


def test_winners_are_the_same_with_and_without() -> None:
    records = synthetic.sweep(("badnets", "a_patch"), (0.01, 0.05), n=4)
    parts = [records, records[:40], records[40:], [r for r in records if r.trial.trusted < 0.02]]
    plain = [[(winners(p, rule), configurations(p, rule)) for rule in RULES] for p in parts[:3]]
    with remembering():
        for _ in range(2):
            told = [[(winners(p, rule), configurations(p, rule)) for rule in RULES] for p in parts]
            assert told[:3] == plain


def test_a_configuration_is_made_once_for_all_tasks_and_for_its_own() -> None:
    records = synthetic.sweep(("badnets", "a_patch"), (0.01, 0.05), n=2)
    of_one = list(tasks(records).values())[1]
    with remembering():
        whole, part = configurations(records), configurations(of_one)
        assert part and all(any(c is w for w in whole) for c in part)
        assert configurations(records)[0] is whole[0]
        other = configurations(records, "last")
        assert other[0] is not whole[0]
    assert configurations(records)[0] is not whole[0]


def test_lists_of_other_records_are_told_apart() -> None:
    one, two = synthetic.sweep(n=2)[:3], synthetic.sweep(n=2)[:3]
    mixed = [one[0], two[1], one[2]]  # as long, and with the same ends
    with remembering():
        assert once(len, one) == 3
        assert once(lambda records: records[1], one) is one[1]
        found = [once(_second, some) for some in (one, mixed, one)]
    assert found[0] is one[1] and found[1] is two[1] and found[2] is one[1]


def _second(records: list[object]) -> object:
    return records[1]


def test_a_mean_over_seeds_is_the_mean_to_the_last_bit() -> None:
    values = (0.1, 0.7, 0.2000000001, 1 / 3)
    for number in (1, 2, 3, 4):
        curves = []
        for value in values[:number]:
            extra = {"asr/patch": value / 3, "val_cda": value / 7, "asr_0": 0.5}
            curves.append((Point(0, value, value / 5, value / 11, extra),))
        (mean,) = mean_curve(curves)
        points = [c[0] for c in curves]
        assert mean.cda == fmean(p.cda for p in points)
        assert mean.asr == fmean(p.asr for p in points)
        assert mean.seconds == fmean(p.seconds for p in points)
        assert mean.extra == {
            name: fmean(p.extra[name] for p in points) for name in ("val_cda", "asr/patch")
        }


def test_curves_in_columns_give_the_same_means_and_points() -> None:
    seeds = [r for r in synthetic.sweep(n=2) if len(r.curve) > 3][:4]
    length = min(len(r.curve) for r in seeds)
    alike = [[replace(p, extra=_KINDS | {"n": p.asr / 3}) for p in r.curve[:length]] for r in seeds]
    columns = list(map(as_columns, alike))
    for number in range(1, len(seeds) + 1):
        plain, column = mean_curve(alike[:number]), mean_curve(columns[:number])
        assert isinstance(column, Curve) and column == plain and tuple(plain) == column
        for rule, take in RULES.items():
            seen, other = (seen_by(rule, c, "tuning") for c in (column, plain))
            assert seen == other
            assert [take(seen, d) for d in (0.0, 0.02, 1.0)] == [
                take(other, d) for d in (0.0, 0.02, 1.0)
            ]
    mixed = [columns[0], as_columns(alike[1][1:])]  # other steps
    assert mean_curve(mixed) == mean_curve([alike[0], alike[1][1:]])


_KINDS = {"val_cda": 0.9, "asr/patch": 0.25, "asr/warp": 0.125}


def as_columns(points: list[Point]) -> Curve:
    besides = {name: [p.extra[name] for p in points] for name in points[0].extra}
    columns = ([p.step for p in points], [p.cda for p in points], [p.asr for p in points])
    return curve_from(*columns, [p.seconds for p in points], besides)
