"""Where a store lies: its address read, and shown without its secrets."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from trials.spec import SpecError

DIALECTS = ("sqlite", "postgresql")
ACCEPTED = (
    "a path ending in .db, sqlite:///PATH, or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
)


def parse(address: str) -> URL:
    """The URL that SQLAlchemy needs for a store's address, which is a URL or the path of a file.

    Raises SpecError, without repeating it (it may hold a password), if it is none.
    """
    if "://" not in address:
        if not address.endswith(".db"):
            # a URL without its beginning may hold a password
            given = "" if "@" in address else f" {address!r}"
            raise SpecError(f"store{given} is not an address. Write {ACCEPTED}.")
        try:
            return URL.create("sqlite", database=str(Path(address).expanduser()))
        except RuntimeError as problem:  # no such user
            raise SpecError(f"store {address!r}: {problem}") from None
    if address.startswith(("postgres://", "postgresql://")):
        address = "postgresql+psycopg://" + address.split("://", 1)[1]
    try:
        url = make_url(address)
        name = url.get_dialect().name
    except (ArgumentError, NoSuchModuleError, ValueError, ImportError):
        raise SpecError(f"the store's URL cannot be read. Write {ACCEPTED}.") from None
    if name not in DIALECTS:
        raise SpecError(f"store {name}://... is not supported. Write {ACCEPTED}.")
    return url


def masked(url: URL) -> str:
    """The URL for people: no password, and no query, which may hold one."""
    return url.set(query={}).render_as_string(hide_password=True)


def file_of(url: URL) -> Path | None:
    """The file of an SQLite store; None for a server or a store in memory."""
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def missing(url: URL) -> str:
    """The line for a store that is not there."""
    return f"there is no store at {masked(url)}. `poisonsweep run SPEC.toml` makes one."


def reason(problem: DBAPIError, url: URL) -> str:
    """The first line of what the database said, without the password."""
    lines = str(problem.orig).strip().splitlines() or [type(problem.orig).__name__]
    secrets = [str(url.password or "")] + [str(v) for k, v in url.query.items() if "password" in k]
    for secret in filter(None, secrets):
        lines[0] = lines[0].replace(secret, "***")
    return lines[0].rstrip(".")
