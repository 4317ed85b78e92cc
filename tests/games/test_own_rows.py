"""The defender's own poison in a training set: what it is, who sees it, that it is removed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch
from torch import Generator

from trials import catalog
from trials.data_views import data_view, own_rows_in
from trials.datasets import digits
from trials.dependencies import dependencies, filtering_of, graph, own_rows_of, training_of
from trials.json_forms import to_json, victim_from_json
from trials.run import run
from trials.runtime import TrialRuntime
from trials.self_poisoning.own_rows import LEAST, OWN_ATTACKS, OwnRows, own_rows
from trials.spec import Filtering, MethodConfig, SpecError, Victim
from trials.storage.artifacts import Artifacts
from trials.types import Images


def trusted() -> Images:
    return digits.load("train", size=16).take(torch.arange(300))


def planted(seed: int = 0, **changes: Any) -> OwnRows:
    given = {"attacks": 7, "least": 0.001, "most": 0.02, "kinds": "all", **changes}
    return own_rows(
        trusted(),
        1000,
        lambda *s: Generator().manual_seed(seed + sum(map(len, map(str, s)))),
        **given,
    )


def test_each_attack_has_rows_with_the_label_that_it_wants() -> None:
    found = planted()
    assert found.names == tuple(OWN_ATTACKS) and len({g.target for g in found.goals}) == 7
    for j, goal in enumerate(found.goals):
        mine = found.rows.take(found.number == j)
        assert len(mine) == LEAST and set(mine.y.tolist()) == {goal.target}
    assert len(found.among(trusted()).y) == 300 + 7 * LEAST + len(found.held)


def test_images_are_stamped_shifted_where_there_are_too_few() -> None:
    again = dict(zip(OWN_ATTACKS, planted().restamped, strict=True))
    assert again["patch"] == again["blend"] == 0  # 90 images, of which 81 are of other classes
    assert again["sinusoid"] >= LEAST - 15  # 9 of its class


def test_of_each_image_one_row_counts() -> None:
    found = planted()
    patch, sinusoid = (
        found.first[found.number == found.names.index(k)] for k in ("patch", "sinusoid")
    )
    assert patch.all() and len(patch) == len(sinusoid) == LEAST
    assert sinusoid[0] and int(sinusoid.sum()) <= 15  # images of its class


def test_probes_held_back_and_stamped_images_are_disjoint() -> None:
    found = planted()
    digests = [{x.numpy().tobytes() for x in part.x} for part in (found.probes, found.held)]
    assert not digests[0] & digests[1] and sum(map(len, digests)) == 210
    assert set(found.held.y.tolist()) == set(range(10))


def test_shares_grow_with_the_training_set_and_kinds_can_be_left_out() -> None:
    many = own_rows(
        trusted(),
        50_000,
        lambda *s: Generator().manual_seed(len(s)),
        attacks=1,
        least=0.002,
        most=0.004,
        kinds="patch",
    )
    assert many.names == ("patch",) and 100 <= len(many.rows) <= 200
    assert "sinusoid" not in planted(kinds="flipped", attacks=5).names
    with pytest.raises(SpecError, match="attacks = 2, but there are 1 of kinds = 'patch'"):
        planted(kinds="patch", attacks=2)


def test_an_absent_class_cannot_be_stamped() -> None:
    lone = trusted().take(trusted().y == 4)
    with pytest.raises(SpecError, match="trusted images that are stamped is of class"):
        own_rows(
            lone,
            1000,
            lambda *s: Generator().manual_seed(1),
            attacks=2,
            least=0.001,
            most=0.02,
            kinds="all",
        )


# In a trial.


def victim(reject: float | str = "recall", **threshold: Any) -> Victim:
    given = {**tiny_sweep.VICTIM, "reserve": 0.3, "attacks": [{"name": "badnets", "m": 60}]}
    (plain,) = tiny_sweep.sweep(victim=given).victims
    filtering = Filtering(
        method=MethodConfig("spectral_signatures"),
        reject=reject,
        trusted=0.3,
        seed=0,
        self_poisoning=MethodConfig("self_poison_data", {"attacks": 2}),
        threshold=threshold,
    )
    return catalog.resolve_victim(replace(plain, filter=filtering))


def test_what_it_builds_on_and_how_it_is_stored() -> None:
    of = victim(beta=0.05, quota="capped")
    scoring, own = filtering_of(of), own_rows_of(of)
    assert own.id in {t.id for t in dependencies(scoring)} and own.victim.filter is None
    assert scoring.game.params["beta"] == 0.05 and scoring.game.params["quota"] == "capped"
    assert victim_from_json(to_json(of)).id == of.id
    ids = {filtering_of(v).id for v in (of, victim(beta=0.1), victim(0.4), victim("budget"))}
    assert len(ids) == 4
    assert victim(beta=0.1).id == victim().id  # a default is as if nothing was said


def test_settings_at_their_defaults_leave_the_id_of_a_filtered_victim_alone() -> None:
    of = victim()
    assert of.filter is not None
    before = replace(of, filter=replace(of.filter, self_poisoning=None))
    assert set(before.identity()["filter"]) == {"method", "reject", "trusted", "seed"}
    assert set(to_json(before)["filter"]) == {"method", "reject", "trusted", "seed"}


def test_own_poison_is_scored_and_removed_and_the_judge_stands_beside(tmp_path: Path) -> None:
    runtime, of = TrialRuntime(Artifacts(tmp_path)), victim(quota="capped")
    records = {r.trial.game.name: r for r in (run(t, runtime) for t in graph([training_of(of)]))}
    assert [r.error for r in records.values()] == [None] * 3  # the last is the filtered training
    scored, after = records["filtering"].metrics, records["training"].metrics
    own = own_rows_in(filtering_of(of), runtime)
    assert own is not None
    tensors, _ = runtime.artifacts.load(filtering_of(of).id)
    n, m, v = len(tensors["rows"]), len(own.rows.rows), len(own.rows.held)
    assert len(tensors["scores"]) == n + m + v and len(tensors["kept"]) == n
    assert after["n_train"] == int(tensors["kept"].sum()) < n  # none of the m and v is in it
    assert {"own_recall/patch", "own_recall/sinusoid", "own_fpr", "ks/badnets"} <= scored.keys()
    assert {"auroc/badnets", "removed/badnets"} <= scored.keys()  # the judge's
    level = float(tensors["scores"][:n][~tensors["kept"][tensors["rows"]]].min())
    first = own.rows.first & (own.rows.number == 0)
    seen = float((tensors["scores"][n : n + m][first] >= level).double().mean())
    images = scored["own_images/patch"]
    assert images == int(first.sum()) and scored["own_recall/patch"] <= seen
    assert scored["own_promised"] <= 0.9
    assert after["own_left"] <= 0.3 and {"cda_held", "own_asr/patch"} <= after.keys()
    view = data_view(filtering_of(of), runtime)
    assert len(view.train) == n + m + v
    assert torch.equal(view.train.x[n : n + m], own.rows.rows.x)
    assert torch.equal(view.trusted.x, own.rows.probes.x)


def test_trusted_images_must_lie_outside_of_the_set(tmp_path: Path) -> None:
    of = victim()
    inside = catalog.resolve_victim(replace(of, reserve=0.0))
    with pytest.raises(SpecError, match=r"trusted images that no training sees: set reserve"):
        data_view(filtering_of(inside), TrialRuntime(Artifacts(tmp_path)))
