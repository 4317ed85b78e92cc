"""What every defense promises, and what each one promises by itself."""
