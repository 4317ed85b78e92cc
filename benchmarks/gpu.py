"""How many trials at a time one GPU takes: images a second in all, for 1, 4 and 10 processes side
by side.

    python -m benchmarks.gpu [--seconds S] [--processes N ...] [--widths W ...]

In one run, for each width of ResNet-18: the recipe ``fast`` (512 images a step; bf16, and fp32
beside it) and a defense's steps (``fine_tuning``, 128 images), each in as many processes as are
asked for, all of them measured over the same seconds. Small networks leave a GPU waiting for
Python, so more trials at a time pay there, and ``gpus`` in [compute] may be a smaller share; a
full-size one fills it. Writes benchmarks/results/gpu.json.
"""

import argparse
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks._shared import parsed, write
from trials import catalog
from trials.recipes._loop import train
from trials.runtime import generator
from trials.types import DefenderView, Images, Poisoning

TRAINED, TRUSTED = 5120, 2500  # images: ten steps of 512 an epoch; 5 % of CIFAR-10
FOR_EVER = 10**6
Work = Callable[[nn.Module], Iterator[int]]  # yields the images that it went through, now and then


def images(count: int) -> Images:
    x = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator(0))
    return Images(x, torch.arange(count) % 10, 10, pad=4, flip=True).to("cuda")


def model_of(width: int) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = catalog.find("models", "resnet18")(10, 32, width=width)
    return model.to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def training(precision: str) -> Work:
    """The recipe ``fast``'s own loop."""

    def work(model: nn.Module) -> Iterator[int]:
        data = images(TRAINED)
        optimizer = torch.optim.SGD(
            model.parameters(), 0.01, momentum=0.9, nesterov=True, foreach=True
        )
        poisoning = Poisoning(data)
        settings: dict[str, Any] = {"epochs": FOR_EVER, "batch": 512, "precision": precision}
        for _ in train(model, poisoning, generator(1), optimizer, lambda _: 0.01, None, **settings):
            yield TRAINED

    return work


def defending(model: nn.Module) -> Iterator[int]:
    """The steps of a defense."""
    repair = catalog.find("defenses", "fine_tuning")
    for _ in repair(
        DefenderView(model, images(TRUSTED)), generator(1), 10, steps=FOR_EVER, batch=128
    ):
        torch.cuda.synchronize()
        yield 10 * 128


WORKS: dict[str, Work] = {
    "training, bf16": training("bf16"),
    "training, fp32": training("fp32"),
    "defense, 128 images a step": defending,
}


class Crew:
    """Processes that keep their GPU for all measurements."""

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._jobs = [context.Queue() for _ in range(number)]
        self._together, self._results = (
            [context.Barrier(n + 1) for n in range(number)],
            context.Queue(),
        )
        self._processes = [
            context.Process(target=serve, args=(jobs, self._results, self._together), daemon=True)
            for jobs in self._jobs
        ]
        for process in self._processes:
            process.start()

    def rate(self, what: str, width: int, processes: int, seconds: float) -> float:
        """Images a second of so many of them together."""
        for jobs in self._jobs[:processes]:
            jobs.put((what, width, processes, seconds))
        rates: list[float | str] = [self._results.get(timeout=120) for _ in range(processes)]
        if failed := [rate for rate in rates if isinstance(rate, str)]:
            raise RuntimeError(failed[0])
        return sum(map(float, rates))

    def end(self) -> None:
        for jobs in self._jobs:
            jobs.put(None)
        for process in self._processes:
            process.join()


def serve(jobs: Any, results: Any, together: Any) -> None:
    """A process: for each job warm up, start with the others, count for so many seconds."""
    torch.set_num_threads(1)
    while (job := jobs.get()) is not None:
        what, width, processes, seconds = job
        try:
            steps = WORKS[what](model_of(width))
            for _ in range(2):
                next(steps)
            together[processes - 1].wait(60)
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                done += next(steps)
            results.put(done / (time.perf_counter() - start))
        except Exception:
            results.put(traceback.format_exc())


def main() -> None:
    """Measure, print, write the figures."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    words.add_argument("--processes", type=int, nargs="+", default=[1, 4, 10])
    words.add_argument("--widths", type=int, nargs="+", default=[64, 16])
    asked = parsed(words, seconds=0.1, processes=[1, 2], widths=[16])
    if not torch.cuda.is_available():
        print("skipped: torch sees no GPU here.")
        return
    rows: list[dict[str, Any]] = []
    crew = Crew(max(asked.processes))
    for width in asked.widths:
        for what in WORKS:
            for processes in asked.processes:
                rate = crew.rate(what, width, processes, asked.seconds)
                rows.append(
                    {"width": width, "work": what, "processes": processes, "images/s": round(rate)}
                )
                print(
                    f"width {width:3}  {what:28} {processes:3} processes  {rate:9.0f} images/s",
                    flush=True,
                )
        write(
            "gpu",
            {"gpu": torch.cuda.get_device_name(), "seconds": asked.seconds, "rows": rows},
            tiny=asked.tiny,
        )
    crew.end()


if __name__ == "__main__":
    main()
