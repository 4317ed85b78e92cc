"""Does ``defend``, which sees neither trigger nor test set, repair models with a real backdoor?

    python -m benchmarks.blind victims.toml --store sqlite:///victims.db [--minutes 30]
        [--spec FILE] [--pairs] [--keep]

Trains the victims of each sweep's file, where the store does not have them yet. Hands each one's
weights and its trusted images, as a folder of PNGs, to ``defend`` with its default settings, or
those of ``--spec``, and measures the model that comes back on the test set, with the attacker's
trigger. No model that still obeys its trigger may be called repaired. A victim whose attack was not
learned (ASR below 80 %) proves nothing and is left out; a clean one has no ASR. ``--pairs`` also
runs each setting that ``defend`` tried on copies against the real attack, after it has chosen:
these are pairs from which forecasts can be made. ``--keep`` adds the lines to
benchmarks/results/blind.csv, and the pairs to results/reference/prediction_pairs.csv.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from benchmarks import prediction
from benchmarks._blind_pairs import real_pairs
from benchmarks._shared import OUTPUT, TINY, parsed
from results.comparison.prediction import Pair
from results.selection.winners import REPAIRED
from sweep import api
from sweep.commands import outputs
from sweep.commands.calls import defend
from sweep.commands.defend import MINUTES
from sweep.execution.runner import worker_config_of
from sweep.execution.worker import make_runtime
from sweep.planning import expansion
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials.games._attacks import Attacks
from trials.metrics import accuracy
from trials.spec import Trial, Victim
from trials.types import Images
from trials.weights.files import save_weights

LEARNED = 0.8  # ASR from which a victim counts
FILE = OUTPUT / "blind.csv"
KEY = ["victim", "minutes", "spec"]
HERE = Path(__file__).parent
TINY_SWEEP, TINY_SPEC = HERE / "prediction_tiny.toml", HERE / "blind_tiny.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One victim, and what came of it; rates are fractions, None where there is none."""

    victim: str
    attack: str
    victim_seed: int
    cda: float
    asr: float | None
    chosen: str
    verdict: str
    eta_promised: float | None  # on the copies' report images, of the worst kind of trigger
    eta_own_trigger: float | None  # of the trigger reconstructed from the given model, if it counts
    eta_real: float | None
    cda_loss_real: float
    interval_low: float | None  # of the forecast of the real ASR, where one is given
    interval_high: float | None
    seconds: float
    minutes: float  # that defend was given
    spec: str  # the file's name; "default" for none

    @property
    def false(self) -> bool:
        """Called repaired, and it is not."""
        return self.verdict == "repaired" and (self.eta_real or 0.0) > REPAIRED


class Victims:
    """The victims of a sweep, trained, with what a judge knows of them."""

    def __init__(self, sweep: Sweep, url: str) -> None:
        self.sweep = replace(sweep, name=f"{sweep.name}, victims", game="training")
        api.run(self.sweep, url)
        self.runtime = make_runtime(worker_config_of(self.sweep, url))

    def trials(self) -> list[Trial]:
        share = self.sweep.trusted[0]
        return [replace(t, trusted=share) for t in expansion.victims(self.sweep)]

    def model(self, trial: Trial) -> nn.Module:
        """The victim, as it was trained."""
        return self.runtime.defender(trial).view.model

    def trusted(self, trial: Trial) -> Images:
        """The defender's images."""
        return self.runtime.trusted(trial)

    def repaired(self, trial: Trial, weights: Path) -> nn.Module:
        """The victim with these weights; as it was where there are none."""
        if not weights.exists():
            return self.model(trial)
        model = self.runtime.fresh(trial.victim)
        model.load_state_dict(load_file(weights))
        return model.eval()

    def measured(self, trial: Trial, model: nn.Module) -> tuple[float, float | None]:
        """CDA and ASR on the test set; no ASR for a clean victim."""
        test = self.runtime.evaluator(trial).test()
        if not trial.victim.attacks:
            return accuracy(model, test), None
        attacks = Attacks(self.runtime.poisoning(trial.victim), test)
        return accuracy(model, test), attacks.measure(model)["asr"]


def export(images: Images, folder: Path) -> None:
    """The images as PNGs, one sub-folder a class, in the order of the classes."""
    for i, (pixels, label) in enumerate(zip(images.x.cpu(), images.y.tolist(), strict=True)):
        place = folder / f"{label:04}" / f"{i:06}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(place)


def arch_of(victim: Victim) -> str:
    """The model as ``--arch`` names it."""
    settings = ",".join(f"{k}={v}" for k, v in victim.model.params.items())
    return f"{victim.model.name}:{settings}" if settings else victim.model.name


Judged = tuple[Line, Sequence[Pair]]


def judged(victims: Victims, trial: Trial, with_pairs: bool, **asked: Any) -> Judged | None:
    """Defend one victim: what came of it, and the pairs of a victim that was attacked if these are
    wanted. None where its attack was not learned.
    """
    cda, asr = victims.measured(trial, victims.model(trial))
    if asr is not None and asr < LEARNED:
        return None
    victim, trusted = trial.victim, victims.trusted(trial)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(trusted, folder / "trusted")
        save_weights(victims.model(trial), folder / "model.safetensors")
        began = time.monotonic()
        outcome = defend(
            folder / "model.safetensors",
            folder / "trusted",
            folder / "out",
            arch=arch_of(victim),
            size=trusted.x.shape[-1],
            flip=trusted.flip,
            **asked,
        )
        seconds = time.monotonic() - began
        model = victims.repaired(trial, folder / "out" / outputs.WEIGHTS)
        after, left = victims.measured(trial, model)
        judge = victims.runtime.evaluator(trial)
        found = list[Pair]()
        if with_pairs and victim.attacks:
            found = real_pairs(folder / "out", victim, trial.trusted, judge)
    low, high = outcome.get("expected", {}).get("real_asr_interval_90") or (None, None)
    line = Line(
        victim=victim.id,
        attack="+".join(a.name for a in victim.attacks) or "none",
        victim_seed=victim.seed,
        cda=cda,
        asr=asr,
        chosen=_chosen(outcome),
        verdict=outcome["verdict"],
        eta_promised=_promised(outcome),
        eta_own_trigger=outcome.get("expected", {}).get("reconstructed_asr"),
        eta_real=left,
        cda_loss_real=cda - after,
        interval_low=low,
        interval_high=high,
        seconds=seconds,
        minutes=asked.get("minutes", MINUTES),
        spec=Path(asked["spec"]).name if asked.get("spec") else "default",
    )
    return line, found


def _chosen(outcome: Mapping[str, Any]) -> str:
    """The defense, its settings and its step."""
    if "defense" not in outcome:
        return "nothing"
    settings = ", ".join(f"{k}={v}" for k, v in outcome["settings"].items())
    return f"{outcome['defense']}({settings}) at step {outcome['stop_at_step']}"


def _promised(outcome: Mapping[str, Any]) -> float | None:
    expected = outcome.get("expected", {})
    kinds: list[float] = [one["asr"] for one in expected.get("by_kind", {}).values()]
    return max(kinds, default=expected.get("asr"))


def lines(
    sweeps: Sequence[Sweep], url: str, with_pairs: bool = False, **asked: Any
) -> Iterator[Judged]:
    """A line a victim, and its pairs, as they come."""
    for sweep in sweeps:
        victims = Victims(sweep, url)
        for trial in victims.trials():
            found = judged(victims, trial, with_pairs, **asked)
            if found is None:
                print(f"{trial.victim.id}: its attack was not learned")
                continue
            line, _ = found
            left = "-" if line.eta_real is None else f"{line.eta_real:.1%}"
            print(
                f"{line.victim} {line.attack}: {line.verdict}, {line.chosen}; promised "
                f"{line.eta_promised}, own trigger {line.eta_own_trigger}, real {left}, "
                f"CDA loss {line.cda_loss_real:.1%}, "
                f"{line.seconds:.0f} s",
                flush=True,
            )
            yield found


def keep(found: Sequence[Line], file: Path = FILE) -> int:
    """Add the lines to the file, in place of older ones of the same; returns how many it has."""
    rows = pd.DataFrame([asdict(line) for line in found])
    if file.exists():
        rows = pd.concat([pd.read_csv(file, dtype={"victim": str}), rows], ignore_index=True)
    rows = rows.drop_duplicates(KEY, keep="last").sort_values(KEY)
    rows.to_csv(file, index=False, float_format="%.5g")
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweeps", nargs="*", type=Path, help="files whose victims are defended")
    parser.add_argument("--store", default="sqlite:///victims.db", help="where victims are kept")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for defend")
    parser.add_argument("--spec", type=Path, help="for defend: a sweep without [victim]")
    parser.add_argument("--pairs", action="store_true", help="every setting on the real attack too")
    parser.add_argument("--keep", action="store_true", help=f"add the lines to {FILE.name}")
    given = parsed(parser)
    if given.tiny:
        with tempfile.TemporaryDirectory() as folder:
            sweep = sweep_file.read(TINY_SWEEP)
            every = list(lines([sweep], f"sqlite:///{folder}/tiny.db", True, spec=TINY_SPEC))
        figures = [{**asdict(line), "pairs": list(map(Pair.as_row, of))} for line, of in every]
        print(TINY + json.dumps({"lines": figures}))
        return
    done, sweeps = list[Line](), [sweep_file.read(f) for f in given.sweeps]
    asked = {"minutes": given.minutes, "spec": given.spec}
    for line, found in lines(sweeps, given.store, given.pairs, **asked):
        done.append(line)
        if given.pairs:
            print("\n".join(prediction.table(found)) if found else "no pairs")
        if given.keep:
            keep(done)
        if given.keep and found:
            prediction.keep(found)
    wrong = sum(line.false for line in done)
    print(f"{len(done)} victims; {wrong} falsely called repaired")


if __name__ == "__main__":
    main()
