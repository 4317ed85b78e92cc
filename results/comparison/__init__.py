"""Many attacks, who wins: the ASR that each attack leaves after a repair, the scores of detectors,
the plane of both, the attackers' fronts, and the ranking of pairs of defense and detector by them.
"""
