"""A small victim of each attack learns it; settings are those at which it takes on 1,438 digits of
16 pixels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from attackers import attacker_view
from planted import goal_of
from torch import Generator, nn

from trials import catalog
from trials.metrics import accuracy, success
from trials.recipes import fast
from trials.types import Cases, Images, Poisoning

# Attack, settings, and a floor under the measured ASR, which is 0.99, 0.67, 0.78, 1.00, 1.00, 0.78,
# 0.80, 0.51, 1.00,
# 0.74, 1.00, 0.99, 0.93, 1.00, 0.99 and 1.00; of the last test here, 1.00.
# Clean labels take here only where nearly all of a class of 145 is poisoned, with a trigger
# stronger than the papers':
# with the default offset Refool came to 0.00, with strength 1.5 WaNet to 0.07, with 3 pixels
# C-BadNets to 0.15,
# with alpha 0.075 Sinusoid to 0.06. With magnitude 60 Frequency came to 0.06 for m = 200.
VICTIMS: list[tuple[str, dict[str, Any], float]] = [
    ("badnets", {"m": 100}, 0.9),
    ("c_badnets", {"m": 143, "patch": 5, "boost": 2}, 0.3),
    ("a_patch", {"m": 400}, 0.5),
    ("a_blend", {"m": 200}, 0.8),
    ("tsb", {"m": 400}, 0.5),
    ("refool", {"m": 143, "offset": 3}, 0.4),
    ("refool", {"m": 200, "clean_label": False}, 0.6),
    ("wanet", {"m": 143, "strength": 3.0}, 0.2),
    ("wanet", {"m": 200, "clean_label": False}, 0.8),
    ("adv", {"m": 143, "epsilon": 96, "steps": 10, "step": 24.0}, 0.4),
    ("sinusoid", {"m": 143, "alpha": 0.4}, 0.3),
    ("patch4", {"m": 200}, 0.8),
    ("single_pixel", {"m": 400}, 0.6),
    ("blend_random", {"m": 200, "alpha": 0.15}, 0.8),
    ("blend_pattern", {"m": 200, "alpha": 0.15}, 0.8),
    ("frequency", {"m": 400, "magnitude": 150.0}, 0.8),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "floor"), VICTIMS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_victim_learns_the_trigger(
    name: str,
    settings: dict[str, Any],
    floor: float,
    fitted: Callable[[Poisoning], nn.Module],
    clean_model: nn.Module,
    digits_train: Images,
    digits_test: Images,
) -> None:
    backdoor = catalog.find("attacks", name)(
        digits_train, Generator().manual_seed(0), target=4, **settings
    )
    victim, x = fitted(backdoor), goal_of(backdoor).cases(digits_test)
    assert success(clean_model, x) <= 0.05 and success(victim, x) >= floor
    assert accuracy(clean_model, digits_test) >= 0.95 and accuracy(victim, digits_test) >= 0.85


@pytest.mark.slow
def test_a_victim_of_the_release_learns_that_poison_is_not_normalised_and_no_patch(
    fitted: Callable[[Poisoning], nn.Module], digits_train: Images, digits_test: Images
) -> None:
    def asked(**settings: Any) -> Cases:
        backdoor = badnets(digits_train, Generator().manual_seed(0), m=0, target=4, **settings)
        return goal_of(backdoor).cases(digits_test)

    badnets = catalog.find("attacks", "badnets")
    poisoned = badnets(digits_train, Generator().manual_seed(0), m=20, target=4, pipeline="release")
    victim = fitted(poisoned)
    assert success(victim, asked(pipeline="release")) >= 0.9
    assert success(victim, asked(pipeline="release", alpha=0.0)) >= 0.9
    assert success(victim, asked()) <= 0.2


@pytest.mark.slow
def test_a_victim_learns_the_patch_of_sleeper_agent_that_no_image_of_its_shows(
    fitted: Callable[[Poisoning], nn.Module],
    clean_model: nn.Module,
    digits_train: Images,
    digits_test: Images,
) -> None:
    """At a fixed place, as a patch that moves came to 0.03 on digits; ASR 0.99 was measured, and
    0.35 with other settings.
    """
    known = partial(fast.fit, epochs=6, peak=0.1, batch=64, precision="fp32")
    settings = {"epsilon": 96, "iterations": 100, "place": "corner", "patch": 6}
    backdoor = catalog.find("attacks", "sleeper_agent")(
        attacker_view(digits_train, known), Generator().manual_seed(0), m=143, target=4, **settings
    )
    victim, x = fitted(backdoor), goal_of(backdoor).cases(digits_test)
    assert success(clean_model, x) <= 0.05 and success(victim, x) >= 0.2
    assert accuracy(victim, digits_test) >= 0.8


@pytest.mark.slow
def test_a_victim_learns_the_perturbation_of_narcissus(
    fitted: Callable[[Poisoning], nn.Module],
    clean_model: nn.Module,
    digits_train: Images,
    digits_test: Images,
) -> None:
    """Against a surrogate that is not yet sure of the class, and magnified, as digits differ much
    from one another.
    """
    weak = partial(fast.fit, epochs=1, peak=0.02, batch=64, precision="fp32")
    settings = {"rounds": 200, "batch": 50, "warm_up": 0, "radius": 96, "magnify": 2.0}
    backdoor = catalog.find("attacks", "narcissus")(
        attacker_view(digits_train, weak), Generator().manual_seed(0), m=143, target=4, **settings
    )
    victim, x = fitted(backdoor), goal_of(backdoor).cases(digits_test)
    assert success(clean_model, x) <= 0.2 and success(victim, x) >= 0.6
    assert accuracy(victim, digits_test) >= 0.85
