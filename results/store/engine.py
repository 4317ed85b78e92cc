"""Reaching the database: addresses, durability, and the schema's version.

A store is checked with one query when it is opened; alembic is loaded only to make or migrate one.
SQLite runs in WAL mode with ``synchronous=FULL``: a commit that returned survives a power cut. Who
only reads opens it with ``results.store.read_only``, and neither writes nor migrates.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from results.store import read_only
from results.store.schema import READABLE, REVISION, VERSION_TABLE, metadata
from results.store.url import file_of, masked, missing, parse, reason
from trials.spec import SpecError, canonical

MIGRATIONS = Path(__file__).with_name("migrations")
_IMMEDIATE = "poisonsweep_immediate"
_SYNCHRONOUS = "poisonsweep_synchronous"
# which may hold a password
_BAD_OPTIONS = "store {} cannot be used: the options after ? are not its driver's."
_NO_FOLDER = "store {}: {}. Choose a folder that can be written."
_LONGEST = 64 * 2**20  # bytes of one value in SQLite
# libpq's: a server whose machine or network is gone is noticed in about a minute; seconds, the last
# in milliseconds
_HEARD = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_HEARD["tcp_user_timeout"] = 50_000
_MIGRATING = threading.Lock()  # alembic's context is one for all threads
_LOCK = 7_065_736_919  # PostgreSQL advisory lock held while tables are made or migrated


def connect(address: str, *, create: bool, write: bool = True) -> Engine:
    """An engine on a store of this schema, made or migrated if need be; without ``write`` neither
    is done.

    Raises:
        SpecError: the address, the database or its schema is not one that this version can use.
    """
    url = parse(address)
    file = file_of(url)
    if file is not None:
        _may_open(file, url, create=create, write=write)
    try:
        engine = _engine(url) if write or file is None else _reader(url, file)
    except ModuleNotFoundError as problem:
        install = "pip install 'poisonsweep[postgres]'"
        raise SpecError(
            f"store {masked(url)} needs the package {problem.name!r}: {install}."
        ) from None
    except (ArgumentError, TypeError, ValueError):
        raise SpecError(_BAD_OPTIONS.format(masked(url))) from None
    try:
        with _made(file if create else None, url):
            _prepare(engine, url, create=create, write=write)
    except SpecError:
        engine.dispose()
        raise
    except (ArgumentError, TypeError, ValueError):
        engine.dispose()
        raise SpecError(_BAD_OPTIONS.format(masked(url))) from None
    except DBAPIError as problem:
        engine.dispose()
        raise SpecError(f"store {masked(url)} cannot be used: {reason(problem, url)}.") from None
    except BaseException:
        engine.dispose()
        raise
    return engine


def _engine(url: URL) -> Engine:
    options = _HEARD if url.get_backend_name() == "postgresql" else {}
    absent = {name: value for name, value in options.items() if name not in url.query}
    engine = create_engine(url, json_serializer=canonical, connect_args=absent)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _pragmas)
        event.listen(engine, "begin", _begin)
    return engine


def _may_open(file: Path, url: URL, *, create: bool, write: bool) -> None:
    """Refuse a file that is not there, that this user has no right to, or beside which something
    dangerous lies.
    """
    if right := read_only.missing_right(file, write=write):
        raise SpecError(f"store {masked(url)} cannot be {'used' if write else 'read'}: {right}.")
    if not create and not file.exists():
        raise SpecError(missing(url))
    if create:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise SpecError(_NO_FOLDER.format(masked(url), problem.strerror or problem)) from None
    read_only.check_companions(file)


@contextlib.contextmanager
def _made(file: Path | None, url: URL) -> Iterator[None]:
    """A new store's file with the rights that the umask leaves, where SQLite would let only its
    owner write.

    It is gone again where opening the store fails.
    """
    fresh = file is not None and not file.exists()
    try:
        if file is not None and fresh:
            file.touch()
    except OSError as problem:
        raise SpecError(
            f"store {masked(url)}: {problem.strerror or problem}. Choose a folder that can be "
            "written."
        ) from None
    try:
        yield
    except BaseException:
        if file is not None and fresh and file.exists() and not file.stat().st_size:
            file.unlink()
        raise


def _reader(url: URL, file: Path) -> Engine:
    """An engine that opens the file anew for each transaction, and cannot write."""
    engine = create_engine(url, creator=lambda: read_only.connect(file), poolclass=NullPool)
    event.listen(engine, "connect", _pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def reading(engine: Engine) -> Engine:
    """The engine for transactions that read: several queries see one state of the store."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writing(engine: Engine) -> Engine:
    """The engine for transactions that write: on SQLite they wait for the lock at their start, not
    in the middle.
    """
    return engine.execution_options(**{_IMMEDIATE: True})


def claiming(engine: Engine) -> Engine:
    """The engine for claims: on SQLite they need not survive a power cut, which ends every driver
    of the file too.
    """
    return writing(engine).execution_options(**{_SYNCHRONOUS: "NORMAL"})


def _pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 begins no transaction by itself; _begin does
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    for pragma in (
        "busy_timeout=30000",
        "synchronous=FULL",
        "foreign_keys=ON",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    immediate, wanted = options.get(_IMMEDIATE), options.get(_SYNCHRONOUS, "FULL")
    if immediate and connection.info.get(_SYNCHRONOUS, "FULL") != wanted:
        # the pool's next user may want the other
        connection.exec_driver_sql(f"PRAGMA synchronous={wanted}")
        connection.info[_SYNCHRONOUS] = wanted
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def checkpoint(engine: Engine) -> None:
    """Take what is in the log of SQLite into the file, so that a copy of the file holds it too."""
    if engine.dialect.name == "sqlite":
        _outside(engine, "PRAGMA wal_checkpoint(PASSIVE)")


def _prepare(engine: Engine, url: URL, *, create: bool, write: bool) -> None:
    with engine.connect() as connection:
        version = _version(connection, url)
    if version == REVISION:
        return
    if version is None and not create:
        raise SpecError(_no_tables(url))
    if not write and version in READABLE:
        return
    from alembic.config import Config  # noqa: PLC0415  costs 0.2 s, and most stores need none of it
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    _must_be_known(url, version, known, write=write)
    if engine.dialect.name == "sqlite":
        _outside(engine, "PRAGMA journal_mode=WAL")
    with _MIGRATING, writing(engine).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        if _version(connection, url) != REVISION:  # another process may have been first
            config.attributes["connection"] = connection
            _upgrade()(config, "head")
    checkpoint(engine)


def _must_be_known(url: URL, version: str | None, known: Collection[str], *, write: bool) -> None:
    """Raise SpecError for a newer version's schema, or one that has to be migrated first."""
    if version is not None and version not in known:
        raise SpecError(
            f"store {masked(url)} was written by a newer poisonsweep (schema {version}, this one "
            f"knows {REVISION}). Upgrade poisonsweep, or name another store."
        )
    if not write:
        raise SpecError(
            f"store {masked(url)} has the schema {version} of an older poisonsweep, and this "
            "command only reads. `poisonsweep run SPEC.toml` on it brings it to the present one; "
            "copy it first if the older must read it."
        )


def _upgrade() -> Callable[[Any, str], None]:
    from alembic.command import upgrade  # noqa: PLC0415

    return upgrade


def _outside(engine: Engine, statement: str) -> None:
    raw = engine.raw_connection()
    try:
        raw.cursor().execute(statement)
    finally:
        raw.close()


def _no_tables(url: URL) -> str:
    """The line for a database without a store's tables, which a file that was copied while in use
    seems to be.
    """
    file = file_of(url)
    if file is None or file.stat().st_size == 0:
        return missing(url)
    return (
        f"there is no store at {masked(url)}: the file holds none of its tables. If it was copied "
        "from a store in use, "
        f"its content is still in the log beside the original: copy with sqlite3 ORIGINAL.db "
        f"'.backup {file.name}'."
    )


def _version(connection: Connection, url: URL) -> str | None:
    names = set(inspect(connection).get_table_names())
    if connection.dialect.name == "sqlite":
        # a view or a trigger in a stranger's file computes whatever it likes
        odd = connection.scalar(
            text("SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger')")
        )
        if odd is not None:
            raise SpecError(
                f"store {masked(url)} holds the view or trigger {odd!r}, which poisonsweep never "
                "makes."
            )
    if VERSION_TABLE in names:
        row = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).first()
        return str(row[0]) if row else None
    taken = sorted(names & set(metadata.tables))
    if taken:
        what = f"another program's table {taken[0]!r}"
        raise SpecError(f"store {masked(url)} holds {what}. Name another file or database.")
    return None
