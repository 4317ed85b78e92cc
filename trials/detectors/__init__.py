"""One file a method; a method's name is its file's name."""
