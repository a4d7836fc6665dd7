"""Disk space: what a build will need, whether it is there, and giving back what dlimg took."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import docker

from dlimg.engine.client import Engine, free_bytes
from dlimg.errors import Negative
from dlimg.model import Planned, Wheel

# How much larger a wheel's files are than the wheel, rounded up from the largest ratio seen on
# 2026-11-21: CUDA libraries 1.2 to 1.9 (nccl 2.32, cublas 13.10, cudnn 9.28), frameworks and
# the rest 2.1 to 4.7 (torch 2.15, triton 3.8, jaxlib 0.9.2, tensorflow-cpu 2.21).
_LIBRARY_RATIO: Final = 2.0
_OTHER_RATIO: Final = 4.7
# The root file system with Python, packed and unpacked, and the installer's stage.
_SYSTEM_BYTES: Final = 900_000_000

_OWN: Final = "dlimg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed, and how many bytes the engine says came free; `kept` is in use."""

    containers: tuple[str, ...]
    images: tuple[str, ...]
    kept: tuple[str, ...]
    size: int


def predicted_bytes(planned: Sequence[Planned]) -> int:
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


def check_space(planned: Sequence[Planned], engine: Engine) -> None:
    """Raises `Negative` when the engine's disk has less room than the locks predict."""
    if not planned:
        return
    free = free_bytes(engine)
    needed = predicted_bytes(planned)
    if free is not None and free < needed:
        raise Negative(
            f"no space left for {len(planned)} images: about {needed / 1e9:.1f} GB are needed, "
            f"{free / 1e9:.1f} GB are free",
            where=engine.root,
            hint="build fewer cells at once, or free some with `dlimg prune`",
        )


def prune(engine: Engine) -> Pruned:
    """What dlimg made in this engine, removed: check containers, images, bases, build cache.

    An image that a container uses stays, and so does a name that someone else gave to it.
    """
    before = _used(engine)
    containers = tuple(_remove_containers(engine))
    removed, kept = _remove_images(engine)
    _remove_cache(engine)
    return Pruned(
        containers=containers, images=removed, kept=kept, size=max(0, before - _used(engine))
    )


def own_names(tags: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    """Those names of an image that dlimg gave; an image built on top only inherits the labels.

    Our immutable name ends with the content key that the label holds, and every name in that
    repository is ours. A base has a repository that is named for dlimg.
    """
    key = labels.get("io.dlimg.key", "")[:12]
    ours = {_repository(tag) for tag in tags if key and tag.endswith(f"-{key}")}
    return [tag for tag in tags if _repository(tag) in ours or tag.startswith("dlimg-base:")]


def _unpacked(wheel: Wheel) -> float:
    ratio = _LIBRARY_RATIO if wheel.name.startswith("nvidia-") else _OTHER_RATIO
    return wheel.size * ratio


def _repository(name: str) -> str:
    return name.rpartition(":")[0]


def _remove_containers(engine: Engine) -> Iterator[str]:
    for container in engine.sdk.containers.list(all=True, filters={"label": "io.dlimg.check"}):
        container.remove(force=True)
        yield str(container.name)


def _remove_images(engine: Engine) -> tuple[tuple[str, ...], tuple[str, ...]]:
    removed: list[str] = []
    kept: list[str] = []
    for image in engine.sdk.images.list(filters={"label": ["io.dlimg.base"]}):
        # An image without any name is what an earlier build of ours left behind.
        for name in own_names(image.tags, image.labels) or ([] if image.tags else [str(image.id)]):
            try:
                engine.sdk.images.remove(name)
                removed.append(str(name))
            except docker.errors.APIError:
                kept.append(str(name))
    return tuple(removed), tuple(kept)


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
