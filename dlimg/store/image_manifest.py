"""Layers and a config to an image: an OCI manifest, in an order that lets images share most."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from dlimg.layer.compress import FORMAT
from dlimg.model import Cell, PlannedImage, Wheel
from dlimg.render.bake import labels
from dlimg.render.dockerfile import EPOCH
from dlimg.render.image_config import ImageConfig
from dlimg.store.keys import Layer
from dlimg.store.store import Store

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
REFERENCE: Final = "org.opencontainers.image.ref.name"
CONTAINERD_NAME: Final = "io.containerd.image.name"
_CREATED: Final = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
_CUDA: Final = ("cuda-", "nvidia-")

# What `io.dlimg.builder` says of an image that was assembled.
BUILDER: Final = f"layers/{FORMAT}"

# The large CUDA wheels that every image on a stack has, whatever its framework: a machine that
# has one of these images has them, so they lie lowest. A test holds this against the locks.
COMMON: Final = frozenset(
    {
        *("nvidia-cublas", "nvidia-cublas-cu12"),
        *("nvidia-cuda-cupti", "nvidia-cuda-cupti-cu12", "nvidia-cuda-nvcc-cu12"),
        *("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
        *("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cufft", "nvidia-cufft-cu12"),
        *("nvidia-cusolver", "nvidia-cusolver-cu12", "nvidia-cusparse", "nvidia-cusparse-cu12"),
        *("nvidia-nccl-cu12", "nvidia-nccl-cu13", "nvidia-nvjitlink", "nvidia-nvjitlink-cu12"),
        "nvidia-nvshmem-cu13",
    }
)


class LayerRank(IntEnum):
    """Where a layer lies: what most images share is lowest, what one alone has is on top.

    An engine unpacks all above the first layer that it lacks. So the system, which changes with
    every update of the distribution and with the flavour, is above the wheels.
    """

    COMMON = 0
    CUDA = 1
    FRAMEWORK = 2
    COMPILED = 3
    SMALL = 4
    BYTECODE = 5
    SYSTEM = 6
    OWN = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """A layer of an image: what it is in words, how high it lies, how large its wheel is."""

    layer: Layer
    words: str
    height: LayerRank
    wheel_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledImage:
    """An image as bytes; `digest` is the manifest's, layers are lowest first."""

    manifest: bytes
    config: bytes
    digest: str
    layers: tuple[Layer, ...]

    @property
    def config_digest(self) -> str:
        """What an engine with the classic image store calls the image."""
        return _digest(self.config)

    @property
    def media_type(self) -> str:
        return MANIFEST_TYPE


def rank_wheel(wheel: Wheel) -> LayerRank:
    """Where a large wheel's layer lies."""
    if wheel.name in COMMON:
        return LayerRank.COMMON
    return LayerRank.CUDA if wheel.name.startswith(_CUDA) else LayerRank.FRAMEWORK


def order_layers(parts: Iterable[ImageLayer]) -> tuple[tuple[Layer, str], ...]:
    """The layers, lowest first: by height, then the larger wheel, then by words.

    It depends on the image alone, and still lets images share what is lowest: the largest
    wheels of a framework are in all of its images. Layers of the system stay in their order.
    One layer that two parts came to is there once.
    """
    found = sorted(parts, key=_place)
    return tuple({part.layer.digest: (part.layer, part.words) for part in found}.values())


def assemble_image(
    planned: PlannedImage, layers: Sequence[tuple[Layer, str]], config: ImageConfig
) -> AssembledImage:
    """The image of these layers, lowest first, each with the words for its history.

    `config` is that of the Dockerfile on that of the system; the labels that only the plan
    knows come from there. The bytes depend on nothing else.
    """
    return make_image(layers, config, {**config.labels, **labels(planned, BUILDER)})


def make_image(
    layers: Sequence[tuple[Layer, str]], config: ImageConfig, told: Mapping[str, str]
) -> AssembledImage:
    """The image of these layers with these labels."""
    described = {
        "architecture": "amd64",
        "config": _config(told, config),
        "created": _CREATED,
        "history": [_history(words) for _, words in layers],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer, _ in layers]},
    }
    config_bytes = _json(described)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config_bytes),
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
            for layer, _ in layers
        ],
    }
    manifest_bytes = _json(manifest)
    return AssembledImage(
        manifest=manifest_bytes,
        config=config_bytes,
        digest=_digest(manifest_bytes),
        layers=tuple(layer for layer, _ in layers),
    )


def write_layout(folder: Path, assembled: AssembledImage, store: Store, *, name: str = "") -> None:
    """The image as an OCI layout with this one image, under a `repository:tag` where one is given.

    Layers are links into the store where the file system allows it, else copies.
    """
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for layer in assembled.layers:
        _place_blob(store.blob(layer), blobs / _hex(layer.digest))
    (blobs / _hex(assembled.config_digest)).write_bytes(assembled.config)
    (blobs / _hex(assembled.digest)).write_bytes(assembled.manifest)
    descriptor: dict[str, object] = {
        **_descriptor(MANIFEST_TYPE, assembled.manifest),
        "platform": {"architecture": "amd64", "os": "linux"},
    }
    if name:
        descriptor["annotations"] = _names(name)
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [descriptor]}
    (folder / "index.json").write_bytes(_json(index))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def _names(name: str) -> Mapping[str, str]:
    """The name for all who read layouts, who want a tag, and for `docker load`, which wants all."""
    host, slash, _ = name.partition("/")
    has_host = bool(slash) and (host == "localhost" or "." in host or ":" in host)
    whole = name if has_host else f"docker.io/{name if slash else f'library/{name}'}"
    return {REFERENCE: name.rpartition(":")[2], CONTAINERD_NAME: whole}


def _place(part: ImageLayer) -> tuple[int, int, str]:
    if part.height is LayerRank.SYSTEM:
        return part.height, 0, ""
    return part.height, -part.wheel_size, part.words


def _config(labels: Mapping[str, str], config: ImageConfig) -> dict[str, object]:
    """What is said of it, in the names of OCI's image config and Docker's two more.

    Who reads OCI's config passes over `Shell` and `Healthcheck`.
    """
    said = {
        "Cmd": list(config.cmd),
        "Entrypoint": list(config.entrypoint),
        "Env": list(config.env),
        "ExposedPorts": {port: {} for port in config.exposed},
        "Healthcheck": dict(config.healthcheck),
        "Labels": dict(labels),
        "Shell": list(config.shell),
        "User": config.user,
        "WorkingDir": config.workdir,
    }
    return {name: value for name, value in said.items() if value}


def _history(words: str) -> dict[str, str]:
    return {"created": _CREATED, "created_by": words, "comment": "dlimg.layers"}


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _json(content: object) -> bytes:
    """The one text for a value: names in order, no spaces, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _place_blob(source: Path, target: Path) -> None:
    if target.exists():
        return
    # A link costs nothing, but works only within one file system and for files of our own.
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)


def _digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


CELL_HISTORY: Final = "own: RECORDs, commands, links, /etc/dlimg"
BYTECODE_HISTORY: Final = "byte code of the other wheels"
# How all of them begin; no step of a Dockerfile does.
HISTORY_PREFIXES: Final = ("base: ", "byte code", "own: ", "small wheels: ", "system: ", "wheel: ")


def base_history(cell: Cell) -> str:
    return f"base: {cell.os.image}"


def system_history(cell: Cell) -> str:
    return f"system: Python {cell.python}, an empty environment, the user ({cell.flavour})"


def wheel_history(wheel: Wheel) -> str:
    return f"wheel: {wheel.name} {wheel.version}"


def small_wheels_history(wheels: Sequence[Wheel]) -> str:
    names = sorted(f"{wheel.name} {wheel.version}" for wheel in wheels)
    return f"small wheels: {', '.join(names)}"


def bytecode_history(wheel: Wheel) -> str:
    return f"byte code: {wheel.name} {wheel.version}"
