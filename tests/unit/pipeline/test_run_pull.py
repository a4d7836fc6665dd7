"""Pulls for runs: the forecast before, the progress meanwhile, errors, the evidence after it."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlimg.checks.evidence import evidence_folder, read_evidence
from dlimg.context import Context
from dlimg.host.ssh import SshHost
from dlimg.pipeline.run_evidence import evidence_line, save_evidence
from dlimg.pipeline.run_locate import locate_image
from dlimg.pipeline.run_pull import LayerSizes, PullForecast, follow_pull, measure
from dlimg.registry.reference import parse_reference
from dlimg.run import data_fetch
from dlimg.run.model import ImageChoice
from dlimg.store.store import Store
from tests.support import publishing, run_engine
from tests.support.fake_registry import OCI_MANIFEST, FakeRegistry, running


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context.of({"HOME": str(tmp_path / "home")}, print)


def test_a_forecast_says_bytes_rate_time_and_room() -> None:
    forecast = PullForecast(size=3_150_000_000, rate=50_000_000)
    assert forecast.text("reg.io/a:1", 20_000_000_000) == (
        "pulling reg.io/a:1: 3.15 GB to fetch at 50 MB/s, about 1 min 03 s; "
        "unpacked it takes about 11.03 GB of 20.00 GB that are free"
    )
    assert "at " not in PullForecast(size=1, rate=0).text("a", None)


def test_bytes_of_a_layer_count_once() -> None:
    sizes = LayerSizes()
    events = [("a", 10), ("b", 5), ("a", 30), ("a", 30)]
    total = sum(
        sizes.add({"status": "Downloading", "id": layer, "progressDetail": {"current": current}})
        for layer, current in events
    )
    assert total == 35
    assert sizes.add({"status": "Extracting", "id": "a", "progressDetail": {"current": 99}}) == 0
    assert sizes.add({"status": "Downloading", "id": "c"}) == 0


def test_a_pull_without_bytes_in_its_events_says_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_fetch, "_EVERY", 0.0)
    log: list[str] = []
    assert follow_pull(iter([{"status": "Pull complete"}] * 3), "x", 100, log.append) == ""
    assert log == []
    event = {"status": "Downloading", "id": "a", "progressDetail": {"current": 50}}
    follow_pull(iter([event]), "x", 100, log.append)
    assert log[0].startswith("x: 50 B of 100 B")


def test_unpacking_is_said_once_and_an_error_comes_back() -> None:
    log: list[str] = []
    extracting = {"status": "Extracting", "id": "a"}
    assert follow_pull(iter([extracting, extracting]), "x", 0, log.append) == ""
    assert log == ["x: unpacking"]
    assert follow_pull(iter([{"error": "no space left"}]), "x", 0, log.append) == "no space left"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FakeRegistry]:
    """A registry that wants the user's token, with an image of two layers."""
    registry = FakeRegistry(login=("me", "password"))
    with running(registry):
        login = {"auths": {registry.host: {"auth": b64encode(b"me:password").decode()}}}
        (tmp_path / "home/.docker").mkdir(parents=True)
        (tmp_path / "home/.docker/config.json").write_text(json.dumps(login))
        layer = registry.put_blob("team/jax", b"x" * 5_000_000)
        small = registry.put_blob("team/jax", b"y" * 1000)
        config = registry.put_blob("team/jax", b"{}")
        entries = [(layer, 5_000_000), (small, 1000)]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/json", "digest": config, "size": 2},
            "layers": [
                {"mediaType": "application/x", "digest": digest, "size": size}
                for digest, size in entries
            ],
        }
        registry.put_manifest("team/jax", document, "1")
        yield registry


def test_the_forecast_is_measured_at_the_registry(registry: FakeRegistry, context: Context) -> None:
    forecast = measure(parse_reference(f"{registry.host}/team/jax:1"), None, context)
    assert forecast
    assert forecast.size == 5_001_000
    assert forecast.rate > 0
    assert measure(parse_reference(f"{registry.host}/team/jax:2"), None, context) is None


def test_without_a_registry_there_is_no_forecast(context: Context) -> None:
    assert measure(parse_reference("127.0.0.1:1/team/jax:1"), None, context) is None


@pytest.mark.parametrize(("printed", "rate"), [("2500.5", 2500.5), ("", 0.0)])
def test_the_rate_is_that_of_the_machine_that_pulls(
    registry: FakeRegistry, context: Context, tmp_path: Path, printed: str, rate: float
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/argv\ncat >{tmp_path}/input\nprintf "{printed}"\n'
    )
    ssh.chmod(0o755)
    host = SshHost(destination="vm", environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    reference = parse_reference(f"{registry.host}/team/jax:1")
    assert measure(reference, host, context) == PullForecast(size=5_001_000, rate=rate)
    given = (tmp_path / "input").read_text()
    assert f'url = "http://{registry.host}/v2/team/jax/blobs/sha256:' in given
    assert 'header = "Authorization: Bearer ' in given
    assert "Bearer" not in (tmp_path / "argv").read_text()


def test_the_next_best_image_is_pulled_where_the_registry_lacks_the_best(
    registry: FakeRegistry, context: Context
) -> None:
    names = tuple(f"{registry.host}/team/jax:{version}" for version in (3, 2, 1))
    api = run_engine.FakeApi(pullable={names[2]: "sha256:66"})
    choice = ImageChoice(names=names, cell="jax-3")
    located = locate_image(choice, run_engine.engine(api, context), context)
    assert (located.name, located.digest) == (names[2], "sha256:66")


def test_evidence_at_the_registry_is_known_after_a_pull(tmp_path: Path, context: Context) -> None:
    store = Store(path=tmp_path / "store")
    image = publishing.stored_image(store, publishing.layer_bytes(b"content"))
    with running(FakeRegistry()) as registry:
        home = {"HOME": str(tmp_path / "publisher")}
        published = publishing.published(registry, store, home, image)
        save_evidence(parse_reference(published.reference), context)
    line = evidence_line(published.digest, context)
    assert line == "passed: 1 of 1 passed without a GPU, 2026-11-21"
    # It is not this machine's: no check is spared by it.
    assert read_evidence(evidence_folder(context), published.digest, log=print) == ()


def test_a_registry_that_does_not_answer_gives_no_evidence(context: Context) -> None:
    save_evidence(parse_reference("127.0.0.1:1/team/jax:1"), context)
    assert evidence_line(f"sha256:{'1' * 64}", context) == ""
