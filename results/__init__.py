"""What came out of a sweep, and what it means. Loads neither torch nor ray."""
