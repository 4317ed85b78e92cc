"""What to try: one search space a defense, after Pick your Poison, section A-E and Table V."""
