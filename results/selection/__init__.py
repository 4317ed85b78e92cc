"""One victim, which defense: rules that choose a step of a curve, configurations over seeds, the
winner of each task and its confirmation on held-out images, the importance of settings, and the
names by which tasks and attacks are told apart.
"""
