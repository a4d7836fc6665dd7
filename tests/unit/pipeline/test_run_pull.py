"""Pulls for runs: the forecast before, the progress meanwhile, the engine's errors."""

from pathlib import Path

from dlimg.context import Context
from dlimg.pipeline.run_pull import LayerSizes, PullForecast, follow_pull, measure
from dlimg.registry.reference import parse_reference
from tests.support.fake_registry import OCI_MANIFEST, FakeRegistry, running


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


def test_unpacking_is_said_once_and_an_error_comes_back() -> None:
    log: list[str] = []
    extracting = {"status": "Extracting", "id": "a"}
    assert follow_pull(iter([extracting, extracting]), "x", 0, log.append) == ""
    assert log == ["x: unpacking"]
    assert follow_pull(iter([{"error": "no space left"}]), "x", 0, log.append) == "no space left"


def test_the_forecast_is_measured_at_the_registry(tmp_path: Path) -> None:
    context = Context.of({"HOME": str(tmp_path)}, print)
    registry = FakeRegistry()
    with running(registry):
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
        reference = parse_reference(f"{registry.host}/team/jax:1")
        forecast = measure(reference, context)
        assert forecast
        assert forecast.size == 5_001_000
        assert forecast.rate > 0
        assert measure(parse_reference(f"{registry.host}/team/jax:2"), context) is None
    assert measure(reference, context) is None
