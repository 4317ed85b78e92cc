"""The roof: plans a sweep, runs its trials here or on a Ray cluster, and the command line."""
