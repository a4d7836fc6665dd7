"""Disk space: what a build will need, whether it is there, and giving back what dlimg took."""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.models.images import Image as EngineImage

from dlimg.assembly.wheel_to_layer import is_large, wheel_keys
from dlimg.engine.bases import IDENTITY_LABEL, OS_LABEL, REPOSITORY
from dlimg.engine.client import Engine, engine_errors, free_bytes
from dlimg.engine.ownership import OWNER_LABEL, owner_state, was_built_here
from dlimg.errors import Negative
from dlimg.model import PlannedImage, Wheel
from dlimg.render.bake import KEY_LABEL
from dlimg.store.image_manifest import LayerRank, rank_wheel
from dlimg.store.keys import Layer
from dlimg.store.store import Store, find_layer

# How much larger a wheel's files are than the wheel, rounded up from the largest ratio seen on
# 2026-11-21: CUDA libraries 1.2 to 1.9 (nccl 2.32, cublas 13.10, cudnn 9.28), frameworks and
# the rest 2.1 to 4.7 (torch 2.15, triton 3.8, jaxlib 0.9.2, tensorflow-cpu 2.21).
_LIBRARY_RATIO: Final = 2.0
_OTHER_RATIO: Final = 4.7
# The root file system with Python, packed and unpacked, and the installer's stage.
_SYSTEM_BYTES: Final = 900_000_000
# Byte code of TensorFlow's packages, unpacked and packed twice, rounded up.
_BYTE_CODE_BYTES: Final = 400_000_000
# A system unpacked on the wheels below it; one with a compiler has more, most byte code less.
_UPPER_BYTES: Final = 150_000_000

_OWN: Final = "dlimg"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainedImage:
    """An image or a container that was left where it is, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePruneResult:
    """What was removed and what was not, and how many bytes the engine says came free."""

    containers: tuple[str, ...]
    images: tuple[str, ...]
    kept: tuple[RetainedImage, ...]
    size: int


def predicted_bytes(planned: Sequence[PlannedImage]) -> int:
    """Bytes that these builds will take on the engine's disk, rather too many than too few.

    For each operating system a fixed amount; for each distinct wheel its files once, in the
    installer's cache; for each image the files of its wheels again, and once packed (a layer
    packs about as well as a wheel).
    """
    wheels = {wheel.sha256: wheel for one in planned for wheel in one.image.lock.wheels}
    systems = {one.image.cell.os.name for one in planned}
    cache = sum(_unpacked(wheel) for wheel in wheels.values())
    images = sum(
        _unpacked(wheel) + wheel.size for one in planned for wheel in one.image.lock.wheels
    )
    return round(len(systems) * _SYSTEM_BYTES + cache + images)


def layered_bytes(
    planned: Sequence[PlannedImage],
    *,
    kept: Collection[Wheel] = frozenset(),
    there: Collection[Wheel] = frozenset(),
) -> int:
    """The same for assembled images: what images share is on the disk once.

    Each distinct wheel lies packed in the store and in the engine, and unpacked in the engine;
    byte code is new to each image, and the system is unpacked in each. The layers of `kept`
    wheels are in the store, and those of wheels that are `there` are in the engine, too.
    """
    wheels = {wheel for one in planned for wheel in one.image.lock.wheels} - set(there)
    systems = {one.image.cell.os.name for one in planned}
    unpacked = sum(_unpacked(wheel) for wheel in wheels)
    packed = sum(wheel.size * (1 if wheel in kept else 2) for wheel in wheels)
    own = len(planned) * (_BYTE_CODE_BYTES + _UPPER_BYTES)
    return round(len(systems) * _SYSTEM_BYTES + own + unpacked + packed)


def check_space(planned: Sequence[PlannedImage], engine: Engine, needed: int) -> None:
    """Raises `Negative` when the engine's disk has less room than is needed for these."""
    if not planned:
        return
    free = free_bytes(engine)
    if free is not None and free < needed:
        raise Negative(
            f"no space left for {len(planned)} images: about {needed / 1e9:.1f} GB are needed, "
            f"{free / 1e9:.1f} GB are free",
            where=engine.root,
            hint="build fewer cells at once, or free some with `dlimg prune`",
        )


@engine_errors()
def prune(engine: Engine) -> EnginePruneResult:
    """What dlimg made in this engine, removed: check containers, images, bases, build cache.

    Labels are inherited by whatever is built on an image, so only an image that is known to
    have been made here goes, and of its names only those that dlimg gave. One that a container
    uses stays, and so does the container of a dlimg that is still at work.
    """
    before = _used(engine)
    containers, in_use = _remove_containers(engine)
    removed, kept = _remove_images(engine)
    _remove_cache(engine)
    freed = max(0, before - _used(engine))
    return EnginePruneResult(
        containers=containers, images=removed, kept=(*in_use, *kept), size=freed
    )


def own_names(tags: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    """Those names of an image that dlimg gave, not those that somebody added.

    Our immutable name ends with the content key that the label holds, and our moving name is
    the same without it. A base has one name, for its operating system and identity.
    """
    if not labels.get(KEY_LABEL):
        identity = labels.get(IDENTITY_LABEL, "").removeprefix("sha256:")[:12]
        base = f"{REPOSITORY}:{labels.get(OS_LABEL, '')}-{identity}"
        return [tag for tag in tags if tag == base]
    suffix = f"-{labels[KEY_LABEL][:12]}"
    moving = {tag.removesuffix(suffix) for tag in tags if tag.endswith(suffix)}
    return [tag for tag in tags if tag.removesuffix(suffix) in moving]


def _unpacked(wheel: Wheel) -> float:
    ratio = _LIBRARY_RATIO if wheel.name.startswith("nvidia-") else _OTHER_RATIO
    return wheel.size * ratio


def _remove_containers(engine: Engine) -> tuple[tuple[str, ...], tuple[RetainedImage, ...]]:
    removed: list[str] = []
    kept: list[RetainedImage] = []
    # Not as objects: each of them would be asked for, and may be gone by then. So for images.
    api: Any = engine.sdk.api
    for row in api.containers(all=True, filters={"label": "io.dlimg.check"}):
        # One that is going has no name any more.
        name = str((row["Names"] or (row["Id"][:12],))[0]).removeprefix("/")
        reason = _in_use(name, row)
        if reason:
            kept.append(RetainedImage(name=name, reason=reason))
            continue
        with contextlib.suppress(docker.errors.NotFound):
            api.remove_container(row["Id"], force=True, v=True)
            removed.append(name)
    return tuple(removed), tuple(kept)


def _in_use(name: str, row: Mapping[str, Any]) -> str:
    """Why this container may still be needed, or nothing."""
    match owner_state((row.get("Labels") or {}).get(OWNER_LABEL, "")):
        case "alive":
            return "a dlimg that runs now is using it"
        case "out of sight" if row.get("State") == "running":
            return f"a dlimg elsewhere may be using it; `docker rm --force {name}` removes it"
        case _:
            return ""


def _remove_images(engine: Engine) -> tuple[tuple[str, ...], tuple[RetainedImage, ...]]:
    removed: list[str] = []
    kept: list[RetainedImage] = []
    for image in _labelled(engine):
        # An image without any name is what an earlier build of ours left behind, or a user's.
        for name in own_names(image.tags, image.labels) or ([] if image.tags else [str(image.id)]):
            reason = _remove(engine, image, name)
            if reason:
                kept.append(RetainedImage(name=name, reason=reason))
            else:
                removed.append(name)
    return tuple(removed), tuple(kept)


def _labelled(engine: Engine) -> Iterable[EngineImage]:
    """Every image that dlimg made, or that was built on one of those."""
    api: Any = engine.sdk.api
    found = {
        str(row["Id"]): row
        for label in (KEY_LABEL, IDENTITY_LABEL)
        for row in api.images(filters={"label": [label]})
    }
    return [
        EngineImage(attrs={**row, "Config": {"Labels": row["Labels"]}}) for row in found.values()
    ]


def _remove(engine: Engine, image: EngineImage, name: str) -> str:
    """Nothing once the name is gone, or else why it is not."""
    key = image.labels.get(KEY_LABEL, "") or image.labels[IDENTITY_LABEL]
    if not was_built_here(engine.environment, key, str(image.id)):
        return f"nothing here shows that dlimg built it; `docker image rm {name}` removes it"
    try:
        engine.sdk.images.remove(name)
    except docker.errors.ImageNotFound:
        return ""  # somebody else was first
    except docker.errors.APIError as error:
        return str(error.explanation or error)
    return ""


def _remove_cache(engine: Engine) -> None:
    if engine.private:
        engine.sdk.api.prune_builds(all=True)
        return
    # A record goes only when nothing was built on it, so from the last to the first, in rounds.
    while sum(_removed(engine, record) for record in _own_records(engine)):
        continue


def _own_records(engine: Engine) -> list[str]:
    """The build cache of our Dockerfiles in an engine that others use, too."""
    records: list[dict[str, Any]] = engine.sdk.df().get("BuildCache") or []
    return [
        str(record["ID"])
        for record in records
        if _OWN in str(record.get("Description", "")) and not record.get("InUse")
    ]


def _removed(engine: Engine, record: str) -> bool:
    api: Any = engine.sdk.api
    answer = api.prune_builds(filters={"id": record}, all=True)
    return bool(answer.get("CachesDeleted"))


def _used(engine: Engine) -> int:
    usage = engine.sdk.df()
    cache = sum(int(record.get("Size", 0)) for record in usage.get("BuildCache") or [])
    return int(usage.get("LayersSize") or 0) + cache


def needed(planned: Sequence[PlannedImage], engine: Engine, store: Store) -> int:
    """Bytes that these images will take, rather too many than too few."""
    kept = _kept(planned, store)
    there = _unpacked_room(engine) if kept else frozenset()
    # Only what lies below the frameworks is unpacked once for all.
    shared = [wheel for wheel, layer in kept.items() if _is_low(wheel) and layer.diff_id in there]
    return layered_bytes(planned, kept=frozenset(kept), there=frozenset(shared))


def _kept(planned: Sequence[PlannedImage], store: Store) -> Mapping[Wheel, Layer]:
    """The large wheels whose layers are in the store."""
    found = {}
    for one in planned:
        lock = one.image.lock
        for wheel in filter(is_large, lock.wheels):
            keys = wheel_keys(wheel, python=lock.python, compression=one.compression)
            layer = next((layer for key in keys if (layer := find_layer(store, key))), None)
            if layer:
                found[wheel] = layer
    return found


def _is_low(wheel: Wheel) -> bool:
    return rank_wheel(wheel) < LayerRank.FRAMEWORK


def _unpacked_room(engine: Engine) -> Collection[str]:
    """The diff ids of all layers of images that dlimg made and the engine has."""
    api: Any = engine.sdk.api
    names = [one["Id"] for one in api.images(filters={"label": [KEY_LABEL]})]
    found: set[str] = set()
    for name in names:
        with contextlib.suppress(docker.errors.ImageNotFound):  # somebody removes it meanwhile
            found.update(api.inspect_image(name)["RootFS"].get("Layers") or ())
    return found
