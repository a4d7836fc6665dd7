"""Systems in the store: their layers, what images on them inherit, their Python, their packages.

systems/<source>.json   a record of one; its layers are in the store as all others are
"""

import contextlib
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import read_now
from dlimg.model import PlannedImage
from dlimg.render.bake import SYSTEM_STAGE
from dlimg.render.config_parser import ImageConfig
from dlimg.render.content_key import ARCHITECTURE
from dlimg.render.dockerfile import EPOCH
from dlimg.render.dockerfile_parser import closure
from dlimg.store.keys import Layer, LayerKey, source_of
from dlimg.store.store import Store, find
from dlimg.store.system_packages import packages_digest, packages_in

# What a record or layers that are damaged, or no record at all, are read with.
_UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError),
    *(tarfile.TarError, EOFError, zlib.error),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLayers:
    """The layers of a system, lowest first, and the config that images on it inherit.

    `interpreter` stands for its Python, as `interpreter_of` says, and `packages` are those that
    are installed in it, as `packages_in` lists them.
    """

    layers: tuple[Layer, ...]
    config: ImageConfig
    interpreter: str
    packages: tuple[str, ...]

    @property
    def packages_digest(self) -> str:
        return packages_digest(self.packages)


def system_key(layer: Layer) -> LayerKey:
    """A system's layer is known by its own tar: several systems have the same base."""
    return key_of(layer.diff_id)


def key_of(diff_id: str) -> LayerKey:
    return LayerKey(kind="system", source=diff_id.removeprefix("sha256:"))


def system_source(planned: PlannedImage) -> str:
    """One sha256 for what the system is made from: the base, and the text of its stages."""
    texts = [stage.source for stage in closure(planned.image.dockerfile, SYSTEM_STAGE)]
    return source_of([ARCHITECTURE, str(EPOCH), planned.base.identity, *texts])


def kept(store: Store, source: str) -> SystemLayers | None:
    """The system, when it was built and all its layers are there."""
    try:
        content = json.loads(read_now(_record(store, source)))
        layers = tuple(Layer(**one) for one in content["layers"])
        config = _thawed(content["config"])
        interpreter = str(content["interpreter"])
        packages = _texts(content.get("packages"))
        there = bool(layers) and all(find(store, system_key(one)) == one for one in layers)
        if not there:
            return None
        found = SystemLayers(
            layers=layers,
            config=config,
            interpreter=interpreter,
            packages=packages_in(map(store.blob, layers)) if packages is None else packages,
        )
    except _UNREADABLE:
        return None
    if packages is None:  # an older dlimg wrote it
        remember(store, source, found)
    return found


def remember(store: Store, source: str, found: SystemLayers) -> None:
    """Without a record the system is built again, from BuildKit's cache, and nothing is lost."""
    record = _record(store, source)
    content = {
        "layers": [asdict(one) for one in found.layers],
        "config": asdict(found.config),
        "interpreter": found.interpreter,
        "packages": found.packages,
    }
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=record.parent, delete=False) as file:
            json.dump(content, file, indent=2)
        Path(file.name).replace(record)


def forget(store: Store, source: str) -> None:
    """The system is built again when it is wanted; its layers stay as long as images use them."""
    with contextlib.suppress(OSError):
        _record(store, source).unlink(missing_ok=True)


def _record(store: Store, source: str) -> Path:
    return store.path / "systems" / f"{source}.json"


def lend(source: str, kept_in: Store, store: Store) -> None:
    """Puts a system of one store into another, where it is; its layers are links if possible."""
    found = kept(kept_in, source)
    if found is None:
        return
    for layer in found.layers:
        target, key = store.blob(layer), system_key(layer)
        for folder in (target.parent, store.entry(key).parent):
            folder.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            try:
                os.link(kept_in.blob(layer), target)
            except OSError:
                shutil.copyfile(kept_in.blob(layer), target)
        shutil.copyfile(kept_in.entry(key), store.entry(key))
    remember(store, source, found)


def _texts(found: object) -> tuple[str, ...] | None:
    """A list of texts; nothing where it is none."""
    is_right = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return tuple(found) if isinstance(found, list) and is_right else None


def _thawed(values: Mapping[str, Any]) -> ImageConfig:
    """The config as it was before it became JSON, in which there are no tuples."""
    thawed: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in values.items()
    }
    return ImageConfig(**thawed)
