"""A list of attacks inside the list of attacks: one victim of all of them."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep

from results.store import Store
from results.tables import judged, robustness
from sweep.cli import main
from sweep.spec import sweep_file
from trials.spec import SpecError, Victim

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "two-attacks.toml"


def victims(attacks: list[Any], **changes: Any) -> tuple[Victim, ...]:
    victim = {**tiny_sweep.VICTIM, "attacks": attacks, **changes}
    return tiny_sweep.sweep(victim=victim).victims


def names(found: tuple[Victim, ...]) -> list[list[str]]:
    return [[a.name for a in v.attacks] for v in found]


def test_a_list_in_the_list_is_one_victim_and_the_list_itself_an_axis() -> None:
    found = victims(["none", "badnets", ["badnets", {"name": "a_blend", "m": 50}]])
    assert names(found) == [[], ["badnets"], ["badnets", "a_blend"]]
    assert found[2].attacks[1].params["m"] == 50


def test_lists_of_settings_are_axes_there_too() -> None:
    found = victims([[{"name": "badnets", "m": [10, 20]}, {"name": "a_blend", "m": [30, 40]}]])
    pairs = [tuple(a.params["m"] for a in v.attacks) for v in found]
    assert pairs == [(10, 30), (10, 40), (20, 30), (20, 40)]


def test_one_attack_in_a_list_of_its_own_is_the_victim_that_it_was() -> None:
    assert victims([["badnets"]]) == victims(["badnets"])


def test_targets_are_dealt_to_the_attacks_in_turn() -> None:
    found = victims([["badnets", "a_blend"]], targets=[3, 7, 5], seeds=[0, 1])
    assert [[a.params["target"] for a in v.attacks] for v in found] == [[3, 7], [7, 5]]


@pytest.mark.parametrize(
    ("attacks", "targets"),
    [
        (["badnets", "a_blend", "patch4"], [0, 1, 2]),
        (["badnets", "patch4", "single_pixel", "narcissus"], [0, 1, 3, 2]),
        ([{"name": "badnets", "target": 1}, "a_blend", "patch4"], [1, 0, 2]),
        ([{"name": "badnets", "target": 1}, {"name": "a_blend", "target": 1}], [1, 1]),
    ],
)
def test_attacks_that_name_no_target_get_different_ones(
    attacks: list[Any], targets: list[int]
) -> None:
    (found,) = victims([attacks])
    assert [a.params["target"] for a in found.attacks] == targets


def test_a_victim_of_one_attack_keeps_its_default_target() -> None:
    found = victims(["badnets", "narcissus", ["patch4"]])
    assert [v.attacks[0].params["target"] for v in found] == [0, 2, 0]


@pytest.mark.parametrize(
    ("inner", "says"),
    [
        ([], "empty list"),
        (["badnets", "none"], "neither none nor seeds"),
        (["badnets", {"name": "wanet", "seeds": [1]}], "neither none nor seeds"),
        (["badnets", ["wanet"]], "must be a table"),
        (["badnets", "wonet"], "Did you mean 'wanet'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(inner: list[Any], says: str) -> None:
    with pytest.raises(SpecError, match=says) as told:
        victims([inner])
    assert len(str(told.value).splitlines()) == 1


def test_the_rule_of_one_asr_is_one_of_three() -> None:
    assert tiny_sweep.sweep(asr_of="mean").asr_of == "mean"
    with pytest.raises(SpecError, match="unknown asr_of 'sum'"):
        tiny_sweep.sweep(asr_of="sum")


def short(tmp_path: Path) -> Path:
    """The example with a smaller model and one quick defense."""
    data = tomllib.loads(EXAMPLE.read_text())
    data["victim"]["model"] = {"name": "small_cnn", "width": 8}
    data["victim"]["training"]["epochs"] = 6
    data["tuning"] = {"copies": 1, "record_every": 20, "delta": 0.5}
    data["self_poisoning"] = tiny_sweep.SELF_POISONING
    quick = {"steps": 20, "batch": 32}
    data["defenses"] = [{"name": "fine_tuning", "profile": "small", "limit": 1, "fixed": quick}]
    file = tmp_path / "two.toml"
    file.write_text(tiny_sweep.toml({**data, "name": "two"}))
    return file


def test_a_sweep_of_two_attacks_comes_to_a_report_with_a_row_each(tmp_path: Path) -> None:
    store, page = f"sqlite:///{tmp_path}/store.db", tmp_path / "report.html"
    for words in (["run", str(short(tmp_path)), "--local"], ["report", "--out", str(page)]):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--store", store])
        assert ended.value.code == 0
    with Store.read(store) as opened:
        records = opened.records("two")
    assert {r.status for r in records} == {"done"}
    (real,) = [r for r in records if r.trial.game.name == "robustness"]
    table = judged.table(records)
    rows = table[table["split"] == "real attack: test"].set_index("attack")
    both = "badnets (m = 100) + a_blend (m = 150)"
    each = {name: rows.loc[f"{name} in {both}"] for name in ("badnets", "a_blend")}
    assert len(rows) == 3
    for name, row in each.items():
        assert row["η: ASR left (%)"] == round(100 * real.curve[-1].extra[f"asr/{name}"], 2)
        assert row["triggered images"] == real.metrics[f"n_triggered/{name}"]
        assert f"{name} in badnets" in page.read_text()
    left = [row["η: ASR left (%)"] for row in each.values()]
    assert rows.loc[both]["η: ASR left (%)"] == max(left)


def test_a_sweep_on_the_real_attacks_has_a_row_each_too(tmp_path: Path) -> None:
    file, store = short(tmp_path), f"sqlite:///{tmp_path}/store.db"
    file.write_text('game = "robustness"\n' + file.read_text())
    with pytest.raises(SystemExit) as ended:
        main(["run", str(file), "--local", "--store", store])
    assert ended.value.code == 0
    with Store.read(store) as opened:
        records = opened.records("two")
    (real,) = [r for r in records if r.trial.game.name == "robustness"]
    rows = robustness.table(records, rule="last").set_index("attack")["η: ASR left (%)"]
    both, end = "badnets (m = 100) + a_blend (m = 150)", real.curve[-1]
    wanted = {f"{n} in {both}": end.extra[f"asr/{n}"] for n in ("badnets", "a_blend")}
    assert dict(rows) == {k: round(100 * v, 2) for k, v in {**wanted, both: end.asr}.items()}


def test_the_example_is_a_victim_of_two_attacks() -> None:
    sweep = sweep_file.read(EXAMPLE)
    assert names(sweep.victims) == [["badnets", "a_blend"]]
