"""The versions of the store's schema, one a file; a released file is never changed."""
