"""Records as runs of MLflow: one run a trial, with its settings, metrics and curves.

Source: MLflow's client API, https://mlflow.org/docs/latest/api_reference.
"""

import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from results.export.settings import settings_of
from trials.spec import Record, SpecError

TRIAL = "poisonsweep.trial"  # the tag that holds a trial's id
_STATUS = {"done": "FINISHED", "failed": "FAILED", "pruned": "KILLED"}
_WORTH = {"FAILED": 0, "KILLED": 1}  # a run in another state is worth more
_AT_ONCE = 900  # metrics; a server takes 1,000 in one request
_SETTINGS = 100  # parameters, of which it takes no more in one request
_LONGEST = 6000  # characters of a parameter


def to_mlflow(records: Iterable[Record], uri: str, experiment: str) -> int:
    """Add one run a trial to an experiment, which is made where there is none; trials that it has
    already are left alone. The run of a trial that had failed, or was pruned, and has come further
    is replaced; MLflow keeps it among the deleted ones.

    Args:
        records: of one sweep.
        uri: MLflow's tracking server or store, as http://HOST:5000 or sqlite:///FILE.db.
        experiment: its name.

    Returns:
        The number of runs that were added.

    Raises:
        SpecError: MLflow is not installed, or there is nothing that answers at ``uri``, or it is
            none.
    """
    try:
        urlsplit(uri)
    except ValueError:
        raise SpecError(
            "--mlflow: that is no URI. Write one as http://HOST:5000 or sqlite:///FILE.db."
        ) from None  # it may hold a password
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    try:
        from mlflow import MlflowClient  # noqa: PLC0415  an extra
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
    except ImportError as missing:
        raise SpecError(
            f"--mlflow needs a package that is not here ({missing.name}): "
            "pip install 'poisonsweep[mlflow]'."
        ) from missing
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's of its own libraries
            return _added(MlflowClient(tracking_uri=uri), experiment, records)
    except (MlflowException, OSError, ValueError) as problem:
        told = without_secrets(str(problem).splitlines()[0], uri)
        raise SpecError(
            f"cannot write to MLflow at {without_secrets(uri, uri)!r}: {told}"
        ) from None  # the cause may hold the password


def _added(client: Any, experiment: str, records: Iterable[Record]) -> int:
    known = client.get_experiment_by_name(experiment)
    place = known.experiment_id if known else client.create_experiment(experiment)
    there, count = defaultdict[str, list[tuple[int, str]]](list), 0
    for trial, worth, run in _trials(client, place):
        there[trial].append((worth, run))
    for record in records:
        known_runs, worth = there[record.trial.id], _worth(_STATUS[record.status])
        if all(had < worth for had, _ in known_runs):
            _add(client, place, record)
            count += 1
        for had, run in known_runs:
            if had < worth:
                client.delete_run(run)
    return count


def _worth(status: str) -> int:
    return _WORTH.get(status, len(_WORTH))


def without_secrets(text: str, uri: str) -> str:
    """The text without the user, the password and the query that ``uri`` holds."""
    parts = urlsplit(uri)
    user, at, _ = parts.netloc.rpartition("@")
    for secret in (user + at, f"?{parts.query}", f"#{parts.fragment}"):
        text = text.replace(secret, "") if len(secret) > 1 else text
    return text


def _trials(client: Any, experiment: str) -> Iterator[tuple[str, int, str]]:
    """The trial's id, the worth and the run's id of each run that an experiment has, whole ones."""
    token: str | None = None
    while True:
        page = client.search_runs([experiment], "attributes.status != 'RUNNING'", page_token=token)
        for run in page:
            if TRIAL in run.data.tags:
                yield run.data.tags[TRIAL], _worth(run.info.status), run.info.run_id
        token = page.token
        if not token:
            return


def _add(client: Any, experiment: str, record: Record) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415

    trial, began = record.trial, _began(record.provenance)
    tags = {TRIAL: trial.id, "mlflow.source.name": "poisonsweep"}
    if record.error:
        tags["poisonsweep.error"] = record.error.splitlines()[-1]
    run = client.create_run(experiment, began, tags, run_name=f"{_name(record)}-{trial.id[:8]}")
    settings = [Param(k, str(v)[:_LONGEST]) for k, v in settings_of(record).items()]
    numbers = [Metric(name, value, at, step) for name, value, at, step in _numbers(record, began)]
    for first in range(0, len(settings), _SETTINGS):
        client.log_batch(run.info.run_id, params=settings[first : first + _SETTINGS])
    for first in range(0, len(numbers), _AT_ONCE):
        client.log_batch(run.info.run_id, metrics=numbers[first : first + _AT_ONCE])
    ended = began + round(1000 * record.seconds)
    client.set_terminated(run.info.run_id, _STATUS[record.status], ended)


def _name(record: Record) -> str:
    return record.trial.method.name if record.trial.method else record.trial.game.name


def _began(provenance: Mapping[str, str]) -> int:
    """When a trial started, in milliseconds since 1970; 0 where no one wrote it down."""
    started = provenance.get("started")
    return round(1000 * datetime.fromisoformat(started).timestamp()) if started else 0


def _numbers(record: Record, began: int) -> Sequence[tuple[str, float, int, int]]:
    """(name, value, time, step) of every metric and of every point of the curve."""
    end = record.curve[-1].step if record.curve else 0
    ended = began + round(1000 * record.seconds)
    found = [(f"metrics/{_plain(k)}", v, ended, end) for k, v in record.metrics.items()]
    for point in record.curve:
        at = began + round(1000 * point.seconds)
        found += [("cda", point.cda, at, point.step), ("asr", point.asr, at, point.step)]
    return found


def _plain(name: str) -> str:
    """A metric's name in the characters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in name)
