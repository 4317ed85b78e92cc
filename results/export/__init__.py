"""Records and tables as files for other programs: CSV, Parquet, LaTeX, Optuna studies and
TensorBoard logs.
"""
