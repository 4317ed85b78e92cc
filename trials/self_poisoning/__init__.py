"""How a defender poisons copies of their own model: which trigger each copy gets (``triggers``), on
which trusted images it is fitted, selected and reported (``layout``), and how it is trained in
(``schemes``).
"""

MIXED = "mixed"  # as the attack of self-poisoning: the kinds in turn
# kinds of trigger, in the order in which copies get them: the first three differ most
KINDS = ("patch", "adaptive", "warp", "corner", "blend")
EASIEST = "patch"  # what a copy gets, of kinds in turn, whose own kind is not learned
# of which several draws may be needed (of 34 copies by late and reborn 4, of as many others none;
# on a small ViT no warp was learned), so that their copies are begun first
HARDEST = ("adaptive", "warp")


def kind_of(attack: str, copy: int) -> str:
    """What copy ``copy`` gets: one of ``KINDS`` where ``attack`` is ``mixed``, else ``attack``."""
    return KINDS[copy % len(KINDS)] if attack == MIXED else attack
