"""Systems in the store: their layers, inherited config, Python, and installed packages.

    systems/<source>.json             the record of a system; its layers are in the store as others

Neither the packages nor the build of a Python from uv are locked: they are those of the day of the
build, so content keys and labels name them. They are read from layers here, from an image by
`dlimg.builders.image_packages`, and in a container by a check:

    /var/lib/dpkg/status              dpkg's list of packages
    /opt/python/current -> NAME       the Python that uv installed, if any
    /opt/python/NAME/BUILD            the release of that build, such as `20261110`
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
from dlimg.model import EPOCH, GZIP, PlannedImage
from dlimg.render.bake import SYSTEM_STAGE
from dlimg.render.dockerfile_parser import stage_closure
from dlimg.render.image_config import ImageConfig
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, find_layer

DPKG_STATUS: Final = "var/lib/dpkg/status"
UV_PYTHONS: Final = "opt/python"
CURRENT_PYTHON: Final = f"{UV_PYTHONS}/current"
PYTHON_BUILD: Final = "BUILD"

_BUILD_FILE: Final = re.compile(rf"{UV_PYTHONS}/[^/]+/{PYTHON_BUILD}")
# dpkg's states of packages that have only settings on the disk.
_ABSENT: Final = ("not-installed", "config-files")
_MAX_SHOWN: Final = 3
# Errors of reading a missing or damaged record, or damaged layers.
_UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError),
    *(tarfile.TarError, EOFError, zlib.error),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLayers:
    """The layers of a system, lowest first, and the config that images on it inherit.

    `interpreter` is the digest of its Python, `packages` are its packages as `format_packages`
    returns them.
    """

    layers: tuple[Layer, ...]
    config: ImageConfig
    interpreter: str
    packages: tuple[str, ...]

    @property
    def packages_digest(self) -> str:
        return packages_digest(self.packages)


def system_layer_key(diff_id: str, compression: str = GZIP) -> LayerKey:
    """Return the key of a system's layer, a hash of its tar: systems share the base's layers."""
    source = diff_id.removeprefix("sha256:")
    return LayerKey(kind="system", source=source, compression=compression)


def system_source(planned: PlannedImage) -> str:
    """Return one sha256 of the system's inputs: its base, and the text of its stages."""
    texts = [stage.source for stage in stage_closure(planned.image.dockerfile, SYSTEM_STAGE)]
    platform = planned.image.cell.oci_platform
    return hash_texts([platform, str(EPOCH), planned.base.identity, *texts])


def load_system(store: Store, source: str) -> SystemLayers | None:
    """Return the system, or None if its record or one of its layers is missing."""
    try:
        content = json.loads(read_now(_record_path(store, source)))
        layers = tuple(Layer(**values) for values in content["layers"])
        config = _parse_config(content["config"])
        interpreter = str(content["interpreter"])
        packages = _text_tuple(content.get("packages"))
        keys = {layer: system_layer_key(layer.diff_id) for layer in layers}
        if not layers or any(find_layer(store, key) != layer for layer, key in keys.items()):
            return None
        system = SystemLayers(
            layers=layers,
            config=config,
            interpreter=interpreter,
            packages=packages_of_layers(map(store.blob, layers)) if packages is None else packages,
        )
    except _UNREADABLE:
        return None
    if packages is None:  # the record of an older dlimg
        save_system(store, source, system)
    return system


def save_system(store: Store, source: str, system: SystemLayers) -> None:
    """Record the system; if the disk refuses, it is built again from BuildKit's cache."""
    record = _record_path(store, source)
    content = {
        "layers": [asdict(layer) for layer in system.layers],
        "config": asdict(system.config),
        "interpreter": system.interpreter,
        "packages": system.packages,
    }
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=record.parent, delete=False) as file:
            json.dump(content, file, indent=2)
        Path(file.name).replace(record)


def forget_system(store: Store, source: str) -> None:
    """Remove the system's record, so that it is built again; its layers stay."""
    with contextlib.suppress(OSError):
        _record_path(store, source).unlink(missing_ok=True)


def copy_system(source: str, origin: Store, target: Store) -> None:
    """Copy a system, if it exists, from one store to another; blobs are linked if possible."""
    system = load_system(origin, source)
    if system is None:
        return
    for layer in system.layers:
        blob, key = target.blob(layer), system_layer_key(layer.diff_id)
        for folder in (blob.parent, target.entry(key).parent):
            folder.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            try:
                os.link(origin.blob(layer), blob)
            except OSError:
                shutil.copyfile(origin.blob(layer), blob)
        shutil.copyfile(origin.entry(key), target.entry(key))
    save_system(target, source, system)


def format_packages(status: str, python: str = "", build: str = "") -> tuple[str, ...]:
    """Return the sorted list of packages: `name:arch=version` for each package of dpkg's list.

    A Python that uv installed is added as `NAME=BUILD`.
    """
    packages = {*_parse_status(status)}
    if python:
        packages.add(f"{python}={build.strip()}")
    return tuple(sorted(packages))


def packages_digest(packages: Iterable[str]) -> str:
    """Return the sha256 of these packages, sorted, one a line."""
    text = "".join(f"{line}\n" for line in sorted(packages))
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def packages_of_layers(blobs: Iterable[Path]) -> tuple[str, ...]:
    """Return the packages of an image with these gzip layers, lowest first."""
    files: dict[str, str] = {}
    for blob in blobs:
        added, whiteouts = _read_package_files(blob)
        hidden = {path for path in files for mark in whiteouts if whiteout_hides(mark, path)}
        files = {path: text for path, text in files.items() if path not in hidden} | added
    python = files.get(CURRENT_PYTHON, "")
    build = files.get(f"{UV_PYTHONS}/{python}/{PYTHON_BUILD}", "")
    return format_packages(files.get(DPKG_STATUS, ""), python, build)


def package_changes(before: Collection[str], after: Collection[str]) -> str:
    """Return the first few packages that differ, such as `-tzdata:all=1 +tzdata:all=2`."""
    signs = {line: "-" for line in before if line not in after}
    signs |= {line: "+" for line in after if line not in before}
    lines = [f"{signs[line]}{line}" for line in sorted(signs)]
    remainder = [f"and {len(lines) - _MAX_SHOWN} more"] if len(lines) > _MAX_SHOWN else []
    return " ".join([*lines[:_MAX_SHOWN], *remainder])


def _parse_status(status: str) -> Iterator[str]:
    for stanza in status.split("\n\n"):
        lines = (line.partition(": ") for line in stanza.splitlines() if line[:1].isupper())
        fields = {name: value.strip() for name, _, value in lines}
        state = fields.get("Status", "").rpartition(" ")[2]
        if state and state not in _ABSENT:
            name, arch = fields.get("Package", ""), fields.get("Architecture", "")
            yield f"{name}:{arch}={fields.get('Version', '')}"


def _read_package_files(blob: Path) -> tuple[dict[str, str], list[str]]:
    """Return a layer's package files, with a link's target as its text, and its whiteouts."""
    files: dict[str, str] = {}
    whiteouts: list[str] = []
    archive: Any = tarfile.open(blob, mode="r:gz")  # noqa: SIM115 - closed below
    with archive:
        for member in archive:
            path = member_path(member)
            if is_whiteout(path):
                whiteouts.append(path)
            elif path == CURRENT_PYTHON and member.issym():
                files[path] = member.linkname
            elif member.isfile() and (path == DPKG_STATUS or _BUILD_FILE.fullmatch(path)):
                files[path] = archive.extractfile(member).read().decode(errors="replace")
    return files, whiteouts


def _record_path(store: Store, source: str) -> Path:
    return store.path / "systems" / f"{source}.json"


def _text_tuple(value: object) -> tuple[str, ...] | None:
    """Return a list of texts as a tuple, None for any other value."""
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return tuple(value)
    return None


def _parse_config(values: Mapping[str, Any]) -> ImageConfig:
    """Return the recorded config, in which JSON has lists for tuples."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return ImageConfig(**fields)
