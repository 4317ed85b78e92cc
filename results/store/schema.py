"""The store's tables, the same on SQLite and PostgreSQL.

A trial is there once it has run; planned is one that is to run again. JSON is kept as text
(``json``, not ``jsonb``), so that a stored setting comes back as the very number that its id was
computed from.
"""

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Double,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import BigInteger

REVISION = "0002"  # the newest file in migrations/versions
READABLE = ("0001", REVISION)  # those whose sweeps, trials, curves and scores are read as they are
VERSION_TABLE = "poisonsweep_version"  # not alembic's own name: Optuna's storage uses that

metadata = MetaData()
_json = JSON(none_as_null=True)

sweeps = Table(
    "sweeps",
    metadata,
    Column("name", Text, primary_key=True),
    Column("spec", _json, nullable=False),  # as the user wrote it
    Column("created", Text, nullable=False),  # UTC, ISO 8601
)

victims = Table(
    "victims",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("spec", _json, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("victim_id", String(16), ForeignKey("victims.id"), nullable=False),
    Column("game", Text, nullable=False),
    Column("method", Text),  # the defense's name, null for none
    Column("trusted", Float, nullable=False),  # a fraction
    Column("seed", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("spec", _json, nullable=False),  # the resolved trial, every default written out
    Column("asked", _json, nullable=False),  # only the settings that differ from the defaults
    Column("error", Text),  # the traceback of a failed trial
    Column("seconds", Float),
    Column("provenance", _json),
    Column("finished", Text),  # UTC, ISO 8601
    CheckConstraint("status in ('planned', 'done', 'failed', 'pruned')", name="trials_status"),
)

curves = Table(
    "curves",
    metadata,
    Column("trial_id", String(16), ForeignKey("trials.id"), primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),  # optimizer steps
    Column("cda", Float, nullable=False),  # a fraction
    Column("asr", Float, nullable=False),  # a fraction
    Column("seconds", Float, nullable=False),  # of the trial's own time
    Column("more", _json, key="extra"),
    sqlite_with_rowid=False,
)

scores = Table(
    "scores",
    metadata,
    Column("trial_id", String(16), ForeignKey("trials.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Float, nullable=False),
    sqlite_with_rowid=False,
)

sweep_trials = Table(
    "sweep_trials",
    metadata,
    Column("sweep", Text, ForeignKey("sweeps.name"), primary_key=True),
    Column("trial_id", String(16), ForeignKey("trials.id"), primary_key=True),
    Column("position", Integer, nullable=False),  # the order of the plan
    Index("sweep_trials_position", "sweep", "position"),
    sqlite_with_rowid=False,
)

claims = Table(
    "claims",
    metadata,
    Column("trial_id", String(16), primary_key=True),  # of a trial that need not be planned
    Column("owner", Text, nullable=False),  # the driver that runs it
    Column("expires", Double, nullable=False),  # seconds since 1970, by the database's clock
    sqlite_with_rowid=False,
)
