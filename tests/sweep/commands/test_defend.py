"""The product in one call, on a small checkpoint of real digits and a folder of PNGs."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from given_model import ARCH, TOML, asked, make, words
from markupsafe import escape
from programs import Program
from safetensors.torch import load_file
from torch import nn

from results.report.page import render
from results.selection import trigger_kinds
from results.selection.forecast import Known
from results.store import Store
from sweep import defend
from sweep.cli import main
from sweep.commands import repair as repair_command
from sweep.commands.asked import DEFENSES, sweep_of
from sweep.commands.repair import apply, choose
from sweep.commands.understanding import limit
from sweep.execution.runner import worker_config_of
from sweep.execution.worker import make_runtime
from sweep.planning import expansion
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, Point, Record

HARMFUL = MethodConfig("fine_tuning", {"lr": 5.0, "steps": 8, "batch": 16})
RUINOUS = MethodConfig("weight_decay", {"lr": 1.0, "steps": 8})
WEAK = MethodConfig("weight_decay", {"lr": 1e-7, "steps": 8})
STRONG = MethodConfig("weight_decay", {"lr": 1e-6, "steps": 8})
HARMLESS = MethodConfig("fine_tuning", {"lr": 1e-6, "steps": 8, "batch": 16})


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def done(given: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("out")
    return out, dict(defend(out=out, **asked(given)))


@pytest.mark.slow
def test_writes_the_repaired_model_the_choice_and_the_report(
    given: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    out, told = done
    assert [Path(f).name for f in told["files"]] == [
        "repaired.safetensors",
        "choice.json",
        "report.html",
    ]
    assert all(Path(f).stat().st_size for f in told["files"])
    choice = json.loads((out / "choice.json").read_text())
    low, high = choice["expected"]["asr_interval_95"]
    assert 0 <= low <= choice["expected"]["asr"] <= high <= 1
    assert choice["expected"]["measured_on"].startswith("report images")
    # delta held on the select images; on the few that did not choose, more may be lost
    assert 0.2 < choice["this_model"]["cda"] <= choice["this_model"]["cda_before"]
    before, after = load_file(given / "model.safetensors"), load_file(out / "repaired.safetensors")
    assert before.keys() == after.keys()
    moved = any(not torch.equal(before[k], after[k]) for k in before)
    assert moved == (choice["stop_at_step"] > 0)


@pytest.mark.slow
def test_only_what_is_applied_is_measured_on_report_images(
    done: tuple[Path, dict[str, Any]],
) -> None:
    out, told = done
    with Store.open(f"sqlite:///{out}/sweep.db", create=False) as store:
        confirmed = store.records("defend", "confirmation")
        assert not store.records("defend", "robustness")
    assert [r.trial.method.name for r in confirmed if r.trial.method] == [told["defense"]]


@pytest.mark.slow
def test_a_second_call_runs_no_trial_and_writes_the_same(
    given: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    out, told = done
    with Store.open(f"sqlite:///{out}/sweep.db", create=False) as store:
        before = {r.trial.id: r.seconds for r in store.records()}
    weights = (out / "repaired.safetensors").read_bytes()
    again = defend(out=out, **asked(given))
    with Store.open(f"sqlite:///{out}/sweep.db", create=False) as store:
        assert {r.trial.id: r.seconds for r in store.records()} == before
    assert (
        again == told
        and not list(out.glob("previous-*"))
        and (out / "repaired.safetensors").read_bytes() == weights
    )


@pytest.fixture(scope="module")
def ctx(given: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, TrialRuntime, Path]:
    """The given model on a runtime, its copies not planted."""
    out = tmp_path_factory.mktemp("model")
    sweep = sweep_of(
        given / "model.safetensors", ARCH, given / "trusted", given / "sweep.toml", size=16
    )
    # so that what a setting costs the given model is not yet known
    sweep = replace(sweep, tuning={**sweep.tuning, "cost": "copies"})
    runtime = make_runtime(worker_config_of(sweep, f"sqlite:///{out}/s.db"))
    assert run(expansion.victims(sweep)[0], runtime).status == "done"
    return sweep, runtime, out


def tuned(
    sweep: Sweep, config: MethodConfig, asr: float, left: Mapping[str, float] | None = None
) -> Record:
    """What tuning would say of a setting that costs nothing, and of each kind of trigger leaves
    what ``left`` says; None: of patches and warps the same.
    """
    trial = expansion.trials_of(
        sweep, expansion.tasks(sweep)[0], catalog.resolve("defenses", config)
    )[0]
    kinds_left = {"patch": asr, "warp": asr} if left is None else left
    after = {f"asr/{kind}": each for kind, each in kinds_left.items()}
    before = dict.fromkeys(after, 1.0)
    curve = (Point(0, 0.9, 1.0, extra=before), Point(8, 0.9, asr, extra=after))
    return Record(
        trial=trial, status="done", curve=curve, metrics={"n_triggered": 50.0, "n_clean": 50.0}
    )


def test_a_winner_that_costs_the_given_model_too_much_is_passed_over(
    ctx: tuple[Sweep, TrialRuntime, Path],
) -> None:
    sweep, runtime, out = ctx
    records = [tuned(sweep, HARMFUL, 0.0), tuned(sweep, MethodConfig("none"), 0.9)]
    chosen = choose(sweep, records, runtime)
    assert chosen.winner and chosen.winner.defense == "none"
    (passed,) = chosen.passed_over
    assert passed["defense"] == "fine_tuning"
    assert passed["cda_of_given_model"] - passed["cda_of_repaired_model"] > chosen.winner.delta
    assert "Passed over" in apply(sweep, chosen, records, runtime, out)[0]["sentence"]
    other = choose(sweep, [tuned(sweep, HARMLESS, 0.0), *records[1:]], runtime).winner
    assert other and other.defense == "fine_tuning"


def test_what_tuning_measured_of_the_given_model_is_not_measured_again(
    ctx: tuple[Sweep, TrialRuntime, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, runtime, _ = ctx
    sweep = replace(sweep, tuning={**sweep.tuning, "cost": "given"})
    monkeypatch.setattr(repair_command, "_repaired", None)  # whoever repairs a model fails
    assert not choose(sweep, [tuned(sweep, HARMFUL, 0.1)], runtime).passed_over
    sweep = replace(sweep, rule="last")  # takes what costs too much as well
    dear = [tuned(sweep, config, 0.1) for config in (HARMFUL, WEAK)]
    ends = [Point(8, cda, 0.1) for cda in (0.2, 0.3)]
    dear = [replace(r, curve=(r.curve[0], end)) for r, end in zip(dear, ends, strict=True)]
    chosen = choose(sweep, dear, runtime)
    assert chosen.winner and chosen.winner.defense == "weight_decay"  # the least costly
    (passed,) = chosen.passed_over
    assert passed["defense"] == "fine_tuning" and passed["cost"] == pytest.approx(0.7)
    assert (passed["cda_of_given_model"], passed["cda_of_repaired_model"]) == (0.9, 0.2)


def test_the_page_names_what_was_applied_and_what_was_passed_over(
    ctx: tuple[Sweep, TrialRuntime, Path],
) -> None:
    sweep, runtime, out = ctx
    records = [tuned(sweep, HARMFUL, 0.0), tuned(sweep, WEAK, 0.3)]
    _, applied = apply(sweep, choose(sweep, records, runtime), records, runtime, out)
    html = render(records, title="t", applied=applied)
    assert applied.winner and applied.winner.defense == "weight_decay"
    assert "the best, weight_decay, stopped at step 8, leaves an ASR of 30.0" in html
    assert re.search(
        r"Passed over, because they cost the given model more accuracy than Δ: fine_tuning "
        r"\([\d.]+ points\)",
        html,
    )


def test_where_every_winner_costs_too_much_the_page_says_so(
    ctx: tuple[Sweep, TrialRuntime, Path],
) -> None:
    sweep, runtime, out = ctx
    records = [tuned(sweep, RUINOUS, 0.0)]
    chosen = choose(sweep, records, runtime)
    assert chosen.winner and (chosen.winner.defense, chosen.passed_over) == ("weight_decay", [])
    choice, _ = apply(sweep, chosen, records, runtime, out)
    assert choice["verdict"] == "too costly" and "do not use it" in choice["sentence"]


def test_the_choice_does_not_see_the_report_images(ctx: tuple[Sweep, TrialRuntime, Path]) -> None:
    sweep, runtime, _ = ctx
    records = [tuned(sweep, HARMFUL, 0.0), tuned(sweep, HARMLESS, 0.5)]
    chosen = choose(sweep, [records[1]], runtime)
    assert chosen.winner and not chosen.passed_over
    trusted = runtime.trusted(chosen.winner.trial)
    passed_over = choose(
        sweep, [records[0], tuned(sweep, MethodConfig("none"), 0.9)], runtime
    ).passed_over
    # a quarter of four fifths: select
    assert passed_over[0]["n"] == pytest.approx(0.2 * len(trusted), abs=2)


def broken(sweep: Sweep, config: MethodConfig) -> Record:
    trial = tuned(sweep, config, 0.0).trial
    return Record(
        trial=trial,
        status="failed",
        error="Traceback\nLookupError: the model has no batch normalisation",
    )


Told = list[tuple[MethodConfig, float | None]]  # defense, ASR that it leaves; None: it failed


def test_a_defense_that_diverges_on_the_given_model_is_passed_over(
    ctx: tuple[Sweep, TrialRuntime, Path], tmp_path: Path
) -> None:
    sweep, runtime, _ = ctx
    records = [tuned(sweep, MethodConfig("weight_decay", {"lr": 1e30, "steps": 8}), 0.0)]
    chosen = choose(sweep, records, runtime)
    choice, applied = apply(sweep, chosen, records, runtime, tmp_path)
    assert chosen.winner is None and chosen.passed_over[0]["cost"] is None
    assert choice["verdict"] == "too costly" and not (tmp_path / "repaired.safetensors").exists()
    assert "every defense that ran diverged on this model" in choice["sentence"]
    assert "diverged on the given model: weight_decay" in render(
        records, title="t", applied=applied
    )


def test_after_a_winner_that_diverges_on_all_its_images_comes_the_next(
    ctx: tuple[Sweep, TrialRuntime, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, runtime, _ = ctx
    records = [tuned(sweep, HARMLESS, 0.0), tuned(sweep, WEAK, 0.3)]
    chosen = choose(sweep, records, runtime)
    true, fitted = repair_command._repaired, list[int]()

    def repaired(*given: Any) -> nn.Module:
        _, winner, _, places = given
        if winner.defense == "fine_tuning":
            fitted.append(len(places))
            broken = true(*given)
            with torch.no_grad():
                next(broken.parameters()).fill_(math.nan)  # as a repair leaves it that diverges
            return broken
        return true(*given)

    monkeypatch.setattr(repair_command, "_repaired", repaired)
    choice, applied = apply(sweep, chosen, records, runtime, tmp_path)
    assert chosen.winner and chosen.winner.defense == "fine_tuning" and len(fitted) == 1
    assert applied.winner and applied.winner.defense == "weight_decay"
    assert [(p["defense"], p["cost"]) for p in choice["passed_over"]] == [("fine_tuning", None)]
    assert (tmp_path / "repaired.safetensors").exists()


@pytest.mark.parametrize(
    ("told", "verdict", "written", "says"),
    [
        (
            [(STRONG, 0.0), (MethodConfig("none"), 1.0)],
            "repaired",
            True,
            "Repaired with weight_decay, stopped at step 8",
        ),
        (
            [(STRONG, 0.3), (MethodConfig("none"), 1.0)],
            "not repaired",
            True,
            "leaves an ASR of 30.0 %",
        ),
        (
            [(RUINOUS, 0.0)],
            "too costly",
            True,
            "costs more clean accuracy than the 40.0 points allowed",
        ),
        (
            [(STRONG, 1.0), (MethodConfig("none"), 1.0)],
            "do nothing",
            False,
            "No weights were written",
        ),
        (
            [(RUINOUS, 0.0), (MethodConfig("none"), 1.0)],
            "too costly",
            False,
            "weight_decay leaves an ASR of 0.0 % on planted",
        ),
        (
            [(RUINOUS, 1.0), (MethodConfig("none"), 1.0)],
            "do nothing",
            False,
            "no defense was better",
        ),
        ([(STRONG, 1.0)], "do nothing", False, "No weights were written"),
        (
            [(WEAK, None), (HARMLESS, 0.0)],
            "only controls ran",
            True,
            "no defense ran, only controls",
        ),
        (
            [(WEAK, None), (MethodConfig("none"), 1.0)],
            "nothing ran",
            False,
            "no batch normalisation",
        ),
        (
            [(WEAK, None)],
            "nothing ran",
            False,
            "weight_decay finished no trial: its only trial failed",
        ),
        ([], "nothing ran", False, "no defense ran. No weights were written"),
    ],
)
def test_each_outcome_has_its_verdict(
    ctx: tuple[Sweep, TrialRuntime, Path],
    tmp_path: Path,
    told: Told,
    verdict: str,
    written: bool,
    says: str,
) -> None:
    sweep, runtime, _ = ctx
    records = [broken(sweep, c) if asr is None else tuned(sweep, c, asr) for c, asr in told]
    (tmp_path / "repaired.safetensors").touch()
    choice, applied = apply(sweep, choose(sweep, records, runtime), records, runtime, tmp_path)
    assert (choice["verdict"], choice["exit_code"]) == (verdict, 0 if verdict == "repaired" else 3)
    assert says in choice["sentence"]
    assert (
        (tmp_path / "repaired.safetensors").exists() == written == bool(choice["repaired_sha256"])
    )
    assert json.loads((tmp_path / "choice.json").read_text()) == choice
    assert choice["trials"] == {
        "done": sum(a is not None for _, a in told),
        "failed": sum(a is None for _, a in told),
    }
    if applied.own:
        assert f"clean accuracy {'went from' if written else 'is'} 98.3" in choice["sentence"]
    html = render(records, title="t", applied=applied)
    assert all(
        escape(text).replace(" %", "\u00a0%") in html
        for text in (*choice["said"][:1], *choice["notes"])
    )


Copies = tuple[dict[str, float], str, str]  # ASR by kind, verdict, what is said


@pytest.mark.parametrize(
    "copies",
    [
        ({"patch": 0.0, "warp": 0.05}, "repaired", "Repaired with weight_decay"),
        ({"patch": 0.0, "warp": 0.06}, "not repaired", "leaves an ASR of 6.0 % on planted"),
        ({"patch": 0.0}, "one kind alone", "To plant several, write attack = "),
        ({}, "one kind alone", "the one kind of trigger that was planted (badnets)"),
    ],
)
def test_a_repair_needs_two_kinds_of_trigger_that_agree(
    ctx: tuple[Sweep, TrialRuntime, Path], tmp_path: Path, copies: Copies
) -> None:
    sweep, runtime, _ = ctx
    left, verdict, says = copies
    records = [tuned(sweep, STRONG, 0.0, left)]
    choice, applied = apply(sweep, choose(sweep, records, runtime), records, runtime, tmp_path)
    assert (choice["verdict"], choice["exit_code"]) == (verdict, 0 if verdict == "repaired" else 3)
    assert says in choice["said"][0] and (tmp_path / "repaired.safetensors").exists()
    told = choice["expected"]["by_kind"]
    assert {kind: one["asr"] for kind, one in told.items()} == (left or {"badnets": 0.0})
    for one in told.values():
        low, high = one["asr_interval_95"]
        assert one["n_triggered"] == 50 and 0 <= low <= one["asr"] <= high <= 1
    assert choice["expected"]["real_asr_interval_90"] is None
    assert "a real attack is left cannot be forecast" in choice["sentence"]
    assert escape(choice["said"][0]).replace(" %", "\u00a0%") in render(
        records, title="t", applied=applied
    )


def test_what_is_expected_of_the_real_attack_is_in_the_choice(
    ctx: tuple[Sweep, TrialRuntime, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, runtime, _ = ctx
    pairs = [Known(str(i % 5), "labels", "fine_tuning", 0.1, 0.3) for i in range(19)]
    monkeypatch.setattr(trigger_kinds, "known", lambda scheme, planted: tuple(pairs))
    records = [tuned(sweep, STRONG, 0.04)]
    choice, _ = apply(sweep, choose(sweep, records, runtime), records, runtime, tmp_path)
    assert choice["expected"]["real_asr_interval_90"] == pytest.approx([0.24, 0.24])
    assert choice["expected"]["real_asr_pairs"] == {"n": 19, "victims": 5}
    assert "24.0 to 24.0 % is expected to be left (90 % interval from 19" in choice["sentence"]


def test_a_winner_that_inverts_triggers_carries_its_warning_in_the_choice(
    ctx: tuple[Sweep, TrialRuntime, Path], tmp_path: Path
) -> None:
    sweep, runtime, _ = ctx
    settings = {"lr": 1e-6, "steps": 8, "batch": 16, "steps_per_class": 1}
    records = [tuned(sweep, MethodConfig("neural_cleanse", settings), 0.0)]
    choice, _ = apply(sweep, choose(sweep, records, runtime), records, runtime, tmp_path)
    assert choice["verdict"] == "inverted triggers alone"
    assert any("copies understate what is left, by 20 to 80 points" in n for n in choice["notes"])


def test_controls_in_a_sweep_hide_no_defense_that_the_model_cannot_bear(
    ctx: tuple[Sweep, TrialRuntime, Path], tmp_path: Path
) -> None:
    sweep, runtime, _ = ctx
    records = [tuned(sweep, RUINOUS, 0.0), tuned(sweep, MethodConfig("none"), 0.9)]
    choice, applied = apply(sweep, choose(sweep, records, runtime), records, runtime, tmp_path)
    assert re.search(
        r"weight_decay leaves .* but costs this model [\d.]+ points .* 40.0 allowed",
        choice["sentence"],
    )
    assert "No defense was better" not in render(records, title="t", applied=applied)
    # as `report` shows them
    assert "What `defend` made of the given model stands in" in render(records, title="t")


@pytest.mark.slow
def test_a_sweep_of_which_most_fails_still_ends_in_an_answer_and_may_be_tried_again(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.execution.progress.ENOUGH", 2)
    spec = tmp_path / "fails.toml"
    broken = TOML.replace("fixed = { steps = 24,", "fixed = { lr = 1e30, steps = 24,")
    spec.write_text(broken.replace('[[defenses]]\nname = "none"\n', "") + "abort_at = 0.5\n")
    told = defend(out=tmp_path / "out", **asked(given, spec=spec))
    assert (told["verdict"], told["exit_code"], told["trials"]["failed"]) == ("nothing ran", 3, 2)
    assert (
        "Tuning ended before all of it had run" in told["sentence"]
        and "weight_decay finished no trial" in told["sentence"]
    )
    assert [Path(f).name for f in told["files"]] == ["choice.json", "report.html"]
    seconds = stored_seconds(tmp_path / "out")
    assert defend(out=tmp_path / "out", **asked(given, spec=spec))["verdict"] == "nothing ran"
    assert stored_seconds(tmp_path / "out") == seconds
    defend(out=tmp_path / "out", **asked(given, spec=spec), retry_failed=True)
    assert stored_seconds(tmp_path / "out") != seconds


def stored_seconds(out: Path) -> dict[str, float]:
    with Store.read(f"sqlite:///{out}/sweep.db") as store:
        return {r.trial.id: r.seconds for r in store.records()}


def test_where_no_copy_could_be_planted_the_answer_says_so(
    ctx: tuple[Sweep, TrialRuntime, Path], tmp_path: Path
) -> None:
    sweep, runtime, _ = ctx
    why = "RuntimeError: the planted backdoor reached an ASR of 0.210 in 600 steps, not 0.3"
    records = [Record(trial=expansion.copies(sweep)[0], status="failed", error=f"Traceback\n{why}")]
    choice, applied = apply(sweep, choose(sweep, records, runtime), records, runtime, tmp_path)
    assert choice["verdict"] == "nothing ran" and choice["copies"]
    said = f"Self-poisoning failed in 1 copy (copy 0 of seed 0), so nothing was tuned on it: {why}."
    assert said in choice["sentence"] and said in render(records, title="t", applied=applied)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"model": "nowhere.safetensors"},
            "--model names 'nowhere.safetensors', which does not exist",
        ),
        ({"trusted": "nowhere"}, "--trusted names 'nowhere', which does not exist"),
        ({"arch": "resnet19"}, "Did you mean"),
        ({"arch": "resnet18:depth=4"}, "unknown setting of resnet18 in --arch"),
        ({"arch": "resnet18:width=wide"}, "width must be an integer"),
        ({"arch": "small_cnn:width=4"}, "does not fit"),
        ({"spec": "nowhere.toml"}, "cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_no_compute(
    given: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words(given, tmp_path / "out", **change))
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert says in said and len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_spec_with_a_victim_of_its_own_is_refused(given: Path, tmp_path: Path) -> None:
    spec = tmp_path / "own.toml"
    spec.write_text(TOML + "\n[victim]\ndataset = 'digits'\n")
    with pytest.raises(ValueError, match="remove victim"):
        defend(out=tmp_path / "out", **asked(given, spec=spec))


@pytest.mark.parametrize(
    "extra", ["trusted = 0.5", "judge_all = true", "game = 'training'", "game = 'robustness'"]
)
def test_a_spec_that_asks_for_what_defend_cannot_do_is_refused(
    given: Path, tmp_path: Path, extra: str
) -> None:
    spec = tmp_path / "own.toml"
    spec.write_text(f"{extra}\n{TOML}")
    with pytest.raises(ValueError, match=r"remove|needs game") as refused:
        defend(out=tmp_path / "out", **asked(given, spec=spec))
    assert "\n" not in str(refused.value)


PLAIN = '''"""Plain: two linear layers, without stages, convolutions or normalisation."""
from torch import nn


def build(classes, size, /, *, width: int = 64):
    layers = nn.Linear(3 * size * size, width), nn.ReLU(), nn.Linear(width, classes)
    return nn.Sequential(nn.Flatten(), *layers)
'''
PREPARED = """
import sys
import torch
from sweep.commands.defend import prepare
from trials import catalog
from trials.spec import SpecError
from trials.weights.files import save_weights

trusted, folder = sys.argv[1:]
torch.manual_seed(0)
images = catalog.find("datasets", "image_folder")("train", root=trusted, size=16)
model = catalog.find("models", "plain")(10, 16)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(60):
    loss = torch.nn.functional.cross_entropy(model(images.x / 255), images.y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
save_weights(model, f"{folder}/plain.safetensors")
asked = f"{folder}/plain.safetensors", "plain", trusted, f"{folder}/out"
order = prepare(*asked, size=16, flip=False)
print(*order.left_out, sep="\\n")
print(*(defense.name for defense in order.sweep.defenses))
try:
    prepare(*asked, size=16, flip=False, spec=f"{folder}/nad.toml")
except SpecError as problem:
    print("refused:", problem)
"""


def test_a_defense_that_the_model_cannot_bear_is_left_out_unless_it_was_asked_for(
    given: Path, tmp_path: Path
) -> None:
    (tmp_path / "own" / "models").mkdir(parents=True)
    (tmp_path / "own" / "models" / "plain.py").write_text(PLAIN)
    (tmp_path / "nad.toml").write_text(TOML.replace('"none"', '"nad"\nprofile = "small"'))
    program = Program(
        ["-c", PREPARED, str(given / "trusted"), str(tmp_path)],
        Path(__file__).parents[3],
        {**os.environ, "POISONSWEEP_METHODS": str(tmp_path / "own")},
    )
    out, errors = program.communicate()
    assert program.returncode == 0, errors
    *lines, kept, refused = out.splitlines()
    left_out = {line.split()[0]: line for line in lines}
    assert "left out: fine_pruning needs a model with channels" in left_out["fine_pruning"]
    assert "left out: nad needs a model with at least two stages" in left_out["nad"]
    assert all("plain has none" in line for line in lines)
    assert kept.split() == [d for d in DEFENSES if d not in left_out]
    assert {"weight_decay", "fst"} <= set(kept.split())
    assert refused.startswith("refused: nad needs a model with at least two stages")


def test_a_good_model_of_two_classes_is_not_refused() -> None:
    assert (
        limit(2) == pytest.approx(0.575)
        and limit(10) == pytest.approx(0.235)
        and limit(1000) < 0.16
    )


def test_a_model_that_does_not_know_its_classes_is_refused(given: Path, tmp_path: Path) -> None:
    other = tmp_path / "trusted"
    for folder in (given / "trusted").iterdir():  # class folders in another order
        (other / f"{9 - int(folder.name)}x").mkdir(parents=True)
        for file in folder.iterdir():
            (other / f"{9 - int(folder.name)}x" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match="of the trusted images right"):
        defend(out=tmp_path / "out", **asked(given, trusted=other))
