"""Our side of a comparison with a peer's benchmark, stage by stage at its settings: what whole
processes take, and where it goes.

    python -m benchmarks.equal_work [--images N ...] [--width W] [--stage NAME ...]

PreActResNet-18 on the first N images of CIFAR-10 (POISONSWEEP_DATA names its folder), batches of
128, a tenth of the images with BadNets' patch, 5 % of them the defender's, all 10,000 test images
judge. ``attack``: two epochs. The others repair that victim and are judged on the real attack:
``fine_tuning`` 3 epochs, ``fine_pruning`` one share, ``nad`` 3 + 3 epochs, ``neural_cleanse`` 10
steps for each of 10 classes and 3 epochs, ``sweep`` eight learning rates of fine-tuning.

Each stage is one process of ``poisonsweep run --local`` with one worker and one thread: seconds
from start to end, the processor's seconds, peak memory. The same trials then run once more inside
this process, under Python's profiler: the shares of images and poison, of measuring, and
of training or repair; ``start`` and ``imports`` are processes that do nothing else. Writes
benchmarks/results/equal_work.json.
"""

import argparse
import cProfile
import importlib
import os
import pstats
import tempfile
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks._shared import ROOT, cost_of, must, parsed, write
from sweep.planning import expansion
from sweep.spec import sweep_file
from trials.run import run
from trials.runtime import TrialRuntime
from trials.storage.artifacts import Artifacts

BATCH, SHARE = 128, 0.05
ENDS = ("cda", "asr")
VICTIM = """
name = "{stage}"
trusted = {share}
game = "{game}"
[victim]
dataset = {dataset}
model = {{ name = "preact_resnet18", width = {width} }}
training = {{ name = "fast", epochs = {epochs}, batch = 128, peak = 0.05 }}
attacks = [{{ name = "badnets", m = {m} }}]
[compute]
workers = 1
cpus = 1
"""
DEFENSE = """
[tuning]
record_every = 100000
[[defenses]]
name = "{name}"
limit = {limit}
fixed = {{ {fixed} }}
"""
IMPORTS = "import sweep.cli, sweep.execution.worker_loop, torch._dynamo, trials.run"
# (end of the file's name, function) -> to what its time belongs
PARTS = {
    ("trials/runtime.py", "_images"): "data",
    ("trials/poisoning.py", "poisoned"): "data",
    ("trials/metrics.py", "predictions"): "measuring",
}


def stages(images: int) -> dict[str, tuple[str, int, str]]:
    """Defense, points of its grid, and settings of each stage."""
    steps = 3 * max(1, round(SHARE * images) // BATCH)
    tuned = f'steps = {steps}, batch = {BATCH}, optimizer = "sgd", schedule = "constant"'
    return {
        "fine_tuning": ("fine_tuning", 1, f"{tuned}, lr = 0.01"),
        "fine_pruning": ("fine_pruning", 1, f"{tuned}, lr = 0.01"),
        "nad": ("nad", 1, f"{tuned}, lr = 0.01, teacher_steps = {steps}"),
        "neural_cleanse": ("neural_cleanse", 1, f"{tuned}, steps_per_class = 10"),
        "sweep": ("fine_tuning", 8, tuned),
    }


def written(folder: Path, stage: str, images: int, tiny: bool, width: int) -> Path:
    """The sweep's file of one stage."""
    cifar = f'{{ name = "cifar10", subset = {images} }}'
    text = VICTIM.format(
        stage=stage,
        share=SHARE,
        game="training" if stage == "attack" else "robustness",
        dataset='"digits"' if tiny else cifar,
        width=width,
        epochs=1 if tiny else 2,
        m=images // 10,
    )
    if stage != "attack":
        name, limit, fixed = stages(images)[stage]
        text += DEFENSE.format(name=name, limit=limit, fixed=fixed)
    file = folder / f"{stage}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def profiled(file: Path, folder: Path) -> dict[str, float]:
    """The processor's seconds of each part of the stage's trials, run in this process; CDA and ASR
    of the last.
    """
    sweep, runtime = sweep_file.read(file), TrialRuntime(Artifacts(folder))
    trials = expansion.victims(sweep)
    if sweep.defenses:
        if not runtime.artifacts.has(trials[0].id):
            must(run(trials[0], runtime))
        configs = expansion.configurations(sweep, sweep.defenses[0])
        task = expansion.tasks(sweep)[0]
        trials = list(chain.from_iterable(expansion.trials_of(sweep, task, c) for c in configs))
        runtime = TrialRuntime(runtime.artifacts)  # as another process would find it
    profile = cProfile.Profile(time.process_time)
    with profile:
        records = [must(run(trial, runtime)) for trial in trials]
    parts = dict.fromkeys(("data", "measuring", "training"), 0.0)
    table: Any = pstats.Stats(profile)
    for (path, _, function), (_, _, _, spent, _) in table.stats.items():
        for (end, name), part in PARTS.items():
            if function == name and path.endswith(end):
                parts[part] += spent
    parts["training"] = table.total_tt - sum(parts.values())
    last = records[-1]
    point = last.curve[-1] if last.curve else None
    ends = {"cda": point.cda, "asr": point.asr} if point else {k: last.metrics[k] for k in ENDS}
    return {
        **{k: round(v, 2) for k, v in parts.items()},
        **{k: round(v, 4) for k, v in ends.items()},
    }


def figures_of(asked: argparse.Namespace, images: int, env: Mapping[str, str]) -> dict[str, Any]:
    """The figures of each stage asked for, in order; all share one victim."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stage in asked.stage:
            file = written(folder, stage, images, asked.tiny, asked.width)
            at = ["--local", "--store", f"sqlite:///{folder}/s.db", "--artifacts", f"{folder}/a"]
            whole = cost_of(["-m", "poisonsweep", "run", str(file), *at], env)
            found[stage] = {**whole, **profiled(file, folder / "inside")}
            said = " ".join(f"{key} {value}" for key, value in found[stage].items())
            print(f"{images} images, {stage}: {said}", flush=True)
    return found


def main() -> None:
    """Measure every stage for each number of images, print, write the figures."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = ["attack", *stages(1280)]
    words.add_argument("--images", type=int, nargs="+", default=[1280, 5000])
    words.add_argument("--width", type=int, default=64)
    words.add_argument("--stage", nargs="+", choices=every, default=every)
    asked = parsed(words, images=[1000], width=2, stage=["attack", "fine_tuning"])
    if "attack" not in asked.stage:
        words.error("the other stages repair the victim of the stage attack: name it first.")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    importlib.import_module("torch._dynamo")  # the first optimizer imports it
    figures: dict[str, Any] = {"width": asked.width}
    figures["start"] = cost_of(["-m", "poisonsweep", "--version"], env)
    figures["imports"] = cost_of(["-c", IMPORTS], env)
    for images in asked.images:
        figures[f"{images} images"] = figures_of(asked, images, env)
    write("equal_work", figures, tiny=asked.tiny)


if __name__ == "__main__":
    main()
