"""What a terminal shows: progress, and text that cannot steer it."""
