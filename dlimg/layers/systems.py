"""Systems in the store: which layers each has, what images on it inherit, and its Python.

systems/<source>.json   a record of one; its layers are in the store as all others are
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlimg.draw.config import Config
from dlimg.layers.index import Key, Layer
from dlimg.layers.store import Store, find
from dlimg.whole import read_now


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The layers of a system, lowest first, and the config that images on it inherit.

    `interpreter` stands for its Python, as `interpreter_of` says.
    """

    layers: tuple[Layer, ...]
    config: Config
    interpreter: str


def system_key(layer: Layer) -> Key:
    """A system's layer is known by its own tar: several systems have the same base."""
    return key_of(layer.diff_id)


def key_of(diff_id: str) -> Key:
    return Key(kind="system", source=diff_id.removeprefix("sha256:"))


def kept(store: Store, source: str) -> System | None:
    """The system, when it was built and all its layers are there."""
    try:
        content = json.loads(read_now(_record(store, source)))
        layers = tuple(Layer(**one) for one in content["layers"])
        config = _thawed(content["config"])
        interpreter = str(content["interpreter"])
        there = bool(layers) and all(find(store, system_key(one)) == one for one in layers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return System(layers=layers, config=config, interpreter=interpreter) if there else None


def remember(store: Store, source: str, found: System) -> None:
    """Without a record the system is built again, from BuildKit's cache, and nothing is lost."""
    record = _record(store, source)
    content = {
        "layers": [asdict(one) for one in found.layers],
        "config": asdict(found.config),
        "interpreter": found.interpreter,
    }
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=record.parent, delete=False) as file:
            json.dump(content, file, indent=2)
        Path(file.name).replace(record)


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


def _thawed(values: Mapping[str, Any]) -> Config:
    """The config as it was before it became JSON, in which there are no tuples."""
    thawed: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in values.items()
    }
    return Config(**thawed)
