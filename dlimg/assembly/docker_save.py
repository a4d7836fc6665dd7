"""An image of an engine with the classic image store, as the OCI layout that BuildKit would write.

Such an engine has no OCI exporter, only `docker save`.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.host.process import check
from dlimg.layer.compress import CountingHash
from dlimg.layer.whiteout import containerd_layer
from dlimg.render.dockerfile import EPOCH

SECONDS: Final = 600.0
_CREATED: Final = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
_BUILDKIT: Final = "buildkit.dockerfile.v0"
_PIECE: Final = 1 << 20
_KIND: Final = "application/vnd.oci.image"


def save_as_layout(engine: Engine, name: str, layout: Path) -> None:
    """Writes the engine's image of this name, its layers not compressed.

    Raises Negative when the engine does not give it.
    """
    layout.mkdir()
    archive = layout / "saved.tar"
    argv = [str(engine.docker), "image", "save", "--output", str(archive), name]
    check(argv, env=engine.environment, timeout=SECONDS)
    try:
        with tarfile.open(archive, "r:") as tar:
            _write_layout(tar, layout)
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise Negative(f"the engine saved a damaged image: {error}", where=name) from error
    finally:
        archive.unlink()


def read_chunks(blob: Path) -> Iterator[bytes]:
    """A file, in pieces."""
    with blob.open("rb") as file:
        yield from _chunks(file)


def _write_layout(archive: tarfile.TarFile, layout: Path) -> None:
    (described,) = json.loads(_open_member(archive, "manifest.json").read())
    config = json.loads(_open_member(archive, described["Config"]).read())
    count = _count_built_layers(config)
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids = [], []
    with ExitStack() as opened:
        files = [_open_member(archive, name) for name in described["Layers"]]
        tars = [opened.enter_context(tarfile.open(fileobj=file, mode="r:")) for file in files]
        for number, tar in enumerate(tars):
            is_new = number >= len(tars) - count
            stream = containerd_layer(tar, tars[:number]) if is_new else _chunks(files[number])
            layers.append(_write_layer(stream, blobs))
            diff_ids.append(layers[-1]["digest"])
    config["rootfs"]["diff_ids"] = diff_ids
    described = {
        "schemaVersion": 2,
        "mediaType": f"{_KIND}.manifest.v1+json",
        "config": _write_json(blobs, config, f"{_KIND}.config.v1+json"),
        "layers": layers,
    }
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_KIND}.index.v1+json",
        "manifests": [_write_json(blobs, described, f"{_KIND}.manifest.v1+json")],
    }
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")


def _count_built_layers(config: Mapping[str, Any]) -> int:
    """How many layers BuildKit has put on the base: their steps have the time that we gave it."""
    steps = [step for step in config.get("history") or () if not step.get("empty_layer")]
    ours = {"created": _CREATED, "comment": _BUILDKIT}
    return sum(ours.items() <= step.items() for step in steps)


def _write_layer(tar: Iterator[bytes], blobs: Path) -> dict[str, object]:
    """The descriptor of a layer that is among the blobs now."""
    made = CountingHash()
    with (blobs / "layer").open("wb") as out:
        for piece in tar:
            made.update(piece)
            out.write(piece)
    (blobs / "layer").rename(blobs / made.digest.removeprefix("sha256:"))
    return {"mediaType": f"{_KIND}.layer.v1.tar", "digest": made.digest, "size": made.size}


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


def _write_json(blobs: Path, content: object, kind: str) -> dict[str, object]:
    """The descriptor of this content, which is among the blobs now."""
    text = json.dumps(content).encode()
    digest = sha256(text).hexdigest()
    (blobs / digest).write_bytes(text)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(text)}


def _open_member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file in the archive; engines before Docker 25 may have a link to a layer seen before."""
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file")
    return file
