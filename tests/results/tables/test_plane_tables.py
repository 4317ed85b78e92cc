"""Tables and figures of the plane, the paper's numbers beside ours, and LaTeX."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plane_records
import pytest
import synthetic
from plane_records import detected, repaired, trained, victim

from results.export.latex import escape, latex
from results.figures import budget, histograms, tradeoff_m
from results.figures import plane as plane_figure
from results.figures._attacks import attack_looks
from results.reference import paper
from results.report.html_table import report_table
from results.report.sections import sections
from results.stats.intervals import Interval
from results.tables import (
    detectability,
    detectors,
    matched,
    pipelines,
    plane,
    rivals,
    table2,
    table3,
    table5,
    transfer,
    trends,
)
from results.tables._ranges import less
from trials import catalog
from trials.spec import MethodConfig, Record, Victim

TABLES = (plane, rivals, matched, detectability, detectors, table2, table3, trends, transfer)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return plane_records.sweep(
        seeds=8, attacks={k: plane_records.ATTACKS[k] for k in ("badnets", "adv")}, whole=True
    )


@pytest.mark.parametrize("module", TABLES)
def test_no_records_give_an_empty_table_with_its_columns(module: object) -> None:
    frame = module.table([])  # type: ignore[attr-defined]
    assert frame.empty
    assert tuple(frame.columns) == module.COLUMNS  # type: ignore[attr-defined]


@pytest.mark.parametrize("module", [t for t in TABLES if t is not transfer])
def test_every_table_has_rows_fits_the_page_and_survives_repetition(
    module: object, records: list[Record]
) -> None:
    frame = module.table(records)  # type: ignore[attr-defined]
    assert not frame.empty
    pd.testing.assert_frame_equal(module.table(records + records), frame)  # type: ignore[attr-defined]
    page = report_table(frame, "a table")
    assert page is not None
    assert len(page.rows) == len(frame)
    for row in page.rows:
        assert not any(re.search(r"nan|None|0x", e.text) for e in row)


def test_table_two_stands_beside_the_papers_only_at_its_own_budget(records: list[Record]) -> None:
    frame = table2.table(records)
    rows = frame[frame["detector"] == "calibrated_inversion"].set_index("attack")
    assert rows.loc["badnets (m = 50)", "paper's ρ"] == 0.76
    assert rows.loc["badnets (m = 50)", "paper's ASR (%)"] == 100.0
    assert rows.loc["badnets (m = 500)", "paper's ASR (%)"] is None
    assert rows.loc["adv (m = 500)", "paper's ρ"] == 0.68
    other = frame[frame["detector"] == "neural_cleanse"]
    assert other["paper's ρ"].isna().all()
    first = frame.iloc[0]
    assert (first["attack"], first["paper's CDA (%)"]) == ("clean", 95.3)
    assert (first["ASR (%)"], first["paper's ASR (%)"], first["ρ (AUC)"]) == (None, None, None)


def test_a_difference_has_the_papers_uncertainty_too(records: list[Record]) -> None:
    row: Any = (
        table2.table(records)
        .set_index(["attack", "detector"])
        .loc[("badnets (m = 50)", "calibrated_inversion")]
    )
    assert row["ρ difference"] == pytest.approx(row["ρ (AUC)"] - 0.76, abs=1e-9)

    def width(text: str) -> float:
        low, high = (float(v.replace("\u2212", "-")) for v in text.split(" – "))
        return high - low

    assert width(row["ρ difference 95 % interval"]) > width(row["ρ 95 % interval"]) + 0.05
    asr = row["ASR difference 95 % interval (pp)"]
    assert width(asr) == pytest.approx(width(row["ASR 95 % interval (%)"]), abs=0.2)


def test_an_interval_of_a_difference_recovers_the_normal_one() -> None:
    ours, theirs = Interval(0.6 - 0.03, 0.6 + 0.03), Interval(0.5 - 0.04, 0.5 + 0.04)
    assert less(0.6, 0.5, ours, theirs) == pytest.approx((0.1 - 0.05, 0.1 + 0.05))
    assert less(0.6, 0.5, ours, None) == pytest.approx((0.07, 0.13))
    assert less(0.6, None, ours, None) is None


def test_table_three_quotes_the_paper_at_the_budget_of_its_table_two(records: list[Record]) -> None:
    frame = table3.table(records).set_index(["attack", "defense"])
    assert frame.loc[("badnets (m = 50)", "weight_decay"), "paper's η (%)"] == 13.0
    assert frame.loc[("badnets (m = 500)", "weight_decay"), "paper's η (%)"] is None
    assert set(frame["rule"]) == {"frozen"}
    assert set(table3.table(records, rule="oracle")["rule"]) == {"oracle"}
    row: Any = frame.loc[("badnets (m = 50)", "weight_decay")]
    assert row["η difference (pp)"] == pytest.approx(row["η (%)"] - 13.0, abs=0.011)
    assert row["CDA lost (pp)"] == pytest.approx(1.3)


def test_the_pipelines_table_tells_the_triggers_part_from_the_pipelines() -> None:
    rows = [trained(victim("badnets", 50, s, pipeline="post_aug"), 0.9, 0.1 * s) for s in range(3)]
    assert not len(pipelines.table(rows))
    for s in range(3):
        asked = trained(victim("badnets", 50, s, pipeline="release"), 0.9, 1.0)
        rows.append(
            replace(
                asked,
                metrics={**asked.metrics, "asr_no_trigger": 0.9 + 0.05 * s, "asr_normalised": 0.04},
            )
        )
    post, release = pipelines.table(rows).to_dict("records")
    assert (post["pipeline"], post["ASR as trained (%)"], post["victims"]) == ("post_aug", 10.0, 3)
    assert (post["not normalised, no trigger (%)"], post["normalised, trigger (%)"]) == (None, None)
    assert (release["not normalised, no trigger (%)"], release["normalised, trigger (%)"]) == (
        95.0,
        4.0,
    )
    assert release["not normalised, no trigger 95 % interval (%)"] is not None


def test_the_wide_table_has_a_column_for_each_r() -> None:
    curve = [(0, 0.94, 1.0), (500, 0.93, 0.123)]
    of = victim("badnets", 50)
    extra = repaired(of, [curve[0], (500, 0.93, 0.05)], trusted=0.05)
    wide = table3.wide(table3.table([repaired(of, curve, trusted=0.01), extra]))
    assert list(wide.columns) == ["dataset", "model", "attack", "defense", "r = 1 %", "r = 5 %"]
    assert wide.iloc[0][["r = 1 %", "r = 5 %"]].tolist() == ["12.3 (13)", "5.0 (9)"]


def test_table_five_has_theirs_beside_ours() -> None:
    curve = [(0, 0.95, 1.0), (50, 0.95, 0.5)]
    record = synthetic.tuned(curve, "tuning", "pivotal_tuning", {"lr": 0.03, "steps": 1000})
    frame = table5.table([record]).set_index("setting")
    assert (frame.loc["lr", "cifar10"], frame.loc["lr", "cifar10, paper"]) == ("0.03", "0.01")
    assert frame.loc["lambda_s", "cifar10"] is None
    assert list(table5.table([]).columns) == [*table5.KEYS, "rule"]
    two = [synthetic.tuned(curve, "tuning", "nad", {"lr": lr}, of=synthetic.victim(seed=i))
           for i, lr in enumerate((0.1, 0.2))]  # fmt: skip
    assert table5.table(two).set_index("setting").loc["lr", "cifar10"] == "0.1 / 0.2"


def test_the_front_in_the_table_is_that_of_its_own_kind(records: list[Record]) -> None:
    frame = plane.table(records)
    assert len(frame) == 2 * 3 * 3 * 2
    for _, group in frame.groupby(["defense", "detector"]):
        edge = group[group["on the front"].astype(bool)]
        assert len(edge)
        for _, row in group[~group["on the front"].astype(bool)].iterrows():
            beats = (edge["η: ASR left (%)"] >= row["η: ASR left (%)"]) & (
                edge["ρ (AUC)"] <= row["ρ (AUC)"]
            )
            assert beats.any()


def test_the_papers_numbers_are_found_under_our_names() -> None:
    assert paper.attacked(victim("adv", 500)) == (500, 0.947, 0.98, 0.68, 10)
    assert [(k.m, k.asr, k.rho) for k in paper.along_budget(victim("badnets"))] == [
        (5, 0.69, 0.56),
        (20, 0.99, 0.8),
    ]
    imagenet = replace(
        victim("adv", 300),
        dataset=MethodConfig("imagenet"),
        model=MethodConfig("torchvision_resnet18"),
    )
    assert paper.attacked(replace(imagenet, attacks=())) is not None


@pytest.mark.parametrize(
    "other",
    [
        replace(victim("badnets", 50), model=MethodConfig("resnet18", {"width": 16})),
        replace(victim("badnets", 50), model=MethodConfig("clip_vit_b32")),
        replace(victim("badnets", 50), dataset=MethodConfig("cifar10", {"subset": 3000})),
        replace(victim("badnets", 50), dataset=MethodConfig("cifar10", {"size": 16})),
        replace(victim("badnets", 50), dataset=MethodConfig("cifar10", {"imbalance": 0.1})),
        *(
            replace(victim("badnets", 50), dataset=MethodConfig("imagenet", {key: n}))
            for key, n in (("classes", 10), ("per_class", 20), ("size", 64))
        ),
        replace(victim("badnets", 50), dataset=MethodConfig("digits")),
        replace(victim("badnets", 50), attacks=2 * victim("badnets", 50).attacks),
        victim("badnets", 50, boost=2),
        victim("badnets", 51),
    ],
    ids=[
        "narrow",
        "clip",
        "subset",
        "size",
        "imbalance",
        "classes",
        "per_class",
        "imagenet's size",
        "digits",
        "two attacks",
        "boost",
        "m",
    ],
)
def test_a_case_that_is_not_the_papers_has_no_number_of_the_papers(other: Victim) -> None:
    assert paper.attacked(victim("badnets", 50)) is not None
    assert paper.left(victim("badnets", 50), "weight_decay", 0.01) == 0.13
    assert paper.attacked(other) is None
    assert paper.left(other, "weight_decay", 0.01) is None


def test_figures_draw_what_is_there_and_take_no_records(records: list[Record]) -> None:
    drawn = plane_figure.figure(records, defense="weight_decay", detector="neural_cleanse")
    assert {t.name for t in drawn.data if t.showlegend is not False} == {
        "adv",
        "badnets",
        "front of data poisoning",
    }
    (marks,) = [t for t in drawn.data if t.name == "adv"]
    frame = plane.table(records)
    rows = frame[
        (frame["defense"] == "weight_decay") & (frame["detector"] == "neural_cleanse")
    ].set_index("attack")
    assert sorted(marks.x) == pytest.approx(
        sorted(rows["η: ASR left (%)"].filter(like="adv").astype(float)), abs=0.01
    )
    assert {"adv", "badnets"} <= {t.name for t in budget.figure(records).data}
    for empty in (plane_figure.figure([]), budget.figure([]), histograms.figure([])):
        assert not empty.data
    assert not tradeoff_m.figure(records, attack="nobody", defense="weight_decay").data


def test_each_front_has_a_band_around_it(records: list[Record]) -> None:
    drawn = plane_figure.figure(records, defense="weight_decay", detector="neural_cleanse")
    (front,) = [t for t in drawn.data if t.name.startswith("front") and t.fill != "toself"]
    (around,) = [t for t in drawn.data if t.fill == "toself"]
    assert around.name == front.name
    x, y = np.array(around.x), np.array(around.y)
    assert abs(np.trapezoid(y, x)) > 0.1  # of 100 % times an AUC of 1: wider than nothing
    edges = (x.min(), x.max(), y.min(), y.max())
    assert (
        edges[0] <= min(front.x)
        and edges[1] >= max(front.x)
        and edges[2] <= min(front.y) <= edges[3]
    )
    half = len(x) // 2
    areas = [
        abs(np.trapezoid(1 - np.array(part[1]), part[0]))
        for part in ((x[:half], y[:half]), (x[half:], y[half:]))
    ]
    assert min(areas) < np.trapezoid(1 - np.array(front.y), front.x) < max(areas)


def test_a_plane_of_single_victims_is_drawn() -> None:
    assert plane_figure.figure(plane_records.sweep(seeds=1)).data


def test_an_attack_looks_the_same_in_every_figure_of_a_page(records: list[Record]) -> None:
    # in the budget figure alone
    unscored = [trained(victim("a_blend", 50, s), 0.94, 0.9) for s in range(2)]
    some = [*records, *unscored]
    marks = [
        {t.name: t.marker.color for t in f(some).data if t.marker.color}
        for f in (plane_figure.figure, budget.figure)
    ]
    assert marks[0]["badnets"] == marks[1]["badnets"] and marks[0]["adv"] == marks[1]["adv"]
    every = attack_looks(victim(n) for n in catalog.names("attacks"))
    assert len({(look.colour, look.symbol) for look in every.values()}) == len(every)


def test_the_budget_figure_has_the_papers_values_and_marks_beside_one_another(
    records: list[Record],
) -> None:
    chart = budget.figure(records, detector="neural_cleanse")
    theirs = [t for t in chart.data if t.name == "badnets, the paper"]
    assert [list(t.x) for t in theirs] == [[5, 20], [5, 20]]
    lines = [t for t in chart.data if t.name in ("adv", "badnets")]
    assert len(lines) == 4
    assert all(list(t.customdata) == list(plane_records.BUDGETS) for t in lines)
    assert len({t.x[0] for t in lines}) == 2


def test_an_attack_with_other_settings_besides_m_has_a_line_of_its_own() -> None:
    some = [
        trained(victim("badnets", m, s, pipeline=p), 0.9, rate)
        for m, rate in ((5, 0.1), (20, 0.9))
        for p in ("release", "post_aug")
        for s in range(2)
    ]
    lines = {t.name: t for t in budget.figure(some).data}
    assert set(lines) == {
        "badnets, pipeline = post_aug",
        "badnets, pipeline = release",
        "badnets, the paper",
    }
    assert all(
        list(t.y) == pytest.approx([10, 90]) for name, t in lines.items() if "pipeline" in name
    )
    assert len({t.marker.color for name, t in lines.items() if "pipeline" in name}) == 2


def test_without_a_detector_the_budget_figure_has_no_empty_panel() -> None:
    chart = budget.figure([trained(victim("badnets", m), 0.9, 0.9) for m in (5, 20)])
    assert {t.yaxis for t in chart.data} == {"y"} and "yaxis2" not in chart.to_plotly_json()[
        "layout"
    ]


def test_runs_at_several_r_lie_in_figures_of_their_own() -> None:
    curve = [(0, 0.94, 1.0), (50, 0.92, 0.4)]
    runs = [repaired(victim("adv", m), curve, trusted=r) for m in (50, 500) for r in (0.01, 0.05)]
    made_victims = [trained(victim("adv", m), 0.94, 1.0) for m in (50, 500)]
    found = sections([*made_victims, *runs], "min_asr_within_delta")
    assert found is not None
    titles = [c.title for c in found["tradeoffs"]]
    assert titles == ["weight_decay against adv, r = 1 %", "weight_decay against adv, r = 5 %"]
    assert all("1 victim" in c.json and "2 victims" not in c.json for c in found["tradeoffs"])


def test_the_tradeoff_has_a_line_a_budget_and_a_shade_of_one_deviation() -> None:
    runs = [repaired(victim("adv", m, s), [(0, 0.94, 1.0), (50, 0.92, 0.4 + 0.1 * s)], stop_at=0)
            for m in (50, 500) for s in (0, 2)]  # fmt: skip
    chart = tradeoff_m.figure(runs, attack="adv", defense="weight_decay")
    assert [t.name for t in chart.data if t.showlegend is not False] == [
        "m = 50 (2 victims)",
        "m = 500 (2 victims)",
    ]
    shade, line = chart.data[:2]
    assert list(line.x) == pytest.approx([100, 50])
    assert (min(shade.x), max(shade.x)) == pytest.approx((50 - 10 * math.sqrt(2), 100))
    frozen = repaired(victim("adv", 50), [(0, 0.94, 1.0), (500, 0.92, 0.0)])
    assert len(tradeoff_m.figure([*runs, frozen], attack="adv", defense="weight_decay").data) == 4


def test_names_that_try_to_be_markup_are_escaped_in_figures() -> None:
    bad, curve = "<img src=x>", [(0, 0.94, 1.0), (500, 0.93, 0.1)]
    records = [detected(victim(seed=s), float(s), bad) for s in range(3)]
    records += [detected(victim(bad, 50, s), 2.0, bad) for s in range(2)]
    records += [repaired(victim(bad, 50, s), curve, bad) for s in range(2)]
    records += [repaired(victim(bad, 50, s), curve, bad, stop_at=0) for s in range(2)]
    records += [trained(victim(bad, 50, s), 0.9, 0.5) for s in range(2)]
    charts = [
        plane_figure.figure(records),
        budget.figure(records),
        tradeoff_m.figure(records, attack=bad, defense=bad),
    ]
    for chart in charts:
        assert chart.data
        assert "<img" not in chart.to_json().replace("\\u003c", "<")


def test_latex_escapes_every_sign_that_it_would_take_for_a_command() -> None:
    text = r"50% & a_b $x$ #1 {y} ~ ^ \input|<>"
    assert escape(text) == (
        r"50\% \& a\_b \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{}input\textbar{}"
        r"\textless{}\textgreater{}"
    )
    tasks = {"at_tack": ["a_blend", "x & y"], "ρ (AUC)": [0.765, None], "η (%)": [3.0, -0.42]}
    frame = pd.DataFrame(tasks, dtype=object)
    said = latex(frame, "100 % & more", "tab:x_1 }")
    assert r"\begin{tabular}{lrr}" in said
    assert r"at\_tack & $\rho$ (AUC) & $\eta$ (\%) \\" in said
    assert r"a\_blend & 0.765 & 3.0 \\" in said
    assert r"x \& y & -- & $-$0.4 \\" in said
    assert r"\caption{100 \% \& more}" in said
    assert r"\label{tab:x-1--}" in said


def test_every_table_becomes_latex_with_one_cell_a_column(records: list[Record]) -> None:
    for module in (plane, rivals, matched, detectability, detectors, table2, table3, trends):
        frame = module.table(records)
        said = latex(frame, module.__name__, "tab:x")
        body = said.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
        assert len(body) == len(frame)
        assert {len(re.split(r"(?<!\\)&", line)) for line in body} == {len(frame.columns)}
        assert said.isascii()


def test_small_negative_numbers_are_not_minus_nothing() -> None:
    said = latex(pd.DataFrame({"x (%)": [np.float64(-0.01), -0.06]}, dtype=object), "", "")
    assert said.splitlines()[8:10] == ["0.0 " + "\\\\", "$-$0.1 " + "\\\\"]
