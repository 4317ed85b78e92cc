"""Files of weights from strangers, opened without running anything that they hold."""
