"""Search spaces of detectors, one a file; a space's name is its detector's name."""
