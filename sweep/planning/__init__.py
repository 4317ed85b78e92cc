"""From a sweep to trials, in stages, and the strategies that walk a search space. Runs nothing."""
