"""Files of weights from strangers, opened in a process of their own without running anything that
they hold, and the names by which architectures store their layers.
"""
