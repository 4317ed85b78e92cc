"""What a terminal shows: progress, tables, and text of strangers that cannot steer it."""
