"""Records as TensorBoard runs: one run a trial, named by its id, with its curves and settings."""

from collections.abc import Iterable
from pathlib import Path

from results.export.settings import settings_of
from trials.spec import Record, SpecError


def to_tensorboard(records: Iterable[Record], folder: str | Path) -> int:
    """Write one run a trial into ``folder``: the scalars cda and asr (fractions) by step, and the
    settings.

    Returns:
        The number of runs.

    Raises:
        SpecError: ``folder`` holds something already, or cannot be written.
    """
    folder, count = Path(folder), 0
    try:
        if folder.exists() and any(folder.iterdir()):
            raise SpecError(
                f"{str(folder)!r} is not empty: TensorBoard would show both. Name a new folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        for record in records:
            _run(record, folder / record.trial.id)
            count += 1
    except OSError as problem:
        raise SpecError(
            f"cannot write to {str(folder)!r}: {problem.strerror or problem}."
        ) from problem
    return count


def _run(record: Record, folder: Path) -> None:
    from tensorboardX import SummaryWriter  # noqa: PLC0415  loads torch where there is one, which reading must not
    from tensorboardX.summary import hparams  # noqa: PLC0415

    words = {"status": record.status, **settings_of(record)}
    with SummaryWriter(logdir=str(folder)) as writer:
        # add_hparams would make a second run of them
        for part in hparams(words, dict(record.metrics)):
            writer.file_writer.add_summary(part)
        for point in record.curve:
            for name, value in (("cda", point.cda), ("asr", point.asr)):
                writer.add_scalar(name, value, point.step, walltime=point.seconds)
        for name, value in record.metrics.items():
            writer.add_scalar(
                f"metrics/{name}", value, record.curve[-1].step if record.curve else 0
            )
