"""Records and tables for other programs: CSV, Parquet, LaTeX, Optuna studies, TensorBoard."""
