"""The TOML file of a sweep, read into frozen values, every word checked."""
