"""Games: what a trial measures and who may see what, one a file; a game's name is its file's name.
Training makes a victim, self_poison a copy, tuning and detector_tuning choose on copies,
confirmation, robustness and detectability judge.
"""
