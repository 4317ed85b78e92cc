"""The SQL store of every record: SQLite or PostgreSQL, its schema with versions, and claims of
drivers.

``Store.open`` makes, opens or migrates one; ``Store.read`` opens one, even a stranger's, without
changing anything.
"""

from results.store.store import DEFAULT_URL, Store

__all__ = ["DEFAULT_URL", "Store"]
