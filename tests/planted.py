"""A poisoning of one attack: made by hand, and its parts."""

from torch import Tensor

from trials.types import Control, Images, Implant, Poisoning, Trigger, TriggerGoal


def planted(
    train: Images,
    places: Tensor,
    trigger: Trigger,
    target: int,
    boost: int = 1,
    frozen: bool = False,
    control: Control | None = None,
) -> Poisoning:
    goal = TriggerGoal(trigger, target)
    return Poisoning(train, (Implant(places, goal, boost, frozen, control),))


def only(poisoning: Poisoning) -> Implant:
    (implant,) = poisoning.implants
    return implant


def goal_of(poisoning: Poisoning) -> TriggerGoal:
    goal = only(poisoning).goal
    assert isinstance(goal, TriggerGoal)
    return goal


def trigger_of(poisoning: Poisoning) -> Trigger:
    return goal_of(poisoning).trigger
