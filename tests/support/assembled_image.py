"""A small image assembled from made-up wheels, with all kinds of layers.

Run as a program it assembles the image and prints its digests, so that a test can do that in a
process with another environment: `python -m tests.support.assembled_image WHEELS STORE`.
"""

import json
import random
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dlimg.assembly.system import recompress_layers
from dlimg.assembly.wheel_to_layer import LARGE_WHEEL, LayerContext
from dlimg.builders.assemble import cell_image_layer, system_image_layers, wheel_image_layers
from dlimg.layer.compress import compress_gzip
from dlimg.layer.entries import (
    EXECUTABLE_MODE,
    LayerEntry,
    arrange_entries,
    folder_entry,
    link_entry,
)
from dlimg.layer.tar import tar_parts
from dlimg.model import PlannedImage
from dlimg.render.image_config import ImageConfig
from dlimg.store.image_manifest import AssembledImage, assemble_image, order_layers
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.store import Store, make_layer
from dlimg.store.systems import SystemLayers
from tests.support import samples, wheel_files

CONFIG = ImageConfig(  # noqa: S604  # it says how an image is run, and runs nothing
    env=("PATH=/opt/env/bin:/bin",),
    labels={"org.opencontainers.image.title": "little ü"},
    workdir="/code",
    user="1000:100",
    entrypoint=("/bin/busybox",),
    cmd=("sh", "-c", "echo it runs"),
    exposed=("8888/tcp",),
    shell=("/bin/sh", "-c"),
)
BIG = "big/lib/libbig.so.1"


def wheels(folder: Path) -> None:
    """Write two large and two small wheels, the same ones every time."""
    rng = random.Random(5)  # noqa: S311  # nobody is to be kept from guessing it
    noise = rng.randbytes(LARGE_WHEEL)
    libraries: dict[str, bytes | str] = {
        BIG: noise + bytes(3 * LARGE_WHEEL) + noise,
        "big/lib/stored.so": noise[:LARGE_WHEEL],
        "big/empty.py": "",
        "big/__init__.py": "x = 1\n" * 20_000,
        "big-1.0.data/scripts/big-tool": "#!python\nprint()\n",
    }
    wheel_files.wheel(folder, "big", libraries, stored=["big/lib/stored.so"])
    long = "nvidia/" + 20 * "deep/" + "libdeep.so"
    cuda: dict[str, bytes | str] = {long: noise, "nvidia/ünicode.h": "x", "nvidia/__init__.py": ""}
    wheel_files.wheel(folder, "nvidia_big", cuda, tag="py3-none-manylinux_2_28_x86_64")
    entry_points = "[console_scripts]\nsmall = small:main\n"
    small: dict[str, bytes | str] = {
        "small.py": "def main(): pass\n",
        "nvidia/__init__.py": "",
        "small-1.0.dist-info/entry_points.txt": entry_points,
    }
    wheel_files.wheel(folder, "small", small)
    wheel_files.wheel(folder, "other", {"other/data.bin": noise[:70_000]}, level=1)


def image(
    folder: Path, store: Store, *, busybox: bytes = b"none", compression: str = "gzip"
) -> AssembledImage:
    """Assemble the image of the wheels in this folder; its system is one program."""
    paths = sorted(folder.glob("*.whl"))
    locked = tuple(wheel_files.locked(path) for path in paths)
    cell = samples.cell(package="big", version="1.0")
    planned = samples.planned(samples.image(cell, locked=samples.lock(cell.id, wheels=locked)))
    context = LayerContext(
        store=store,
        locate=lambda wheel: folder / wheel.file,
        log=lambda _: None,
        compression=compression,
    )
    return _assembled(planned, context, busybox)


def _assembled(planned: PlannedImage, context: LayerContext, busybox: bytes) -> AssembledImage:
    image = planned.image
    layers = _system(context.store, busybox)
    system = SystemLayers(layers=layers, config=CONFIG, interpreter="", packages=())
    system = replace(system, layers=recompress_layers(system.layers, context))
    parts = [
        *system_image_layers(system, image),
        *wheel_image_layers(context, image),
        cell_image_layer(context, image),
    ]
    return assemble_image(planned, order_layers(parts), CONFIG)


def _system(store: Store, busybox: bytes) -> tuple[Layer, ...]:
    def layer(number: int, entries: Iterable[LayerEntry]) -> Layer:
        key = LayerKey(kind="system", source=f"{number:064}")
        tar = tar_parts(arrange_entries(entries))
        return make_layer(store, key, lambda file: compress_gzip(tar, file.write), print)

    program = LayerEntry(path="bin/busybox", mode=EXECUTABLE_MODE, content=busybox, owner="system")
    removed = LayerEntry(path="bin/.wh.gone", mode=0, content=b"", owner="system")
    gone = LayerEntry(path="bin/gone", mode=EXECUTABLE_MODE, content=b"gone", owner="system")
    links = [
        link_entry(f"bin/{name}", "busybox") for name in ("sh", "sha256sum", "find", "stat", "id")
    ]
    # The last three are where an engine mounts; it makes them where they are not there.
    folders = [folder_entry(name) for name in ("code", "dev", "proc", "sys")]
    return layer(1, [program, gone, *folders]), layer(2, [removed, *links])


def main(wheel_folder: Path, store: Path) -> None:
    assembled = image(wheel_folder, Store(path=store))
    layers = [layer.digest for layer in assembled.layers]
    print(
        json.dumps(
            {"digest": assembled.digest, "config": assembled.config_digest, "layers": layers}
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
