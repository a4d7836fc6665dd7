"""Systems in the store: their layers, what images on them inherit, their Python, their packages.

systems/<source>.json   a record of one; its layers are in the store as all others are
"""

import contextlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import read_now
from dlimg.layer.whiteout import is_whiteout, member_path, whiteout_hides
from dlimg.model import PlannedImage
from dlimg.render.bake import SYSTEM_STAGE
from dlimg.render.content_key import ARCHITECTURE
from dlimg.render.dockerfile import EPOCH
from dlimg.render.dockerfile_parser import closure
from dlimg.render.image_config import ImageConfig
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, find_layer

DPKG_STATUS: Final = "var/lib/dpkg/status"
UV_PYTHONS: Final = "opt/python"
CURRENT_PYTHON: Final = f"{UV_PYTHONS}/current"
PYTHON_BUILD: Final = "PYTHON_BUILD"

_BUILD_FILE: Final = re.compile(rf"{UV_PYTHONS}/[^/]+/{PYTHON_BUILD}")
# States in which nothing of a package but its settings is there.
_ABSENT: Final = ("not-installed", "config-files")
_MAX_SHOWN: Final = 3


def format_packages(status: str, python: str = "", build: str = "") -> tuple[str, ...]:
    """Sorted `name:arch=version` of dpkg's list, and `NAME=BUILD` of a managed Python."""
    found = {*_parse_status(status)}
    if python:
        found.add(f"{python}={build.strip()}")
    return tuple(sorted(found))


def packages_digest(found: Iterable[str]) -> str:
    """The sha256 over these packages, sorted, one a line."""
    text = "".join(f"{line}\n" for line in sorted(found))
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def packages_of_layers(blobs: Iterable[Path]) -> tuple[str, ...]:
    """The packages in these gzip layers, lowest first: what a layer hides or replaces is gone."""
    files: dict[str, str] = {}
    for blob in blobs:
        here, marks = _read_package_files(blob)
        hidden = {path for path in files for mark in marks if whiteout_hides(mark, path)}
        files = {path: text for path, text in files.items() if path not in hidden} | here
    return _packages_of(files)


def package_changes(before: Collection[str], after: Collection[str]) -> str:
    """The first few packages in which two lists differ, such as `-tzdata:all=1 +tzdata:all=2`."""
    signs = {line: "-" for line in before if line not in after}
    signs |= {line: "+" for line in after if line not in before}
    lines = [f"{signs[line]}{line}" for line in sorted(signs)]
    more = [f"and {len(lines) - _MAX_SHOWN} more"] if len(lines) > _MAX_SHOWN else []
    return " ".join([*lines[:_MAX_SHOWN], *more])


def _parse_status(status: str) -> Iterator[str]:
    for stanza in status.split("\n\n"):
        lines = (line.partition(": ") for line in stanza.splitlines() if line[:1].isupper())
        fields = {name: value.strip() for name, _, value in lines}
        state = fields.get("Status", "").rpartition(" ")[2]
        if state and state not in _ABSENT:
            name, arch = fields.get("Package", ""), fields.get("Architecture", "")
            yield f"{name}:{arch}={fields.get('Version', '')}"


def _packages_of(files: Mapping[str, str]) -> tuple[str, ...]:
    python = files.get(CURRENT_PYTHON, "")
    return format_packages(
        files.get(DPKG_STATUS, ""), python, files.get(f"{UV_PYTHONS}/{python}/{PYTHON_BUILD}", "")
    )


def _read_package_files(blob: Path) -> tuple[dict[str, str], list[str]]:
    """The files that tell, by path, with a link's target as its text; and marks of removals."""
    found: dict[str, str] = {}
    marks: list[str] = []
    archive: Any = tarfile.open(blob, mode="r:gz")  # noqa: SIM115 - closed below
    with archive:
        for member in archive:
            path = member_path(member)
            if is_whiteout(path):
                marks.append(path)
            elif path == CURRENT_PYTHON and member.issym():
                found[path] = member.linkname
            elif member.isfile() and (path == DPKG_STATUS or _BUILD_FILE.fullmatch(path)):
                found[path] = archive.extractfile(member).read().decode(errors="replace")
    return found, marks


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
    return system_layer_key(layer.diff_id)


def system_layer_key(diff_id: str) -> LayerKey:
    return LayerKey(kind="system", source=diff_id.removeprefix("sha256:"))


def system_source(planned: PlannedImage) -> str:
    """One sha256 for what the system is made from: the base, and the text of its stages."""
    texts = [stage.source for stage in closure(planned.image.dockerfile, SYSTEM_STAGE)]
    return hash_texts([ARCHITECTURE, str(EPOCH), planned.base.identity, *texts])


def load_system(store: Store, source: str) -> SystemLayers | None:
    """The system, when it was built and all its layers are there."""
    try:
        content = json.loads(read_now(_record_path(store, source)))
        layers = tuple(Layer(**one) for one in content["layers"])
        config = _parse_config(content["config"])
        interpreter = str(content["interpreter"])
        packages = _text_tuple(content.get("packages"))
        there = bool(layers) and all(find_layer(store, system_key(one)) == one for one in layers)
        if not there:
            return None
        found = SystemLayers(
            layers=layers,
            config=config,
            interpreter=interpreter,
            packages=packages_of_layers(map(store.blob, layers)) if packages is None else packages,
        )
    except _UNREADABLE:
        return None
    if packages is None:  # an older dlimg wrote it
        save_system(store, source, found)
    return found


def save_system(store: Store, source: str, found: SystemLayers) -> None:
    """Without a record the system is built again, from BuildKit's cache, and nothing is lost."""
    record = _record_path(store, source)
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
        _record_path(store, source).unlink(missing_ok=True)


def _record_path(store: Store, source: str) -> Path:
    return store.path / "systems" / f"{source}.json"


def copy_system(source: str, kept_in: Store, store: Store) -> None:
    """Puts a system of one store into another, where it is; its layers are links if possible."""
    found = load_system(kept_in, source)
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
    save_system(store, source, found)


def _text_tuple(found: object) -> tuple[str, ...] | None:
    """A list of texts; nothing where it is none."""
    is_right = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return tuple(found) if isinstance(found, list) and is_right else None


def _parse_config(values: Mapping[str, Any]) -> ImageConfig:
    """The config as it was before it became JSON, in which there are no tuples."""
    thawed: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in values.items()
    }
    return ImageConfig(**thawed)
