"""What images cost with the layers builder, against plain Dockerfiles with `RUN pip install`.

`python bench/layers_cost.py --folder DIR` measures in one run, on an engine of its own in DIR that
has nothing but the systems' layers; DIR takes 45 GB for the CUDA cells, 10 GB with `--cpu`.
Wheels are on disk before anything is measured. Processor seconds are the whole machine's, so it
has to be quiet. Writes DIR/layers_cost.json, prints the table, and draws DIR/layers_cost.svg.
"""

import argparse
import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import layers_plot
import ours
import plain
from place import Place, opened_place, registry, registry_bytes, registry_image

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
class Figure:
    """One thing measured: seconds by the wall and of all processors, and bytes where they count.

    `side` is ours or plain; `peak` the most memory that our process held, in bytes.
    """

    side: str
    what: str
    cell: str
    seconds: float
    processor: float
    bytes: int = 0
    peak: int = 0


@dataclass(slots=True)
class Book:
    """All figures of a run, told as they come."""

    figures: list[Figure] = field(default_factory=list)

    @contextlib.contextmanager
    def measured(self, side: str, what: str, cell: str) -> Iterator[dict[str, int]]:
        more: dict[str, int] = {}
        began, busy = time.monotonic(), _busy()
        yield more
        one = Figure(
            side=side,
            what=what,
            cell=cell,
            seconds=round(time.monotonic() - began, 2),
            processor=round(_busy() - busy, 2),
            **more,
        )
        self.figures.append(one)
        print(
            f"{side:6}{what:28}{cell:50}{one.seconds:8.1f} s {one.processor:8.1f} s of processors",
            *(f"{name} {number:,}" for name, number in more.items()),
            flush=True,
        )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--folder", type=Path, required=True, help="where all of it happens")
    words.add_argument("--cpu", action="store_true", help="CPU cells, a tenth of the bytes")
    words.add_argument("cells", nargs="*", metavar="CELL", help="other cells than the four")
    given = words.parse_args()
    book = Book()
    try:
        with opened_place(given.folder, given.cells or (CPU if given.cpu else CUDA)) as place:
            _measure(place, book)
    finally:
        figures = [asdict(one) for one in book.figures]
        (given.folder / "layers_cost.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(layers_plot.table(figures)))
    layers_plot.draw(figures, given.folder / "layers_cost.svg")


def _measure(place: Place, book: Book) -> None:
    image = registry_image(place)
    systems = ours.systems(place)
    with registry(place, "plain", image) as there:
        _plain(place, book, systems, there)
        _pulled(place, book, "plain", there)
    store = ours.with_systems(place, place.folder / "pushed")
    with registry(place, "ours", image) as there:
        _ours(place, book, "pushed", store, there)
        _pulled(place, book, "ours", there)
    with registry(place, "ours", image) as there:
        _ours(place, book, "pushed from the store", store, there)
    shutil.rmtree(store.path)
    _checked(place, book)


def _plain(place: Place, book: Book, systems: Mapping[str, str], there: str) -> None:
    for one in place.planned:
        cell, name = one.image.cell.id, _name(there, one.image.cell.id)
        with book.measured("plain", "built", cell):
            plain.build(
                place.engine,
                one.image,
                name,
                system=systems[cell],
                wheels=place.wheels,
                folder=place.folder / "context",
            )
        with book.measured("plain", "pushed", cell) as more:
            plain.push(place.engine, name)
            more["bytes"] = registry_bytes(place, "plain")
        plain.forget(place.engine, name)


def _ours(place: Place, book: Book, what: str, store: Store, there: str) -> None:
    """To an empty registry, from a store that has nothing but systems, or every layer."""
    for one in place.planned:
        cell = one.image.cell.id
        with book.measured("ours", what, cell) as more:
            more["peak"] = ours.pushed(place, one, store, _name(there, cell))
            more["bytes"] = registry_bytes(place, "ours")


def _pulled(place: Place, book: Book, side: str, there: str) -> None:
    """Each image pulled, in order, by an engine that has nothing; and started once."""
    had: set[str] = set()
    names = [_name(there, one.image.cell.id) for one in place.planned]
    for one, name in zip(place.planned, names, strict=True):
        layers = plain.layers_at(name)
        with book.measured(side, "pulled", one.image.cell.id) as more:
            plain.pull(place.engine, name)
            more["bytes"] = sum(size for digest, size in layers.items() if digest not in had)
        had |= layers.keys()
        with book.measured(side, "started", one.image.cell.id):
            plain.start(place.engine, name, one.image.cell.package.partition("-")[0])
        if side == "plain":  # it shares the system alone, which stays: this only makes room
            plain.forget(place.engine, name)
    if side == "ours":
        for name in names:
            plain.forget(place.engine, name)


def _checked(place: Place, book: Book) -> None:
    """From wheels on disk until the checks have passed in the engine; then nothing to do."""
    ours.with_systems(place, place.folder / "cache/dlimg/layers")
    for one in place.planned:
        with book.measured("ours", "checked", one.image.cell.id):
            ours.command(place, "test", one.image.cell.id)
        with book.measured("both", "only checked", one.image.cell.id):
            ours.command(place, "test", one.image.cell.id, state="another")
    with book.measured("ours", "built again", "all of them"):
        ours.command(place, "build", *(one.image.cell.id for one in place.planned))


def _name(there: str, cell: str) -> str:
    return f"{there}/bench:{cell}"


def _busy() -> float:
    """Seconds that all processors of this machine have worked."""
    words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    idle = int(words[3]) + int(words[4])
    return (sum(map(int, words[:8])) - idle) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
