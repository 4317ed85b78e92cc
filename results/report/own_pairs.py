"""What is said of a filter and a repair that a defender takes by poison of their own."""

from results.selection.filter_winner import LEAK
from results.selection.labels import percent
from results.selection.own_pairs import OwnPair, PairTaken


def sentences(taken: PairTaken) -> list[str]:
    """What was taken, by which figures, or that a repair adds nothing."""
    alone, pair, best = taken.alone, taken.pair, taken.best
    told = f"On the set with the defender's own poison {_left(alone)}"
    if pair is not alone:
        return [f"{told}. {_left(pair)}: that is taken."]
    if best is alone:
        return [f"{told}, and nothing that was tried leaves less: a repair adds nothing."]
    within = f"not {percent(LEAK, 0)} points less"
    return [f"{told}. {_left(best)}, {within}: a repair adds nothing, none is taken."]


def _left(pair: OwnPair) -> str:
    filtering, repair = pair.record.trial.victim.filter, pair.repair
    assert filtering is not None
    told = filtering.method.name
    told += f" and then {repair.name}, stopped at step {pair.point.step}," if repair else " alone"
    return (
        f"{told} leaves at most {percent(pair.point.asr)} % ASR of a trigger of theirs and loses "
        f"{percent(pair.loss)} points of accuracy"
    )
