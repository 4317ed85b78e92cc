"""Every kind of wrong input is one line that names what is accepted."""

from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch
from forked_reader import Reader

from sweep.execution.preflight import check
from sweep.planning import expansion
from sweep.spec import sweep_file
from sweep.spec.compute import Compute, fits
from trials.spec import SpecError
from trials.weights import _unpack

VICTIM = tiny_sweep.VICTIM


def victim(**changes: Any) -> dict[str, Any]:
    return {"victim": {**VICTIM, **changes}}


def defense(**changes: Any) -> dict[str, Any]:
    return {"defenses": [{"name": "weight_decay", "profile": "small", **changes}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"trustd": 0.1}, "Did you mean 'trusted'"),
    ({"name": ""}, "1 to 100"),
    ({"name": 3}, "name must be a string"),
    ({"confirm": 1}, "confirm must be true or false"),
    ({"trusted": 5}, "write 0.05 for 5 %"),
    ({"trusted": 0}, r"\(0, 1\]"),
    ({"trusted": float("nan")}, "finite number"),
    ({"trusted": float("inf")}, "finite number"),
    ({"trusted": "0.1"}, "finite number"),
    ({"trusted": True}, "finite number"),
    ({"trusted": []}, "empty list"),
    ({"seeds": []}, "empty list"),
    ({"seeds": 1.5}, "integers"),
    ({"seeds": -1}, r"\[0, 2\^63\)"),
    ({"seeds": 2**64}, r"\[0, 2\^63\)"),
    ({"rule": "min_asr_within_dleta"}, "Did you mean 'min_asr_within_delta'"),
    ({"rule": "oracle"}, "Known: worst_kind_within_delta"),
    ({"game": "tunning"}, "Did you mean 'tuning'"),
    ({"victim": 3}, "victim must be a table"),
    (victim(datset="digits"), "Did you mean 'dataset'"),
    (victim(dataset="digit"), "Did you mean 'digits'"),
    (victim(dataset={"size": 16}), "needs a name"),
    (victim(dataset={"name": "digits", "size": 0}), "size must be an integer in"),
    (victim(dataset=7), "must be a table"),
    (victim(model={"name": "resnet18", "widht": 4}), "Did you mean 'width'"),
    (victim(model={"name": "resnet18", "width": []}), "empty list"),
    (victim(training="fats"), "Did you mean 'fast'"),
    (victim(attacks=["badnet"]), "Did you mean 'badnets'"),
    (victim(attacks=[]), "empty list"),
    (victim(attacks=[{"name": "badnets", "m": -1}]), "m must be an integer in"),
    (victim(attacks=[{"name": "badnets", "m": 1.5}]), "m must be an integer in"),
    (victim(attacks=[{"name": "badnets", "alpha": 2.0}]), "alpha must be"),
    (victim(attacks=[{"name": "none", "m": 3}]), "unknown attack 'none'"),
    (victim(attacks=[[["badnets"]]]), "must be a table"),
    (victim(seeds=[0, "1"]), "integers"),
    (victim(reserve=1.0), r"\[0, 1\)"),
    ({"defenses": []}, "Known defenses"),
    ({"defenses": "weight_decay"}, "must be a table"),
    ({"defenses": [{}]}, "has no name"),
    ({"defenses": [{"name": "weigt_decay"}]}, "Did you mean 'weight_decay'"),
    (defense(profile="smal"), "Did you mean 'small'"),
    (defense(strategy="gird"), "Did you mean 'grid'"),
    (defense(strategy="search", sampler="tpee"), "Did you mean 'tpe'"),
    (defense(strategy="search", objectives=["asrr"]), "Did you mean 'asr'"),
    (defense(strategy="search", objectives=[]), "empty"),
    (defense(strategy="search", trials=0), "trials at least 1"),
    (defense(limit=-1), "limit at least 0"),
    (defense(limit=2.5), "limit must be an integer"),
    (defense(fixed={"stepss": 3}), "Did you mean 'steps'"),
    (defense(fixed={"steps": "many"}), "steps must be an integer"),
    (defense(fixed={"lr": float("nan")}), "lr must be"),
    (defense(fixed=3), "fixed must be a table"),
    ({"tuning": {"copies": 0}}, "copies must be"),
    ({"tuning": {"delta": 2}}, "delta must be"),
    ({"tuning": {"detla": 0.1}}, "Did you mean 'delta'"),
    ({"tuning": 3}, "tuning must be a table"),
    ({"self_poisoning": {"copy": 1}}, "numbered by the sweep"),
    ({"self_poisoning": {"attack": "badnet"}}, "Did you mean 'badnets'"),
    ({"compute": 3}, "compute must be a table"),
    ({"compute": {"device": "gpu"}}, "Known: auto, cpu, cuda"),
    ({"compute": {"device": "cpu:3"}}, "Known: auto, cpu, cuda"),
    ({"compute": {"device": "cuda:one"}}, "Known: auto, cpu, cuda"),
    ({"name": "a\0b"}, "printable"),
    ({"tuning": {"copies": 100_000_000}}, "at most 100"),
    ({"compute": {"cpus": 0}}, "more than 0"),
    ({"compute": {"cpus": float("inf")}}, "finite number"),
    ({"compute": {"gpus": float("nan")}}, "finite number"),
    ({"compute": {"gpus": -1}}, "0 or more"),
    ({"compute": {"workers": -1}}, "0 or more"),
    ({"compute": {"workers": 1.5}}, "workers must be an integer"),
    ({"compute": {"attempts": 0}}, "1 or more"),
    ({"compute": {"lease": 0.5}}, "lease must be 1 s or more"),
    ({"compute": {"lease": "a minute"}}, "finite number"),
    ({"compute": {"outage": -1}}, "outage must be 0 s or more"),
    ({"compute": {"scheduler": "ahsa"}}, "Did you mean 'asha'"),
    ({"compute": {"memory": "2 gigs"}}, 'such as "2 GiB"'),
    ({"compute": {"memory": -1}}, "0 or more"),
    ({"compute": {"gpus": 1.5}}, "fraction of one or a whole"),
    ({"compute": {"time_limit": -1}}, "0 or more"),
    ({"compute": {"abort_at": 0}}, r"\(0, 1\]"),
    ({"compute": {"abort_at": 1.1}}, r"\(0, 1\]"),
    ({"compute": {"resources": {"GPU": 1}}}, "write cpus, gpus or memory"),
    ({"compute": {"resources": {"big": 0}}}, "more than 0"),
    ({"compute": {"resources": {"big": "1"}}}, "finite number"),
    ({"compute": {"copies": 3}}, "copies must be a table"),
    ({"compute": {"copies": {"cpus": 0}}}, "compute.copies: cpus must be more than 0"),
    ({"compute": {"copies": {"attempts": 1}}}, "key of compute.copies 'attempts'"),
    ({"compute": {"copeis": {"cpus": 2}}}, "Did you mean 'copies'"),
]


@pytest.mark.parametrize(
    ("wrong", "says"), WRONG, ids=[f"{next(iter(w))}-{i}" for i, (w, _) in enumerate(WRONG)]
)
def test_a_wrong_sweep_is_refused_in_one_line(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        tiny_sweep.sweep(**wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("gone", ["victim", "defenses"])
def test_a_missing_table_is_named(gone: str) -> None:
    data = tiny_sweep.table()
    del data[gone]
    with pytest.raises(SpecError, match=gone):
        sweep_file.parse(data, "x")


@pytest.mark.parametrize("gone", ["dataset", "model", "training"])
def test_a_victim_that_lacks_a_part_names_what_there_is(gone: str) -> None:
    with pytest.raises(SpecError, match=rf"no {gone}\. Known: "):
        tiny_sweep.sweep(victim={k: v for k, v in VICTIM.items() if k != gone})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name = ", "not a TOML file"),
        (b"name = '\xff'", "not a TOML file"),
        (b"x = " + b"[" * 5000, "not a TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "sweep.toml"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=f"sweep.toml: {says}"):
        sweep_file.read(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent\.toml: cannot be read"):
        sweep_file.read(tmp_path / "absent.toml")
    with pytest.raises(SpecError, match="cannot be read"):
        sweep_file.read(tmp_path)


def test_a_sweep_is_read_from_its_file_and_named_after_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(tiny_sweep.toml(tiny_sweep.table()))
    found = sweep_file.read(file)
    assert found.name == "mine"
    assert found.victims == tiny_sweep.sweep().victims
    assert found.defenses == tiny_sweep.sweep().defenses


def test_a_relative_path_is_taken_from_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.pt").write_bytes(b"x")
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    file = tmp_path / "s.toml"
    file.write_text(
        tiny_sweep.toml(
            tiny_sweep.table(**victim(training={"name": "given", "weights": "weights.pt"}))
        )
    )
    assert sweep_file.read(file).victims[0].training.params["weights"] == str(
        (tmp_path / "weights.pt").resolve()
    )


def test_a_path_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SpecError, match="does not exist"):
        tiny_sweep.sweep(**victim(training={"name": "given", "weights": "/nowhere/weights.pt"}))


def test_lists_are_axes() -> None:
    found = tiny_sweep.sweep(
        trusted=[0.1, 0.2],
        victim={
            **VICTIM,
            "model": {"name": "resnet18", "width": [4, 8]},
            "attacks": ["none", {"name": "badnets", "m": [10, 20, 30]}],
            "seeds": [0, 1],
        },
    )
    assert len(found.victims) == 2 * 4 * 2
    assert len(expansion.tasks(found)) == 2 * 4 * 2 * 2
    assert sum(not v.attacks for v in found.victims) == 4


def test_what_is_listed_twice_counts_once() -> None:
    found = tiny_sweep.sweep(
        seeds=[0, 0, 1], trusted=[0.2, 0.2], victim={**VICTIM, "attacks": ["none", "none"]}
    )
    assert (found.seeds, found.trusted, len(found.victims)) == ((0, 1), (0.2,), 1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (victim(attacks=[{"name": "badnets", "m": 5000}]), "m"),
        (victim(attacks=[{"name": "badnets", "target": 10}]), "target"),
        (victim(attacks=[{"name": "badnets", "patch": 99}]), "patch"),
        ({"trusted": 0.001}, "at least 50"),
        ({"trusted": 1.0}, "poisoned or trained on"),
        ({"trusted": 0.4, **victim(reserve=0.2)}, "poisoned or trained on"),
        ({"self_poisoning": {"folds": 1, "attack": "c_badnets"}}, ""),
    ],
)
def test_what_only_the_data_can_tell_is_refused_before_anything_runs(
    tmp_path: Path, wrong: dict[str, Any], says: str
) -> None:
    found = tiny_sweep.sweep(**wrong)
    if not says:
        check(found, tiny_sweep.worker_config(tmp_path))
        return
    with pytest.raises(SpecError, match=says) as refused:
        check(found, tiny_sweep.worker_config(tmp_path))
    assert "\n" not in str(refused.value)


def test_every_given_checkpoint_is_read_by_the_check(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong second file would else be found after the first victim's whole sweep."""
    monkeypatch.setattr(_unpack, "_reader", reader)
    good, wrong = tmp_path / "good.pt", tmp_path / "wrong.pt"
    first = tiny_sweep.sweep()
    from sweep.execution.worker import make_runtime  # noqa: PLC0415

    model = make_runtime(tiny_sweep.worker_config(tmp_path)).fresh(first.victims[0])
    torch.save(model.state_dict(), good)
    torch.save({"other.weight": torch.zeros(3)}, wrong)
    files = [str(good), str(wrong)]
    found = tiny_sweep.sweep(
        **victim(training={"name": "given", "weights": files}, attacks=["none"])
    )
    check(
        tiny_sweep.sweep(**victim(training={"name": "given", "weights": files[:1]})),
        tiny_sweep.worker_config(tmp_path),
    )
    with pytest.raises(SpecError):
        check(found, tiny_sweep.worker_config(tmp_path))


def test_a_device_that_is_not_there_is_refused() -> None:
    from sweep.execution.worker import device_for  # noqa: PLC0415

    wanted = "cuda:99" if torch.cuda.is_available() else "cuda"
    with pytest.raises(SpecError, match="torch sees"):
        device_for(wanted)


@pytest.mark.parametrize(
    ("written", "size"),
    [("2 GiB", 2 * 2**30), ("1.5gb", 1.5e9), (500, 500), ("500 MB", 5e8), ("7 b", 7)],
)
def test_memory_is_bytes_or_text(written: object, size: float) -> None:
    assert tiny_sweep.sweep(compute={"memory": written}).compute.memory == size


def test_a_stages_table_changes_what_its_trials_get_and_nothing_else() -> None:
    found = tiny_sweep.sweep(
        compute={"cpus": 2, "time_limit": 60, "copies": {"gpus": 0.5, "memory": "1 GiB"}}
    )
    shares = {
        game: found.compute.share(tiny_sweep.first(found, game))
        for game in ("training", "self_poison", "tuning")
    }
    assert shares["training"].wants == shares["tuning"].wants == {"CPU": 2}
    assert shares["self_poison"].wants == {"CPU": 2, "GPU": 0.5, "memory": 2**30}
    assert {s.time_limit for s in shares.values()} == {60}


def test_a_node_runs_as_many_trials_as_its_scarcest_resource_allows() -> None:
    node = {"CPU": 8, "GPU": 2, "memory": 10 * 2**30}
    assert fits(Compute(cpus=1, gpus=0.25), node) == 8
    assert fits(Compute(cpus=1, gpus=0.6), node) == 2  # what is left of each GPU is lost
    assert fits(Compute(cpus=1, memory=3 * 2**30), node) == 3
    assert fits(Compute(cpus=1, resources={"big": 1}), node) == 0
