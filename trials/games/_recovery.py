"""How near a detector's reconstructed trigger comes to the true one: direction and place of what it
adds.
"""

import torch
from torch import Tensor

from trials.types import Goal, Images, Poisoning, Suspicion, TriggerGoal

_LOCAL = 0.5  # a trigger that changes more than this share of the pixels has no place to be found


def rank_of(scores: Tensor, target: int) -> float:
    """Rank of the true target among the classes, 1 for the most suspicious one; ties share their
    mean rank.
    """
    above, level = int((scores > scores[target]).sum()), int((scores == scores[target]).sum())
    return above + (level + 1) / 2


def recovered(poisoning: Poisoning, few: Images, found: Suspicion) -> dict[str, float]:
    """Rank of the true target, and ``recovery`` of the true trigger.

    Of several attacks with a trigger, those of the one whose target the detector ranks highest, and
    each one's own with ``/NAME`` behind the metric.
    """
    each = {i.name: _of(i.goal, few, found) for i in poisoning.implants}
    each = {name: facts for name, facts in each.items() if facts}
    if len(each) <= 1:
        return next(iter(each.values()), {})
    split: dict[str, float] = {}
    for name, facts in each.items():
        split |= {f"{k}/{name}": v for k, v in facts.items()}
    return {**min(each.values(), key=lambda facts: facts["target_rank"]), **split}


def _of(goal: Goal, few: Images, found: Suspicion) -> dict[str, float]:
    """Nothing where the attack has no trigger to recover."""
    if not isinstance(goal, TriggerGoal):
        return {}
    cases = goal.cases(few)
    facts = {"target_rank": rank_of(found.scores, goal.target)}
    return facts | recovery(few.x[cases.places], cases.x, found, goal.target)


def recovery(clean: Tensor, triggered: Tensor, found: Suspicion, target: int) -> dict[str, float]:
    """Cosine and IoU of the trigger found for ``target`` with the true one.

    Args:
        clean: uint8 (n, c, h, w), images of other classes.
        triggered: the same images with the true trigger.
        found: what the detector said.
        target: the true target class.

    Returns:
        ``cosine`` in [-1, 1] of the mean changes; ``iou`` in [0, 1] of the changed pixels, left out
        where the true trigger covers over half of an image. A trigger that changes nothing has no
        cosine.
    """
    x = clean.float() / 255
    true = (triggered.float() / 255 - x).mean(0)
    trigger = found.triggers[target].detach().to(x)
    if found.masks is None:
        guess = ((x + trigger).clamp(0, 1) - x).mean(0)
        strength = trigger.abs().amax(0)
        support = strength > strength.max() / 2
    else:
        mask = found.masks[target].detach().to(x)
        guess = (mask * (trigger - x)).mean(0)
        support = mask[0] > 0.5
    facts: dict[str, float] = {}
    if float(true.norm()) and float(guess.norm()):
        facts["cosine"] = float(
            torch.nn.functional.cosine_similarity(true.flatten(), guess.flatten(), 0)
        )
    place = (clean != triggered).any(1).float().mean(0) > 0.5
    if 0 < float(place.float().mean()) <= _LOCAL:
        facts["iou"] = float((place & support).sum() / (place | support).sum())
    return facts
