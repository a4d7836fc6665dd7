"""Disk space in an engine: the need of a build, whether it is free, and pruning."""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.models.images import Image as EngineImage

from dlimg.assembly.wheel_to_layer import is_large, wheel_keys
from dlimg.builders.load import remove_leftover_names
from dlimg.engine.bases import IDENTITY_LABEL, OS_LABEL, REPOSITORY
from dlimg.engine.client import Engine, disk_usage, engine_errors, free_bytes, list_images
from dlimg.engine.ownership import OWNER_LABEL, owner_state, was_built_here
from dlimg.errors import Negative
from dlimg.model import PlannedImage, Wheel
from dlimg.render.bake import KEY_LABEL
from dlimg.store.image_manifest import is_cuda_wheel
from dlimg.store.keys import Layer
from dlimg.store.store import Store, find_layer
from dlimg.units import counted

# How much larger a wheel's files are than the wheel, rounded up from the largest ratio seen on
# 2026-11-21: CUDA libraries 1.2 to 1.9 (nccl 2.32, cublas 13.10, cudnn 9.28), frameworks and
# the rest 2.1 to 4.7 (torch 2.15, triton 3.8, jaxlib 0.9.2, tensorflow-cpu 2.21).
_LIBRARY_RATIO: Final = 2.0
_OTHER_RATIO: Final = 4.7
# The root file system with Python, packed and unpacked, and the installer's stage.
_SYSTEM_BYTES: Final = 900_000_000
# Byte code of TensorFlow's packages, unpacked and packed twice, rounded up.
_BYTE_CODE_BYTES: Final = 400_000_000
# A system unpacked above the wheels; one with a compiler has more, but most byte code less.
_UPPER_BYTES: Final = 150_000_000

_NO_IMAGE: Final = "io.dlimg.no-image"
_DLIMG: Final = "dlimg"  # in the descriptions of our build cache records


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainedImage:
    """An image or a container that pruning left in place, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePruneResult:
    """The names that were removed and retained, and the bytes that the engine reports as freed."""

    containers: tuple[str, ...]
    images: tuple[str, ...]
    retained: tuple[RetainedImage, ...]
    size: int


def predicted_bytes(planned: Sequence[PlannedImage]) -> int:
    """Return the bytes that BuildKit builds will take on the engine's disk, rounded up.

    The sum of a fixed amount for each operating system; the unpacked files of each distinct
    wheel, in the installer's cache; and for each image the files of its wheels, unpacked and
    packed (a layer packs about as well as a wheel).
    """
    wheels = {wheel.sha256: wheel for plan in planned for wheel in plan.image.lock.wheels}
    systems = {plan.image.cell.os.name for plan in planned}
    cache = sum(_unpacked_bytes(wheel) for wheel in wheels.values())
    images = sum(
        _unpacked_bytes(wheel) + wheel.size for plan in planned for wheel in plan.image.lock.wheels
    )
    return round(len(systems) * _SYSTEM_BYTES + cache + images)


def layered_bytes(
    planned: Sequence[PlannedImage],
    *,
    in_store: Collection[Wheel] = frozenset(),
    in_engine: Collection[Wheel] = frozenset(),
) -> int:
    """Return the bytes that assembled images will take: layers that they share count once.

    Each distinct wheel takes its packed size in the store and in the engine, and its unpacked
    size in the engine. Byte code is new to each image, and the system is unpacked in each. The
    layers of wheels `in_store` and `in_engine` exist already.
    """
    wheels = {wheel for plan in planned for wheel in plan.image.lock.wheels} - set(in_engine)
    systems = {plan.image.cell.os.name for plan in planned}
    unpacked = sum(_unpacked_bytes(wheel) for wheel in wheels)
    packed = sum(wheel.size * (1 if wheel in in_store else 2) for wheel in wheels)
    own = len(planned) * (_BYTE_CODE_BYTES + _UPPER_BYTES)
    return round(len(systems) * _SYSTEM_BYTES + own + unpacked + packed)


def check_space(planned: Sequence[PlannedImage], engine: Engine, needed: int) -> None:
    """Raise `Negative` when the engine's disk has less free space than these images need."""
    if not planned:
        return
    free = free_bytes(engine)
    if free is not None and free < needed:
        raise Negative(
            f"no space left: {counted(len(planned), 'image', 'needs')} about "
            f"{needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            where=engine.root,
            hint="build fewer cells at once, or free some with `dlimg prune`",
        )


@engine_errors()
def prune_engine(engine: Engine) -> EnginePruneResult:
    """Remove dlimg's own objects from this engine: check containers, images, bases, build cache.

    An image is removed only if it was built here, because an image built on another inherits its
    labels; and only by the names that dlimg gave it. Images that a container uses stay, and so do
    containers of a dlimg process that still runs.
    """
    before = _used(engine)
    remove_leftover_names(engine)
    containers, in_use = _remove_containers(engine)
    images, in_use_or_foreign = _remove_images(engine)
    _remove_cache(engine)
    freed = max(0, before - _used(engine))
    return EnginePruneResult(
        containers=containers, images=images, retained=(*in_use, *in_use_or_foreign), size=freed
    )


def own_names(tags: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    """Return the names that dlimg gave to an image, without those that a user added.

    The immutable name ends with the content key in the label, and the moving name is the same
    without it. A base has one name, from its operating system and identity.
    """
    if not labels.get(KEY_LABEL):
        identity = labels.get(IDENTITY_LABEL, "").removeprefix("sha256:")[:12]
        base = f"{REPOSITORY}:{labels.get(OS_LABEL, '')}-{identity}"
        return [tag for tag in tags if tag == base]
    suffix = f"-{labels[KEY_LABEL][:12]}"
    moving = {tag.removesuffix(suffix) for tag in tags if tag.endswith(suffix)}
    return [tag for tag in tags if tag.removesuffix(suffix) in moving]


def _unpacked_bytes(wheel: Wheel) -> float:
    ratio = _LIBRARY_RATIO if wheel.name.startswith("nvidia-") else _OTHER_RATIO
    return wheel.size * ratio


def _remove_containers(engine: Engine) -> tuple[tuple[str, ...], tuple[RetainedImage, ...]]:
    removed: list[str] = []
    retained: list[RetainedImage] = []
    # Rows, not SDK objects: the SDK inspects each object, which may be gone by then.
    api: Any = engine.sdk.api
    for row in api.containers(all=True, filters={"label": "io.dlimg.check"}):
        # A container that is being removed has no name any more.
        name = str((row["Names"] or (row["Id"][:12],))[0]).removeprefix("/")
        reason = _retain_reason(name, row)
        if reason:
            retained.append(RetainedImage(name=name, reason=reason))
            continue
        with contextlib.suppress(docker.errors.NotFound):
            api.remove_container(row["Id"], force=True, v=True)
            removed.append(name)
    return tuple(removed), tuple(retained)


def _retain_reason(name: str, row: Mapping[str, Any]) -> str:
    """Return why this container may still be in use; empty when it is not."""
    match owner_state((row.get("Labels") or {}).get(OWNER_LABEL, "")):
        case "alive":
            return "a running dlimg uses it"
        case "out of sight" if row.get("State") == "running":
            return f"a dlimg on another host may use it; `docker rm --force {name}` removes it"
        case _:
            return ""


def _remove_images(engine: Engine) -> tuple[tuple[str, ...], tuple[RetainedImage, ...]]:
    removed: list[str] = []
    retained: list[RetainedImage] = []
    for image in _labelled(engine):
        # An image without a name was replaced by a later build, or is a user's.
        for name in own_names(image.tags, image.labels) or ([] if image.tags else [str(image.id)]):
            reason = _remove(engine, image, name)
            if reason:
                retained.append(RetainedImage(name=name, reason=reason))
            else:
                removed.append(name)
    return tuple(removed), tuple(retained)


def _labelled(engine: Engine) -> Iterable[EngineImage]:
    """Return every image that dlimg made, or that was built on one of those."""
    rows = {
        str(row["Id"]): row
        for label in (KEY_LABEL, IDENTITY_LABEL)
        for row in list_images(engine, {"label": [label]})
    }
    return [
        EngineImage(attrs={**row, "Config": {"Labels": row["Labels"]}}) for row in rows.values()
    ]


def _remove(engine: Engine, image: EngineImage, name: str) -> str:
    """Remove one name of an image; return the reason when it stays, else an empty text."""
    key = image.labels.get(KEY_LABEL, "") or image.labels[IDENTITY_LABEL]
    if not was_built_here(engine.context, key, str(image.id)):
        return f"there is no record that dlimg built it here; `docker image rm {name}` removes it"
    try:
        engine.sdk.images.remove(name)
    except docker.errors.ImageNotFound:
        return ""  # removed by another process
    except docker.errors.APIError as error:
        return str(error.explanation or error)
    return ""


def _remove_cache(engine: Engine) -> None:
    if engine.private:
        api: Any = engine.sdk.api
        api.prune_builds(all=True)
        # containerd's store keeps the layers of a cancelled pull for eight hours, or until any
        # images are pruned. No image has this label.
        api.prune_images(filters={"label": [_NO_IMAGE]})
        return
    # A record can go only when no other depends on it, so this takes several rounds.
    while sum(_remove_record(engine, record) for record in _own_records(engine)):
        continue


def _own_records(engine: Engine) -> list[str]:
    """Return the ids of dlimg's build cache records, in an engine that others use as well."""
    records: list[dict[str, Any]] = disk_usage(engine).get("BuildCache") or []
    return [
        str(record["ID"])
        for record in records
        if _DLIMG in str(record.get("Description", "")) and not record.get("InUse")
    ]


def _remove_record(engine: Engine, record: str) -> bool:
    api: Any = engine.sdk.api
    answer = api.prune_builds(filters={"id": record}, all=True)
    return bool(answer.get("CachesDeleted"))


def _used(engine: Engine) -> int:
    usage = disk_usage(engine)
    cache = sum(int(record.get("Size", 0)) for record in usage.get("BuildCache") or [])
    return int(usage.get("LayersSize") or 0) + cache


def needed_bytes(planned: Sequence[PlannedImage], engine: Engine, store: Store) -> int:
    """Return the bytes that these assembled images will take, rounded up."""
    stored = _stored_layers(planned, store)
    diff_ids = _diff_ids(engine) if stored else frozenset()
    # Only layers below the frameworks are unpacked once for all images.
    shared = [
        wheel
        for wheel, layer in stored.items()
        if is_cuda_wheel(wheel.name) and layer.diff_id in diff_ids
    ]
    return layered_bytes(planned, in_store=frozenset(stored), in_engine=frozenset(shared))


def _stored_layers(planned: Sequence[PlannedImage], store: Store) -> Mapping[Wheel, Layer]:
    """Return the layers of large wheels that are in the store."""
    stored = {}
    for plan in planned:
        lock = plan.image.lock
        for wheel in filter(is_large, lock.wheels):
            keys = wheel_keys(wheel, python=lock.python, compression=plan.compression)
            layer = next((layer for key in keys if (layer := find_layer(store, key))), None)
            if layer:
                stored[wheel] = layer
    return stored


def _diff_ids(engine: Engine) -> Collection[str]:
    """Return the diff ids of all layers of images in the engine that dlimg made."""
    api: Any = engine.sdk.api
    ids = [row["Id"] for row in list_images(engine, {"label": [KEY_LABEL]})]
    diff_ids: set[str] = set()
    for image_id in ids:
        with contextlib.suppress(docker.errors.ImageNotFound):  # removed meanwhile
            diff_ids.update(api.inspect_image(image_id)["RootFS"].get("Layers") or ())
    return diff_ids
