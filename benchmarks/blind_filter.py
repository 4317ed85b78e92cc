"""What does ``filter``, with a repair behind it, leave of real attacks that it knows nothing of?

    python -m benchmarks.blind_filter victims.toml --store sqlite:///victims.db [--minutes 30]
        [--spec FILE] [--only N] [--out FILE]

Trains the victims of the sweep's file, where the store does not have them yet. Hands each one's
poisoned training set and its trusted images, as folders of PNGs, to ``filter --repair``, and
measures the models that come back on the test set, with the attackers' triggers: the one of what
was kept, and that one repaired, where a repair was taken. Victims need a ``reserve``, as no trusted
image may lie in the set. Those whose attacks were all not learned (ASR below 80 %) are left out.
Writes a line a victim to benchmarks/results/blind-filter.csv, or to ``--out``.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from benchmarks._blind_victims import Victims, arch_of, export
from benchmarks._shared import OUTPUT, TINY, parsed, refusing
from sweep.commands import outputs
from sweep.commands.filter_call import filter as filter_set
from sweep.commands.filter_order import MINUTES
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials.games._attacks import Attacks
from trials.metrics import accuracy
from trials.spec import SpecError, Trial

LEARNED = 0.8  # ASR from which a victim counts
FILE = OUTPUT / "blind-filter.csv"
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One victim, and what came of its set; rates are fractions, None where there is none. Each
    attack's ASR is written as 'badnets 0.998; blended 0.912'.
    """

    victim: str
    attack: str
    victim_seed: int
    n_poisoned: int
    cda: float  # of the victim, which was trained on all
    asr: str
    verdict: str
    filter: str
    reject: str
    removed: float
    removed_poisoned: float
    removed_clean: float
    cda_filtered: float | None  # of the model of what is kept
    asr_filtered: str
    repair: str  # with its settings; '' where none was taken
    cda_repaired: float | None
    asr_repaired: str
    seconds: float
    minutes: float
    spec: str  # the file's name; "default" for none


def lines(sweep: Sweep, url: str, only: int | None = None, **asked: Any) -> Iterator[Line]:
    """A line a victim, as they come; ``only`` that one, counted from 0.

    Raises SpecError for victims without a reserve, and where there is no such victim.
    """
    if only is not None and not 0 <= only < len(sweep.victims):
        raise SpecError(f"--only must be from 0 to {len(sweep.victims) - 1}, got {only}.")
    if not all(v.reserve for v in sweep.victims):
        raise SpecError("trusted images may not lie in the set: write reserve under [victim].")
    victims = Victims(sweep, url)
    trials = victims.trials()
    for trial in trials if only is None else [trials[only]]:
        yield from judged(victims, trial, **asked)


def judged(victims: Victims, trial: Trial, **asked: Any) -> Iterator[Line]:
    """Filter one victim's set and judge; nothing where no attack was learned."""
    victim, poisoning = trial.victim, victims.runtime.poisoning(trial.victim)
    test = victims.judge(trial).test()
    attacks = Attacks(poisoning, test)
    before = attacks.measure(victims.model(trial))  # the largest
    if before["asr"] < LEARNED:
        print(f"{victim.id}: no attack was learned")
        return

    def measured(model: nn.Module | None) -> tuple[float | None, str]:
        if model is None:
            return None, ""
        return accuracy(model, test), said(attacks, attacks.measure(model))

    train = poisoning.train
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(train, folder / "set")
        export(victims.trusted(trial), folder / "trusted")
        began = time.monotonic()
        outcome = filter_set(
            folder / "set",
            folder / "trusted",
            folder / "out",
            arch=arch_of(victim),
            size=train.x.shape[-1],
            flip=train.flip,
            repair=True,
            **asked,
        )
        seconds = time.monotonic() - began
        removed = ~kept_of(folder / "out" / outputs.KEPT, len(train))
        repaired = _model(victims, trial, folder / "out" / outputs.WEIGHTS)
        filtered = _model(victims, trial, folder / "out" / outputs.RETRAINED)
        poisoned = torch.zeros(len(train), dtype=torch.bool)
        poisoned[poisoning.places] = True
        cda_filtered, asr_filtered = measured(filtered)
        cda_repaired, asr_repaired = measured(repaired)
        yield Line(
            victim=victim.id,
            attack="+".join(a.name for a in victim.attacks),
            victim_seed=victim.seed,
            n_poisoned=int(poisoned.sum()),
            cda=accuracy(victims.model(trial), test),
            asr=said(attacks, before),
            verdict=outcome["verdict"],
            filter=outcome.get("filter", ""),
            reject=str(outcome.get("reject", "")),
            removed=float(removed.float().mean()),
            removed_poisoned=float(removed[poisoned].float().mean()),
            removed_clean=float(removed[~poisoned].float().mean()),
            cda_filtered=cda_filtered,
            asr_filtered=asr_filtered,
            repair=_repair(outcome) if repaired else "",
            cda_repaired=cda_repaired,
            asr_repaired=asr_repaired,
            seconds=seconds,
            minutes=asked.get("minutes", MINUTES),
            spec=Path(asked["spec"]).name if asked.get("spec") else "default",
        )


def said(attacks: Attacks, found: Mapping[str, float]) -> str:
    """Each attack's ASR, of what they measured."""
    names = list(attacks.cases)
    each = [found[f"asr/{name}"] for name in names] if attacks.several else [found["asr"]]
    return "; ".join(f"{name} {asr:.3f}" for name, asr in zip(names, each, strict=True))


def kept_of(file: Path, n: int) -> torch.Tensor:
    """Which of the set's images are kept; all where nothing ran."""
    kept = torch.ones(n, dtype=torch.bool)
    if file.exists():
        kept[:] = False
        kept[[int(Path(line).stem) for line in file.read_text().splitlines()]] = True
    return kept


def _model(victims: Victims, trial: Trial, weights: Path) -> nn.Module | None:
    return victims.repaired(trial, weights) if weights.exists() else None


def _repair(outcome: Mapping[str, Any]) -> str:
    taken = outcome["repair"]["taken"]
    settings = ", ".join(f"{k}={v}" for k, v in taken["settings"].items())
    return f"{taken['repair']}({settings}) at step {taken['stop_at']}"


def told(line: Line) -> str:
    """The line for people."""

    def model(cda: float | None, asr: str) -> str:
        return "none was trained" if cda is None else f"CDA {cda:.1%}, ASR {asr}"

    repaired = f"{line.repair}: {model(line.cda_repaired, line.asr_repaired)}"
    return (
        f"{line.victim} {line.attack}: {line.verdict}, {line.filter} ({line.reject}) removes "
        f"{line.removed_poisoned:.1%} of the poisoned and {line.removed_clean:.1%} of the clean "
        f"images; {model(line.cda, line.asr)}; of what is kept: "
        f"{model(line.cda_filtered, line.asr_filtered)}; "
        f"{repaired if line.repair else 'no repair'}; {line.seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", nargs="?", type=Path, help="a file whose victims' sets are taken")
    parser.add_argument("--store", default="sqlite:///victims.db", help="where victims are kept")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for filter")
    parser.add_argument("--spec", type=Path, help="for filter: a sweep without [victim]")
    parser.add_argument("--only", type=int, metavar="N", help="this victim alone, counted from 0")
    parser.add_argument("--out", type=Path, default=FILE, help=f"in place of {FILE.name}")
    given = parsed(parser)
    if given.tiny:
        with tempfile.TemporaryDirectory() as folder:
            sweep = sweep_file.read(HERE / "blind_filter_tiny.toml")
            spec = HERE / "blind_filter_tiny_spec.toml"
            found = list(lines(sweep, f"sqlite:///{folder}/tiny.db", spec=spec))
        print(TINY + json.dumps({"lines": [asdict(line) for line in found]}))
        return
    with refusing("blind_filter"):
        _filtered(given)


def _filtered(given: argparse.Namespace) -> None:
    if given.sweep is None:
        raise SpecError("name a sweep's file, or --tiny.")
    asked = {"minutes": given.minutes, "spec": given.spec}
    done = list[Line]()
    for line in lines(sweep_file.read(given.sweep), given.store, given.only, **asked):
        print(told(line), flush=True)
        done.append(line)
        pd.DataFrame(done).to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
