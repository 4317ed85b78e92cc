"""One file a schema; a released file is never changed."""
