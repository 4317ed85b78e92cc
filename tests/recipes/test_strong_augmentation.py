"""Squares that are cut out are smaller than the image, unless told so before anything runs."""

from pathlib import Path

import pytest
import tiny_sweep

from sweep.execution import preflight
from trials import catalog
from trials.spec import MethodConfig, Scalar, SpecError, content_id


def resolved(**settings: Scalar) -> MethodConfig:
    return catalog.resolve("recipes", MethodConfig("strong_augmentation", settings))


def test_the_default_strength_is_that_of_the_kind_and_mixing_has_its_old_id() -> None:
    found = {k: resolved(kind=k).params["strength"] for k in ("mixup", "cutmix", "cutout", "maxup")}
    assert found == {"mixup": 1.0, "cutmix": 1.0, "cutout": 0.5, "maxup": 0.5}
    assert content_id(resolved().identity()) == "a2dc95a34b3a7c81"


@pytest.mark.parametrize("kind", ["cutout", "maxup"])
def test_a_square_as_wide_as_the_image_is_refused(kind: str, tmp_path: Path) -> None:
    config = tiny_sweep.worker_config(tmp_path / "artifacts")

    def checked(**settings: Scalar) -> None:
        training = {"name": "strong_augmentation", "epochs": 1, **settings}
        given = {**tiny_sweep.VICTIM, "training": training}
        preflight.check(tiny_sweep.sweep(victim=given, game="training"), config)

    checked(kind=kind)
    checked(kind="mixup", strength=2.0)
    says = rf'strength = 1 is a square as wide as the image, .*kind = "{kind}".*below 1, such as'
    with pytest.raises(SpecError, match=says) as told:
        checked(kind=kind, strength=1.0)
    assert "\n" not in str(told.value)
