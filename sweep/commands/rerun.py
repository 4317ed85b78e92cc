"""Run a stored trial once more, from its stored spec, and compare.

The store and its artifacts are only read.
"""

import difflib
import math
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from results.store import Store
from sweep.execution.worker import device_for
from trials import catalog
from trials.architecture import must_be_allowed
from trials.dependencies import dependencies
from trials.spec import MethodConfig, Point, Record, SpecError, Trial
from trials.storage.blobs import masked

if TYPE_CHECKING:
    from trials.runtime import TrialRuntime

GPU_TOLERANCE = 0.01  # kernels of a GPU add in another order each time
_NO_REASON = {"resumed", "checkpoint"}  # a resumed trial gives the same numbers


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same; None is one that is absent."""

    what: str
    stored: str | float | None
    now: str | float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A stored record beside that of the same trial now.

    Attributes:
        stored: the record in the store.
        now: the record of running the trial again.
        tolerance: by how much a number may differ, absolute; 0 wants each bit the same.
        differences: in status, metrics and curve; none where the two are equal.
        reasons: what differs in provenance.
    """

    stored: Record
    now: Record
    tolerance: float
    differences: list[Difference]
    reasons: list[Difference]

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        trial, equal = self.stored.trial, not self.differences
        return {
            "trial": trial.id,
            "game": trial.game.name,
            "equal": equal,
            "tolerance": self.tolerance,
            "differences": [asdict(d) for d in self.differences],
            "reasons": [asdict(d) for d in self.reasons],
        }


def rerun(
    store: Store,
    prefix: str,
    artifacts: str,
    *,
    from_scratch: bool = False,
    device: str = "",
    tolerance: float | None = None,
) -> Comparison:
    """Run the stored trial whose id begins with ``prefix`` again, with the threads that it had.

    Args:
        store: holds the trial.
        prefix: enough of its id to be the only one.
        artifacts: folder or URI of the victim and the copies that it needs.
        from_scratch: make victim and copies again too, in a temporary folder.
        device: where to run it; "" for the kind of device that it ran on.
        tolerance: by how much a number may differ; None for 0 on the CPU and ``GPU_TOLERANCE`` on a
            GPU.

    Raises:
        SpecError: no such trial or several, code that is not allowed, changed files, a missing
            artifact, a device that is not there.
    """
    stored = found(store, prefix)
    must_be_allowed([stored.trial.victim])
    _same_files(stored.trial)
    ran_on = str(stored.provenance.get("device", "cpu"))
    device = device_for(device or ran_on.partition(":")[0])
    if tolerance is None:
        tolerance = 0.0 if device == ran_on == "cpu" else GPU_TOLERANCE
    if not 0 <= tolerance < math.inf:
        raise SpecError(f"--tolerance must be a number, at least 0, got {tolerance:g}.")
    with tempfile.TemporaryDirectory(prefix="poisonsweep-") as folder:
        runtime = _runtime(
            folder,
            "" if from_scratch else artifacts,
            device,
            int(stored.provenance.get("threads", "1")),
        )
        _provide(stored.trial, runtime, from_scratch, artifacts)
        now = _again(stored, runtime)
    return Comparison(
        stored, now, tolerance, list(differences(stored, now, tolerance)), _reasons(stored, now)
    )


def found(store: Store, prefix: str) -> Record:
    """The record whose id begins with ``prefix``. Raises SpecError unless there is exactly one."""
    ids = store.ids()
    fits = [i for i in ids if prefix and i.startswith(prefix)]
    if len(fits) > 1:
        extra = f" and {len(fits) - 3} more" if len(fits) > 3 else ""
        raise SpecError(
            f"trial {prefix!r} may be {', '.join(fits[:3])}{extra}. Write more of its id."
        )
    record = store.get(fits[0]) if fits else None
    if record is None:
        heads = {i[: len(prefix)]: i for i in reversed(ids)}
        near = [heads[h] for h in difflib.get_close_matches(prefix, list(heads), n=3, cutoff=0)]
        raise SpecError(
            f"no trial {prefix!r} in the store. Nearest: "
            f"{', '.join(near) or 'none, nothing has run yet'}."
        )
    return record


def _same_files(trial: Trial) -> None:
    """Raises SpecError where a file that the trial was run on is gone or has changed."""
    resolved = catalog.resolve_trial(trial)
    for before, after in zip(_configs(trial), _configs(resolved), strict=True):
        for key, digest in before.files.items():
            if after.files.get(key) != digest:
                path = before.params[key]
                raise SpecError(
                    f"trial {trial.id} cannot be run again: {str(path)!r} ({before.name}) has "
                    "changed."
                )


def _configs(trial: Trial) -> Iterator[MethodConfig]:
    victim = trial.victim
    yield from (victim.dataset, victim.model, victim.training, *victim.attacks, trial.game)
    yield from trial.roles.values()


def _runtime(folder: str, given: str, device: str, threads: int) -> "TrialRuntime":
    """A runtime that reads the given artifacts and leaves what it makes in a folder of its own."""
    import torch  # noqa: PLC0415  (reading the store needs none)

    from sweep.commands.overlay_artifacts import OverlayArtifacts  # noqa: PLC0415
    from trials.runtime import TrialRuntime  # noqa: PLC0415

    torch.set_num_threads(threads)
    return TrialRuntime(OverlayArtifacts(folder, given), device, checkpoint=math.inf)


def _provide(trial: Trial, runtime: "TrialRuntime", from_scratch: bool, artifacts: str) -> None:
    from trials.run import run  # noqa: PLC0415

    for need in dependencies(trial):
        if from_scratch:
            made = run(need, runtime)
            if made.status != "done":
                raise SpecError(
                    f"the {need.game.name} {need.id} that it needs failed: {_last(made)}"
                )
        elif not runtime.artifacts.has(need.id):
            raise SpecError(
                f"trial {trial.id} needs the artifact {need.id} ({need.game.name}), which is not "
                "in "
                f"{masked(artifacts)!r}. Name another place with --artifacts, or make it again "
                "with --from-scratch."
            )


def _again(stored: Record, runtime: "TrialRuntime") -> Record:
    from trials.provenance import of_code, of_device, of_model  # noqa: PLC0415
    from trials.run import perform, run  # noqa: PLC0415

    if stored.status != "pruned":
        return run(stored.trial, runtime)
    running = perform(stored.trial, runtime)
    curve = list(islice(running, len(stored.curve)))  # as far as it had come when it was stopped
    if len(curve) < len(stored.curve):
        return running.record
    running.close()
    provenance = {
        **of_code(),
        **of_model(stored.trial.victim.model),
        **of_device(runtime.device),
    }
    return Record(trial=stored.trial, status="pruned", curve=tuple(curve), provenance=provenance)


def differences(stored: Record, now: Record, tolerance: float) -> Iterator[Difference]:
    """What differs in status, metrics and curve by more than ``tolerance``, absolute."""

    def apart(one: float | None, other: float | None) -> bool:
        return one is None or other is None or not abs(one - other) <= tolerance

    if stored.status != now.status:
        yield Difference("status", _said(stored), _said(now))
    for name in sorted(stored.metrics.keys() | now.metrics.keys()):
        a, b = stored.metrics.get(name), now.metrics.get(name)
        if apart(a, b):
            yield Difference(name, a, b)
    before = {p.step: p for p in stored.curve}
    after = {p.step: p for p in now.curve}
    for step in sorted(before.keys() | after.keys()):
        one, other = before.get(step), after.get(step)
        said, says = _numbers(one), _numbers(other)
        for name in sorted(said.keys() | says.keys()):
            a, b = said.get(name), says.get(name)
            if apart(a, b):
                yield Difference(f"{name} at step {step}", a, b)


def _numbers(point: Point | None) -> dict[str, float]:
    """All that was measured at a point."""
    return {"cda": point.cda, "asr": point.asr, **point.extra} if point else {}


def _reasons(stored: Record, now: Record) -> list[Difference]:
    a, b = stored.provenance, now.provenance
    keys = sorted((a.keys() | b.keys()) - _NO_REASON)
    return [Difference(k, a.get(k), b.get(k)) for k in keys if a.get(k) != b.get(k)]


def _said(record: Record) -> str:
    return f"failed: {_last(record)}" if record.status == "failed" else record.status


def _last(record: Record) -> str:
    return ((record.error or "").strip().splitlines() or ["no traceback"])[-1]
