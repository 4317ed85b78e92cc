"""Does ``defend``, which sees neither trigger nor test set, repair models with a real backdoor?

    python -m benchmarks.blind victims.toml --store sqlite:///victims.db [--minutes 30]
        [--spec FILE] [--from-test] [--pairs] [--keep] [--only N] [--out FILE]
    python -m benchmarks.blind --take FILE ...

Trains the victims of each sweep's file, where the store does not have them yet. Hands each one's
weights and its trusted images, as a folder of PNGs, to ``defend`` with its default settings, or
those of ``--spec``, and measures the model that comes back on the test set, with the attacker's
trigger. No model that still obeys its trigger may be called repaired. A victim whose attack was not
learned (ASR below 80 %) proves nothing and is left out; a clean one has no ASR. ``--from-test``
draws the trusted images from the test set and judges on its others, for victims that were trained
on all of the training set: what a repair costs is overstated on images that were. ``--pairs`` also
runs each setting that ``defend`` tried on copies against the real attack, after it has chosen:
these are pairs from which forecasts can be made. ``--keep`` adds the lines to
benchmarks/results/blind.csv, and the pairs to results/reference/prediction_pairs.csv; ``--out``
writes both to a file, and to one beside it, from where ``--take`` adds them there: processes with
``--only``, one a victim, so share a GPU. Their victims lie in a store of their own beside the file.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import prediction
from benchmarks._blind_pairs import real_pairs
from benchmarks._blind_victims import Victims, arch_of, export
from benchmarks._shared import OUTPUT, TINY, parsed, refusing
from results.comparison.prediction import Pair
from results.selection.rules import DELTA, SLACK
from results.selection.winners import REPAIRED
from sweep.commands import outputs
from sweep.commands.calls import defend
from sweep.commands.defend import MINUTES
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials.spec import SpecError, Trial
from trials.weights.files import save_weights

LEARNED = 0.8  # ASR from which a victim counts
FILE = OUTPUT / "blind.csv"
KEY = ["victim", "minutes", "spec", "trusted"]
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
    trusted: str  # images that the victim was not trained on ("held out"), on ("trained on"),
    # or of the test set ("test set"), which then judges on the others
    delta: float | None  # that it was repaired within; None where nothing was chosen
    rule: str  # by which it was chosen

    @property
    def false(self) -> bool:
        """Called repaired, and it is not: more than 5 % is left, or it costs more than Δ."""
        removed = (self.eta_real or 0.0) <= REPAIRED
        borne = self.cda_loss_real <= (DELTA if self.delta is None else self.delta) + SLACK
        return self.verdict == "repaired" and not (removed and borne)


Judged = tuple[Line, list[Pair] | None]  # pairs once they are there


def judged(victims: Victims, trial: Trial, with_pairs: bool, **asked: Any) -> Iterator[Judged]:
    """Defend one victim: what came of it, and then once more with the pairs of a victim that was
    attacked, if these are wanted. Nothing where its attack was not learned.
    """
    cda, asr = victims.measured(trial, victims.model(trial))
    if asr is not None and asr < LEARNED:
        print(f"{trial.victim.id}: its attack was not learned")
        return
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
            trusted=victims.source(trial),
            delta=outcome.get("delta"),
            rule=outcome.get("rule", ""),
        )
        yield line, None
        if with_pairs and victim.attacks:
            yield line, real_pairs(folder / "out", victim, trial.trusted, victims.judge(trial))


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
    sweeps: Sequence[Sweep],
    url: str,
    with_pairs: bool = False,
    only: int | None = None,
    from_test: bool = False,
    **asked: Any,
) -> Iterator[Judged]:
    """A line a victim, and then its pairs, as they come; ``only`` that one, counted from 0;
    ``from_test`` as of Victims.

    Raises SpecError where there is no such victim.
    """
    for sweep in sweeps if only is None else [_only(sweeps, only)]:
        victims = Victims(sweep, url, from_test)
        for trial in victims.trials():
            yield from judged(victims, trial, with_pairs, **asked)


def told(line: Line) -> str:
    """The line for people."""
    left = "-" if line.eta_real is None else f"{line.eta_real:.1%}"
    return (
        f"{line.victim} {line.attack}: {line.verdict}, {line.chosen}; promised "
        f"{line.eta_promised}, own trigger {line.eta_own_trigger}, real {left}, "
        f"CDA loss {line.cda_loss_real:.1%}, {line.seconds:.0f} s"
    )


def _only(sweeps: Sequence[Sweep], number: int) -> Sweep:
    each = list(chain.from_iterable(map(_apart, sweeps)))
    if not 0 <= number < len(each):
        raise SpecError(f"--only must be from 0 to {len(each) - 1}, got {number}.")
    return each[number]


def _apart(sweep: Sweep) -> list[Sweep]:
    return [replace(sweep, victims=(victim,)) for victim in sweep.victims]


def add(rows: pd.DataFrame, file: Path | None = None) -> int:
    """Add lines to the file, in place of older ones of the same; returns how many it has."""
    file = file or FILE
    if file.exists():
        rows = pd.concat([pd.read_csv(file, dtype={"victim": str}), rows], ignore_index=True)
    rows = rows.drop_duplicates(KEY, keep="last").sort_values(KEY)
    rows.to_csv(file, index=False, float_format="%.5g")
    return len(rows)


def take(file: Path) -> None:
    """Add what ``--out`` wrote."""
    lines = pd.read_csv(file, dtype={"victim": str})
    print(f"{FILE.name} has {add(lines)} lines now" if len(lines) else f"{file} has no lines")
    if (pairs := pairs_of(file)).exists():
        rows = pd.read_csv(pairs, keep_default_na=False, dtype={"victim": str})
        print(f"{prediction.FILE.name} has {prediction.add(rows)} pairs now")


def pairs_of(file: Path) -> Path:
    """Where the pairs lie beside the lines."""
    return file.with_suffix(".pairs.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweeps", nargs="*", type=Path, help="files whose victims are defended")
    parser.add_argument("--store", default="", help="where victims are kept: sqlite:///victims.db")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for defend")
    parser.add_argument("--spec", type=Path, help="for defend: a sweep without [victim]")
    parser.add_argument("--from-test", action="store_true", help="trusted images of the test set")
    parser.add_argument("--pairs", action="store_true", help="every setting on the real attack too")
    parser.add_argument("--only", type=int, metavar="N", help="this victim alone, counted from 0")
    parser.add_argument("--keep", action="store_true", help=f"add the lines to {FILE.name}")
    parser.add_argument("--out", type=Path, help="write them to this file, in place of --keep")
    parser.add_argument("--take", nargs="+", type=Path, help="add what --out wrote; runs nothing")
    given = parsed(parser)
    if given.tiny:
        print(TINY + json.dumps({"lines": _tiny()}))
        return
    with refusing("blind"):
        for file in given.take or []:
            take(file)
        if not given.take:
            _defended(given)


def _tiny() -> list[dict[str, Any]]:
    """The figures of one victim of seconds."""
    with tempfile.TemporaryDirectory() as folder:
        sweep, url = sweep_file.read(TINY_SWEEP), f"sqlite:///{folder}/tiny.db"
        every = list(lines([sweep], url, with_pairs=True, only=0, spec=TINY_SPEC))
    whole = [(line, of) for line, of in every if of is not None]
    return [{**asdict(line), "pairs": list(map(Pair.as_row, of))} for line, of in whole]


def frame_of(found: Sequence[Line]) -> pd.DataFrame:
    """A row a line."""
    names = [field.name for field in fields(Line)]
    return pd.DataFrame([asdict(line) for line in found], columns=names)


def _defended(given: argparse.Namespace) -> None:
    done, sweeps = list[Line](), [sweep_file.read(f) for f in given.sweeps]
    beside = given.out.with_suffix(".db").resolve() if given.out else "victims.db"
    url = given.store or f"sqlite:///{beside}"
    asked = {"from_test": given.from_test, "minutes": given.minutes, "spec": given.spec}
    every = lines(sweeps, url, given.pairs, given.only, **asked)
    for line, found in every:
        if found is None:
            print(told(line), flush=True)
            done.append(line)
            if given.keep or given.out:
                add(frame_of(done), given.out)
            continue
        print("\n".join(prediction.table(found)) if found else "no pairs")
        if (given.keep or given.out) and found:
            prediction.keep(found, pairs_of(given.out) if given.out else None)
    if given.out and not given.out.exists():  # no attack was learned
        frame_of([]).to_csv(given.out, index=False)
    wrong = sum(line.false for line in done)
    print(f"{len(done)} victims; {wrong} falsely called repaired")


if __name__ == "__main__":
    main()
