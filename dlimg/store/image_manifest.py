"""OCI manifests of assembled images, and the order of layers that lets images share the most."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

from dlimg.layer.compress import FORMAT
from dlimg.model import EPOCH, Cell, PlannedImage, Wheel
from dlimg.render.bake import final_labels
from dlimg.render.image_config import ImageConfig
from dlimg.store.keys import Layer

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
REFERENCE: Final = "org.opencontainers.image.ref.name"
CONTAINERD_NAME: Final = "io.containerd.image.name"
_CREATED: Final = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
_CUDA: Final = ("cuda-", "nvidia-")

# The value of the label `io.dlimg.builder` of assembled images.
BUILDER: Final = f"layers/{FORMAT}"

CELL_HISTORY: Final = "cell: RECORDs, console scripts, links, /etc/dlimg"
BYTECODE_HISTORY: Final = "byte code of the other wheels"
# Prefixes of the history of layers made by dlimg; no step of a Dockerfile begins with them.
# `own: ` began what `cell: ` begins now: older images are recognized by it for one release.
HISTORY_PREFIXES: Final = (
    *("base: ", "byte code", "cell: ", "own: ", "small wheels: ", "system: ", "wheel: "),
)


class LayerRank(StrEnum):
    """The position of a layer in an image; the most shared layers are the lowest.

    An engine unpacks every layer above the first one that it lacks. So the system, which changes
    with the distribution's updates and with the flavour, is above the wheels.
    """

    SHARED_CUDA = "shared-cuda"
    CUDA = "cuda"
    FRAMEWORK = "framework"
    WHEEL_BYTECODE = "wheel-bytecode"
    SMALL_WHEELS = "small-wheels"
    BYTECODE = "bytecode"
    SYSTEM = "system"
    CELL = "cell"


_POSITIONS: Final = {rank: position for position, rank in enumerate(LayerRank)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """A layer of an image: its rank, its history text, and the size of its wheel if it has one."""

    layer: Layer
    rank: LayerRank
    history: str
    wheel_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledImage:
    """An image as bytes; `digest` is the manifest's, layers are lowest first.

    `ranks` are those of the layers, one each; empty if they are not known.
    """

    manifest: bytes
    config: bytes
    digest: str
    layers: tuple[Layer, ...]
    ranks: tuple[LayerRank, ...] = ()

    @property
    def config_digest(self) -> str:
        """The image's id in an engine with the classic image store."""
        return _digest(self.config)

    @property
    def media_type(self) -> str:
        return MANIFEST_TYPE

    @property
    def compression(self) -> str:
        """The compression of the image's own layers; those of a registry's base may differ."""
        return self.layers[-1].compression


def rank_wheel(wheel: Wheel) -> LayerRank:
    """Return the rank of a large wheel's layer; the shared wheels of its stack are the lowest."""
    if wheel.shared:
        return LayerRank.SHARED_CUDA
    return LayerRank.CUDA if is_cuda_wheel(wheel.name) else LayerRank.FRAMEWORK


def is_cuda_wheel(name: str) -> bool:
    """Return whether a wheel of this name holds CUDA libraries, with hardly any Python."""
    return name.startswith(_CUDA)


def order_layers(layers: Iterable[ImageLayer]) -> tuple[ImageLayer, ...]:
    """Sort layers, lowest first: by rank, then the larger wheel, then by history text.

    The order depends on the image alone, and puts the largest wheels of a framework, which all of
    its images have, below the others. Layers of the system stay in their order, and a layer that
    occurs twice is kept once.
    """
    by_digest = {entry.layer.digest: entry for entry in sorted(layers, key=_position)}
    return tuple(by_digest.values())


def _position(entry: ImageLayer) -> tuple[int, int, str]:
    position = _POSITIONS[entry.rank]
    if entry.rank is LayerRank.SYSTEM:
        return position, 0, ""
    return position, -entry.wheel_size, entry.history


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


def assemble_image(
    planned: PlannedImage, layers: Sequence[ImageLayer], config: ImageConfig
) -> AssembledImage:
    """Return the image of these layers, lowest first, with the labels that the plan adds.

    `config` is the Dockerfile's on top of the system's. The bytes depend on nothing else.
    """
    labels = {**config.labels, **final_labels(planned, BUILDER)}
    return make_image(layers, config, labels, planned.image.cell.architecture)


def make_image(
    layers: Sequence[ImageLayer],
    config: ImageConfig,
    image_labels: Mapping[str, str],
    architecture: str,
) -> AssembledImage:
    """Return the image of these layers, lowest first, with these labels, for `amd64` or `arm64`."""
    config_bytes = _json(
        {
            "architecture": architecture,
            "config": _oci_config(image_labels, config),
            "created": _CREATED,
            "history": [_history(entry.history) for entry in layers],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [entry.layer.diff_id for entry in layers]},
        }
    )
    manifest_bytes = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, config_bytes),
            "layers": [
                {
                    "mediaType": entry.layer.media_type,
                    "digest": entry.layer.digest,
                    "size": entry.layer.size,
                }
                for entry in layers
            ],
        }
    )
    return AssembledImage(
        manifest=manifest_bytes,
        config=config_bytes,
        digest=_digest(manifest_bytes),
        layers=tuple(entry.layer for entry in layers),
        ranks=tuple(entry.rank for entry in layers),
    )


def _oci_config(image_labels: Mapping[str, str], config: ImageConfig) -> dict[str, object]:
    """Return the `config` object in the names of OCI, and Docker's `Shell` and `Healthcheck`."""
    values = {
        "Cmd": list(config.cmd),
        "Entrypoint": list(config.entrypoint),
        "Env": list(config.env),
        "ExposedPorts": {port: {} for port in config.exposed},
        "Healthcheck": dict(config.healthcheck),
        "Labels": dict(image_labels),
        "Shell": list(config.shell),
        "User": config.user,
        "WorkingDir": config.workdir,
    }
    return {name: value for name, value in values.items() if value}


def _history(created_by: str) -> dict[str, str]:
    return {"created": _CREATED, "created_by": created_by, "comment": "dlimg.layers"}


def descriptor(media_type: str, content: bytes) -> dict[str, object]:
    """Return the OCI descriptor of this content."""
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _json(content: object) -> bytes:
    """Return the one JSON text of a value: sorted names, no spaces, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"
