"""Ray Tune as the executor. Every private name of Ray is used in this package and nowhere else."""
