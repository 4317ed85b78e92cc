"""One file a detector; a space's name is its detector's name."""
