"""The suite of BaDLoss's paper as sweeps: its attacks, their shares, and filters beside them."""

from collections import Counter
from pathlib import Path

import pytest

from sweep.planning.filtering import filtered
from sweep.spec.sweep_file import Sweep, read
from trials import catalog

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Sweep]:
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setenv("POISONSWEEP_DATA", str(tmp_path))
    names = ("badloss", "badloss-imagenette", "badloss-cifar10-short")
    return {name: read(EXAMPLES / f"{name}.toml") for name in names}


def test_all_attacks_at_once_and_each_alone_on_three_seeds(sweeps: dict[str, Sweep]) -> None:
    for name, together, total in (("badloss", 7, 3025), ("badloss-imagenette", 5, 360)):
        victims = sweeps[name].victims
        sizes = Counter(len(v.attacks) for v in victims)
        assert sizes == {together: 3, 1: 3 * together} and {v.seed for v in victims} == {0, 1, 2}
        several = max(victims, key=lambda v: len(v.attacks))
        assert sum(int(a.params["m"]) for a in several.attacks) == total  # 6.05 % of CIFAR-10
        assert len({a.params["target"] for a in several.attacks}) == together


def test_badloss_meets_six_other_filters_on_the_same_victims(sweeps: dict[str, Sweep]) -> None:
    for of in sweeps.values():
        asked = {(f.name, str(f.fixed)) for f in of.filters}
        names = {name for name, _ in asked}
        assert "badloss" in names and len(names) >= 7 and len(asked) == len(of.filters)
        scored = [{v.filter.trusted for v in filtered(of, f) if v.filter} for f in of.filters]
        assert all(r == set(of.trusted) for r in scored)


def test_attacks_that_keep_labels_come_first(sweeps: dict[str, Sweep]) -> None:
    keep = {"narcissus", "sinusoid"}
    for of in sweeps.values():
        for victim in of.victims:
            keeps = [a.name in keep for a in victim.attacks]
            assert keeps == sorted(keeps, reverse=True)
            assert all(catalog.describe("attacks", a.name) for a in victim.attacks)
