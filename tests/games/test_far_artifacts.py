"""Artifacts at a URI: in a second folder and on a real S3 server; each node fetches what it needs
once.
"""

import importlib.util
import json
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import s3
import torch
from programs import HANGS

from sweep.execution import forkserver
from trials.spec import SpecError
from trials.storage.artifacts import Artifacts, Damaged
from trials.storage.remote_artifacts import RemoteArtifacts, artifacts_at

WEIGHTS = {"a": torch.arange(12.0).reshape(3, 4), "n": torch.tensor(3)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    """An S3 server; skipped where its packages are not installed."""
    for name in ("moto", "flask", "s3fs"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install -e '.[test]'")
    process, server = s3.start(tmp_path_factory.mktemp("s3"))
    yield server
    process.terminate()
    process.wait(HANGS)


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place that no other test uses."""
    node(monkeypatch, tmp_path / "node")
    if request.param == "file":
        return f"file://{tmp_path}/shared"
    aws(monkeypatch, request.getfixturevalue("server"))
    return f"s3://{s3.BUCKET}/{tmp_path.name}"


def aws(monkeypatch: pytest.MonkeyPatch, server: s3.Server) -> None:
    settings = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "mine",
    }
    for name, value in {**settings, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)


def node(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """From here on this process is a worker of the node whose disk is ``folder``."""
    monkeypatch.setenv("POISONSWEEP_CACHE", str(folder))


def test_what_one_node_saves_another_loads(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = artifacts_at(uri)
    here.check()
    assert not here.has("k")
    here.save("k", WEIGHTS, {"asr": 0.5})
    node(monkeypatch, tmp_path / "other node")
    there = artifacts_at(uri)
    assert there.has("k")
    tensors, facts = there.load("k")
    assert facts["asr"] == 0.5
    assert tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tensors[k], WEIGHTS[k]) for k in WEIGHTS)


def test_the_second_writer_keeps_the_first_artifact(uri: str) -> None:
    kept = artifacts_at(uri)
    kept.save("k", WEIGHTS, {"writer": 1})
    kept.save("k", {"a": torch.zeros(1)}, {"writer": 2})
    tensors, facts = kept.load("k")
    assert facts["writer"] == 1
    assert torch.equal(tensors["a"], WEIGHTS["a"])


def test_an_upload_that_stops_before_the_facts_is_no_artifact(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = artifacts_at(uri)
    put = kept.files.put

    def stops(name: str, data: bytes) -> None:
        if name.endswith("facts.json"):
            raise KeyboardInterrupt
        put(name, data)

    monkeypatch.setattr(kept.files, "put", stops)
    with pytest.raises(KeyboardInterrupt):
        kept.save("k", WEIGHTS, {})
    again = artifacts_at(uri)
    assert not again.has("k")
    with pytest.raises(OSError, match="facts"):
        again.load("k")
    again.save("k", WEIGHTS, {})
    assert torch.equal(again.load("k")[0]["a"], WEIGHTS["a"])


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone", "other facts", "no facts"])
def test_damage_afar_is_named_and_is_not_hidden_by_a_good_copy(uri: str, harm: str) -> None:
    kept = artifacts_at(uri)
    kept.save("k", WEIGHTS, {"asr": 0.5})
    facts = json.loads(kept.files.get("k/facts.json"))
    weights = f"k/{facts['weights']}"
    blob = kept.files.get(weights)
    if harm == "gone":
        kept.files.drop(weights)
    elif harm.endswith("facts"):
        text = (
            b"{" if harm == "no facts" else kept.files.get("k/facts.json").replace(b"0.5", b"0.4")
        )
        kept.files.put("k/facts.json", text)
    else:
        kept.files.put(
            weights, {"flipped": blob[:-1] + bytes([blob[-1] ^ 1]), "cut": blob[:-5]}[harm]
        )
    for copy in (RemoteArtifacts(uri)._folder).glob("*.safetensors"):
        copy.write_bytes(b"damaged too")
    with pytest.raises(
        Damaged, match=r"artifact k is damaged .* delete '.*/k' and run again with --retry-failed"
    ):
        artifacts_at(uri).load("k")


def test_a_damaged_copy_of_this_node_is_fetched_again(uri: str, tmp_path: Path) -> None:
    kept = artifacts_at(uri)
    kept.save("k", WEIGHTS, {})
    (copy,) = tmp_path.glob("node/artifacts/*.safetensors")
    blob = copy.read_bytes()
    copy.write_bytes(blob[:-3] + b"xyz")
    assert torch.equal(kept.load("k")[0]["a"], WEIGHTS["a"])
    assert copy.read_bytes() == blob


def test_one_that_was_made_anew_is_not_taken_for_the_copy_of_the_old_one(uri: str) -> None:
    kept = artifacts_at(uri)
    kept.save("k", WEIGHTS, {})
    kept.files.drop("k/facts.json")
    kept.save("k", {"a": torch.ones(2)}, {})
    assert torch.equal(kept.load("k")[0]["a"], torch.ones(2))


def test_a_node_whose_cache_cannot_be_written_fetches_every_time(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts_at(uri).save("k", WEIGHTS, {})
    (tmp_path / "file").write_text("")
    node(monkeypatch, tmp_path / "file")
    with pytest.warns(UserWarning, match="POISONSWEEP_CACHE"):
        assert torch.equal(artifacts_at(uri).load("k")[0]["a"], WEIGHTS["a"])


def test_files_beside_the_artifacts_can_be_listed_read_and_dropped(uri: str) -> None:
    files = artifacts_at(f"{uri}/outbox").files
    assert files.names() == []
    files.put("b.json", b"2")
    files.put("a.json", b"1")
    assert (files.names(), files.get("a.json"), files.has("a.json")) == (
        ["a.json", "b.json"],
        b"1",
        True,
    )
    files.drop("a.json")
    files.drop("a.json")
    assert (files.names(), files.has("a.json")) == (["b.json"], False)
    with pytest.raises(FileNotFoundError):
        files.get("a.json")


def _load(
    pipe: "Connection[float, float]", uri: str, barrier: "multiprocessing.synchronize.Barrier"
) -> None:
    kept = artifacts_at(uri)
    barrier.wait()
    pipe.send(float(kept.load("k")[0]["a"].sum()))


@pytest.mark.slow
def test_workers_that_start_together_fetch_once_a_node(
    server: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws(monkeypatch, server)
    node(monkeypatch, tmp_path / "maker")
    uri = f"s3://{s3.BUCKET}/together"
    artifacts_at(uri).save("k", {"a": torch.ones(2_000_000)}, {})
    for number in (1, 2):
        node(monkeypatch, tmp_path / f"node {number}")
        barrier = multiprocessing.get_context("forkserver").Barrier(3)
        workers = [forkserver.start(_load, uri, barrier) for _ in range(3)]
        sums = [pipe.recv() for _, pipe in workers]
        for worker, pipe in workers:
            worker.join()
            pipe.close()
        assert sums == [2_000_000.0] * 3
        assert server.count("GET", "together/k/weights") == number


def test_the_maker_fetches_nothing(
    server: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws(monkeypatch, server)
    node(monkeypatch, tmp_path)
    uri = f"s3://{s3.BUCKET}/maker"
    artifacts_at(uri).save("k", WEIGHTS, {})
    artifacts_at(uri).load("k")
    assert server.count("GET", "maker/k/facts") == 1
    assert server.count("GET", "maker/k/weights") == 0


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("memory://x", "lost with their process"),
        ("nonsense://x", "cannot lie at"),
        ("sqlite:///x.db", "cannot lie at"),
    ],
)
def test_a_uri_that_cannot_be_used_is_the_users_to_fix(where: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        artifacts_at(where)


def test_a_place_that_cannot_be_written_is_the_users_to_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="--artifacts"):
        artifacts_at(f"file://{tmp_path}/file/x").check()


def test_a_bucket_that_is_not_there_is_the_users_to_fix(
    server: s3.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws(monkeypatch, server)
    with pytest.raises(SpecError, match="--artifacts"):
        artifacts_at("s3://no-such-bucket/x").check()


def test_a_path_without_a_scheme_is_a_folder(tmp_path: Path) -> None:
    assert isinstance(artifacts_at(str(tmp_path)), Artifacts)
