"""How a store's schema came to be, one file a step; alembic runs them when an older store is
opened.
"""
