"""A live page of a sweep that runs, for a browser on the same machine or one that has the token."""
