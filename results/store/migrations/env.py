"""Alembic's entry: migrates on the connection, and in the transaction, that results.store.engine
hands over.
"""

from alembic import context

from results.store.schema import VERSION_TABLE, metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("A store is migrated by opening it: results.store.store.Store.open(url).")
context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
