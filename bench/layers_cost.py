"""The cost of images: the layers builder against plain Dockerfiles with `RUN pip install`.

`python bench/layers_cost.py --folder DIR` measures three times (`--runs`), everything on an engine
with a file system made for it in DIR and with nothing but the bases; DIR takes 45 GB for the CUDA
cells, 15 GB with `--cpu`. Wheels are on disk before anything is measured. Processor seconds are the
whole machine's, so it has to be quiet. Writes DIR/layers_cost.json, prints a table of medians with
the least and the most, and draws DIR/layers_cost.svg.
"""

import argparse
import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import layers_builder
import layers_plot
import pip_install
from bench_engine import (
    Bench,
    fresh_engine,
    open_bench,
    registry,
    registry_bytes,
    registry_image,
)

from dlimg.store.store import Store

CUDA = (
    "pytorch-2.15.0-cuda13.2-py3.13-debian13",
    "pytorch-2.15.0-cuda13.2-py3.11-debian12",
    "jax-0.12.0.1-cuda13.2-py3.13-debian13",
    "pytorch-2.15.0-cuda13.2-py3.13-debian13-compile",
)
CPU = (
    "tensorflow-2.21.0-cpu-py3.13-debian13",
    "tensorflow-2.21.0-cpu-py3.11-debian12",
    "jax-0.12.0.1-cpu-py3.13-debian13",
    "tensorflow-2.21.0-cpu-py3.13-debian13-compile",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Wall seconds, processor seconds and bytes of one step.

    `run` is its number; `side` is ours or plain; `peak` is the peak memory of dlimg's process in
    bytes.
    """

    run: int
    side: str
    step: str
    cell: str
    seconds: float
    processor: float
    bytes: int = 0
    peak: int = 0


@dataclass(slots=True)
class Measurements:
    """All measurements of a run, printed as they come."""

    figures: list[Measurement] = field(default_factory=list)
    run: int = 0

    @contextlib.contextmanager
    def measure(self, side: str, step: str, cell: str) -> Iterator[dict[str, int]]:
        more: dict[str, int] = {}
        began, busy = time.monotonic(), _busy()
        yield more
        measurement = Measurement(
            run=self.run,
            side=side,
            step=step,
            cell=cell,
            seconds=round(time.monotonic() - began, 2),
            processor=round(_busy() - busy, 2),
            **more,
        )
        self.figures.append(measurement)
        print(
            f"{side:6}{step:28}{cell:50}{measurement.seconds:8.1f} s",
            f"{measurement.processor:8.1f} s of processors",
            *(f"{name} {number:,}" for name, number in more.items()),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="the folder for everything")
    parser.add_argument("--cpu", action="store_true", help="CPU cells, a tenth of the bytes")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="how many times (3)")
    parser.add_argument("cells", nargs="*", metavar="CELL", help="other cells than the four")
    arguments = parser.parse_args()
    measurements = Measurements()
    try:
        with open_bench(
            arguments.folder, arguments.cells or (CPU if arguments.cpu else CUDA)
        ) as bench:
            for measurements.run in range(arguments.runs):
                _measure(bench, measurements)
    finally:
        figures = [asdict(figure) for figure in measurements.figures]
        (arguments.folder / "layers_cost.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(layers_plot.table(figures)))
    layers_plot.draw(figures, arguments.folder / "layers_cost.svg")


def _measure(bench: Bench, measurements: Measurements) -> None:
    image = registry_image(bench)
    layers_builder.systems(bench)  # into their store
    with registry(bench, "plain", image) as registry_address:
        with fresh_engine(bench) as fresh:
            _measure_pip_install(fresh, measurements, registry_address)
        with fresh_engine(bench) as fresh:
            _measure_pulls(fresh, measurements, "plain", registry_address)
    store = layers_builder.with_systems(bench, bench.folder / "pushed")
    with registry(bench, "ours", image) as registry_address:
        with fresh_engine(bench) as fresh:
            _measure_layers(fresh, measurements, "pushed", store, registry_address)
        with fresh_engine(bench) as fresh:
            _measure_pulls(fresh, measurements, "ours", registry_address)
    with registry(bench, "ours", image) as registry_address, fresh_engine(bench) as fresh:
        _measure_layers(fresh, measurements, "pushed from the store", store, registry_address)
    shutil.rmtree(store.path)
    with fresh_engine(bench) as fresh:
        _measure_checks(fresh, measurements)


def _measure_pip_install(bench: Bench, measurements: Measurements, registry_address: str) -> None:
    systems = layers_builder.systems(bench)
    for planned in bench.planned:
        cell, name = planned.image.cell.id, _name(registry_address, planned.image.cell.id)
        with measurements.measure("plain", "built", cell):
            pip_install.build(
                bench.engine,
                planned.image,
                name,
                system=systems[cell],
                wheels=bench.wheels,
                folder=bench.folder / "context",
            )
        with measurements.measure("plain", "pushed", cell) as more:
            pip_install.push(bench.engine, name)
            more["bytes"] = registry_bytes(bench, "plain")
        pip_install.remove(bench.engine, name)


def _measure_layers(
    bench: Bench, measurements: Measurements, step: str, store: Store, registry_address: str
) -> None:
    """Push to an empty registry, from a store with systems alone or with every layer."""
    for planned in bench.planned:
        cell = planned.image.cell.id
        with measurements.measure("ours", step, cell) as more:
            more["peak"] = layers_builder.push(bench, planned, store, _name(registry_address, cell))
            more["bytes"] = registry_bytes(bench, "ours")


def _measure_pulls(
    bench: Bench, measurements: Measurements, side: str, registry_address: str
) -> None:
    """Pull each image, in order, into an empty engine, and start it once."""
    present: set[str] = set()
    names = [_name(registry_address, planned.image.cell.id) for planned in bench.planned]
    for planned, name in zip(bench.planned, names, strict=True):
        layers = pip_install.layers_at(name)
        with measurements.measure(side, "pulled", planned.image.cell.id) as more:
            pip_install.pull(bench.engine, name)
            more["bytes"] = sum(size for digest, size in layers.items() if digest not in present)
        present |= layers.keys()
        with measurements.measure(side, "started", planned.image.cell.id):
            pip_install.start(bench.engine, name, planned.image.cell.package.partition("-")[0])
        if side == "plain":  # this only frees space: it shares nothing but the system, which stays
            pip_install.remove(bench.engine, name)
    if side == "ours":
        for name in names:
            pip_install.remove(bench.engine, name)


def _measure_checks(bench: Bench, measurements: Measurements) -> None:
    """Measure from wheels on disk until the checks have passed, then a build with nothing to do."""
    layers_builder.with_systems(bench, bench.folder / "cache/dlimg/layers")
    # Verdicts of another run would still hold.
    first, second = (f"state-{measurements.run}-{name}" for name in ("first", "second"))
    for planned in bench.planned:
        with measurements.measure("ours", "checked", planned.image.cell.id):
            layers_builder.run_dlimg(bench, "test", planned.image.cell.id, state=first)
        with measurements.measure("both", "only checked", planned.image.cell.id):
            layers_builder.run_dlimg(bench, "test", planned.image.cell.id, state=second)
    with measurements.measure("ours", "built again", "all of them"):
        layers_builder.run_dlimg(
            bench, "build", *(planned.image.cell.id for planned in bench.planned), state=first
        )


def _name(registry_address: str, cell: str) -> str:
    return f"{registry_address}/bench:{cell}"


def _busy() -> float:
    """Return the seconds that all processors of this machine have worked."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    idle = int(fields[3]) + int(fields[4])
    return (sum(map(int, fields[:8])) - idle) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
