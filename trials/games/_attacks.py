"""How far the attacks on a victim succeed: each by itself, and all of them as one number.

This is of attacks with a trigger. Success of an attack on certain images is no ASR, and is measured
by the game ``targeted``.
"""

from collections.abc import Callable, Iterable, Mapping
from statistics import fmean

from torch import Tensor, nn

from trials.metrics import hit_rate, predictions
from trials.types import Cases, Images, InstanceGoal, Poisoning, TriggerGoal

# name -> what makes one ASR of those of several attacks
RULES: Mapping[str, Callable[[Iterable[float]], float]] = {"max": max, "mean": fmean, "min": min}


class Attacks:
    """The attacks on a victim, with the test images that each one's success is counted on.

    Args:
        poisoning: the attacks; none for a clean victim, on which no attack ever succeeds.
        test: the test set.
        rule: a name in ``RULES``.
    """

    def __init__(self, poisoning: Poisoning, test: Images, rule: str = "max") -> None:
        implants = poisoning.implants
        goals = {i.name: i.goal for i in implants if not isinstance(i.goal, InstanceGoal)}
        self.cases: dict[str, Cases] = {name: goal.cases(test) for name, goal in goals.items()}
        self._rule, self._test = RULES[rule], test
        self._targets = {n: g.target for n, g in goals.items() if isinstance(g, TriggerGoal)}

    @property
    def several(self) -> bool:
        return len(self.cases) > 1

    def sizes(self) -> dict[str, float]:
        """``n_triggered``, the images that the ASR is over: of several attacks the fewest, and each
        one's as ``n_triggered/NAME``.
        """
        each = {name: float(len(cases)) for name, cases in self.cases.items()}
        fewest = min(each.values(), default=float(len(self._test)))
        return {"n_triggered": fewest, **self._split("n_triggered", each)}

    def measure(self, model: nn.Module) -> dict[str, float]:
        """``asr`` by the rule; of several attacks each one's as ``asr/NAME`` too."""
        return self.asr(self.predicted(model))

    def predicted(self, model: nn.Module) -> Mapping[str, Tensor]:
        """The classes int64 (n,) that the model gives each attack's cases."""
        return {name: predictions(model, cases.x) for name, cases in self.cases.items()}

    def asr(self, predicted: Mapping[str, Tensor]) -> dict[str, float]:
        """What ``measure`` gives, from predicted classes."""
        each = {name: hit_rate(predicted[name], cases) for name, cases in self.cases.items()}
        return self.by_rule("asr", each)

    def cross(self, predicted: Mapping[str, Tensor]) -> dict[str, float]:
        """``cross/A/B`` for each two of several triggers: how often that of A leads to B's target.

        Over images whose true class is neither's target; two classes have none, and no such number.
        """
        found: dict[str, float] = {}
        for name in self._targets:
            true = self._test.y[self.cases[name].places].to(predicted[name].device)
            for other, target in self._targets.items():
                told = predicted[name][true != target]
                if other != name and len(told):
                    found[f"cross/{name}/{other}"] = float((told == target).double().mean())
        return found

    def by_rule(self, metric: str, each: Mapping[str, float]) -> dict[str, float]:
        """The attacks' values of a metric as one, and where there are several, each as
        ``METRIC/NAME``.
        """
        value = self._rule(each.values()) if each else 0.0
        return {metric: value, **self._split(metric, each)}

    def _split(self, metric: str, each: Mapping[str, float]) -> dict[str, float]:
        return {f"{metric}/{name}": v for name, v in each.items()} if self.several else {}
