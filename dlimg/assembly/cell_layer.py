"""The layer of files that belong to a cell and not to one wheel, and what an installer adds.

What an installer adds to a wheel is kept as a small layer of its own, so that another cell with the
same wheel does not need the wheel again.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import IO, Final

from dlimg.assembly.wheel_to_layer import (
    LayerContext,
    open_locked_wheel,
    python_sources,
    read_entries,
)
from dlimg.layer.compress import WrittenLayer, compress_wheel, splice_wheel_streams
from dlimg.layer.entries import (
    FILE_MODE,
    LayerEntry,
    arrange_entries,
    folder_entry,
    link_entry,
)
from dlimg.layer.tar import tar_parts
from dlimg.layer.wheel_entries import (
    ENVIRONMENT,
    LIBRARY,
    console_scripts,
    depends_on_python,
    installer_entries,
)
from dlimg.model import GZIP, Cell, Lock, SharedPath, Wheel
from dlimg.render.dockerfile import interpreter_path
from dlimg.render.image_config import cuda_home
from dlimg.render.layout import (
    COMMAND,
    COMMANDS,
    cell_files,
    layout_files,
    layout_links,
    packages_folder,
)
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import find_layer, make_layer
from dlimg.wheel.metadata import OpenWheel, parse_record

_OWNER: Final = "dlimg"
_COMMAND: Final = re.compile(rf"{ENVIRONMENT}/bin/([^,/\" ]+)")
_UNLINKED_COMMANDS: Final = re.compile("(python|activate|dlimg-).*")
_UNLISTED_MODE: Final = 0o711


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLayerFiles:
    """The inputs of a cell's layer.

    `requested` are names of packages that get a REQUESTED file; `files` are contents by path, such
    as `etc/dlimg/x.txt`, and `links` are targets by path. `cuda_home` is the folder where libraries
    get names for linkers, `packages` the folder that lists the wheels for uv, and `taken` are names
    of commands that `/usr/local/bin` already has. `shared` are Python files that several wheels
    have: that of the owner is in this layer, above the wheels'.
    """

    wheels: tuple[Wheel, ...]
    python: str
    requested: frozenset[str]
    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)
    cuda_home: str = ""
    packages: str = ""
    reserved_commands: frozenset[str] = frozenset()
    modes: Mapping[str, int] = field(default_factory=dict)
    shared: tuple[SharedPath, ...] = ()

    def key(self, compression: str = GZIP) -> LayerKey:
        """The key of the cell's layer."""
        names = sorted({wheel.name for wheel in self.wheels} & self.requested)
        files = [f"{path} {sha256(data).hexdigest()}" for path, data in sorted(self.files.items())]
        links = [f"{path} {target}" for path, target in sorted(self.links.items())]
        modes = [f"{path} {mode:o}" for path, mode in sorted(self.modes.items())]
        shared = [f"{entry.path} {entry.owner}" for entry in self.shared]
        hashes = sorted(wheel.sha256 for wheel in self.wheels)
        groups = (
            ("requested", names),
            ("files", files),
            ("links", links),
            ("cuda", [self.cuda_home]),
            ("packages", [self.packages]),
            ("taken", sorted(self.reserved_commands)),
            *((("modes", modes),) if modes else ()),
            *((("shared", shared),) if shared else ()),
        )
        source = hash_texts([*hashes, *(text for name, texts in groups for text in (name, *texts))])
        return LayerKey(kind="own", source=source, python=self.python, compression=compression)


def cell_layer_files(cell: Cell, lock: Lock) -> CellLayerFiles:
    """Return the inputs of a cell's layer, as the last stage of its Dockerfile leaves them."""
    files = cell_files(cell, lock)
    return CellLayerFiles(
        wheels=lock.wheels,
        python=cell.python,
        requested=frozenset(wheel.name for wheel in lock.wheels),
        files={file.path.removeprefix("/"): file.content for file in files},
        links={
            f"{ENVIRONMENT}/bin/python{cell.python}": interpreter_path(cell),
            f"{ENVIRONMENT}/bin/python3": "/usr/local/bin/python3",
            f"{ENVIRONMENT}/bin/python": "python3",
        },
        cuda_home=cuda_home(cell).removeprefix("/"),
        packages=packages_folder(lock).removeprefix("/"),
        reserved_commands=_system_commands(cell) | _commands(file.path for file in files),
        modes={
            file.path.removeprefix("/"): int(file.mode, 8)
            for file in files
            if int(file.mode, 8) != FILE_MODE
        },
        shared=lock.shared_paths,
    )


def _system_commands(cell: Cell) -> frozenset[str]:
    """Names of the commands that the system stage puts into `/usr/local/bin`."""
    links = [link.path for link in layout_links(cell.python, interpreter_path(cell))]
    paths = [*links, *(file.path for file in layout_files(cell.flavour))]
    return _commands(paths)


def _commands(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(
        posixpath.basename(path) for path in paths if posixpath.dirname(path) == COMMANDS
    )


def cell_layer(context: LayerContext, files: CellLayerFiles) -> Layer:
    """Return the cell's layer: RECORDs, INSTALLERs, console scripts, files and links."""

    def write(file: IO[bytes]) -> WrittenLayer:
        parts = tar_parts(arrange_entries(_cell_entries(context, files)))
        return compress_wheel(parts, file.write, context.compression)

    key = files.key(context.compression)
    return find_layer(context.store, key) or make_layer(context.store, key, write, context.log)


def installer_layer(context: LayerContext, wheel: Wheel, *, python: str, requested: bool) -> Layer:
    """Return the files that an installer adds to this wheel; then the wheel is not needed any more.

    Raises BadInput for a wheel that cannot become a layer or is not the locked one.
    """
    any_python, this_python = installer_keys(wheel, python=python, requested=requested)
    layer = find_layer(context.store, any_python) or find_layer(context.store, this_python)
    if layer:
        return layer
    opened = open_locked_wheel(context, wheel)

    def write(file: IO[bytes]) -> WrittenLayer:
        entries = installer_entries(opened, python=python, requested=requested)
        return splice_wheel_streams(tar_parts(arrange_entries(entries)), file.write)

    key = this_python if _depends_on_python(opened, python) else any_python
    return make_layer(context.store, key, write, context.log)


def installer_keys(wheel: Wheel, *, python: str, requested: bool) -> tuple[LayerKey, LayerKey]:
    """The two possible keys of the installer's files: for any Python, and for this one."""
    source = hash_texts([wheel.sha256, "requested" if requested else ""])
    any_python = LayerKey(kind="part", source=source)
    return any_python, replace(any_python, python=python)


def _cell_entries(context: LayerContext, files: CellLayerFiles) -> list[LayerEntry]:
    entries = [
        LayerEntry(path=path, mode=files.modes.get(path, FILE_MODE), content=content, owner=_OWNER)
        for path, content in files.files.items()
    ]
    entries += [link_entry(path, target, owner=_OWNER) for path, target in files.links.items()]
    for wheel in files.wheels:
        entries += _installer_entries(context, wheel, files)
    entries += _shared_files(context, files)
    if files.cuda_home:
        entries += _linker_names(entries, files.cuda_home)
    if files.packages:
        links = [
            *_command_links(entries, files.reserved_commands),
            *_package_links(entries, files.packages),
        ]
        entries += links
    return entries


def _shared_files(context: LayerContext, files: CellLayerFiles) -> Iterator[LayerEntry]:
    """Yield the Python files that several wheels fill, as their owners have them."""
    paths: dict[str, set[str]] = {}
    for entry in files.shared:
        paths.setdefault(entry.owner, set()).add(f"{LIBRARY}/{entry.path}")
    for wheel in files.wheels:
        if wheel.name in paths:
            layer = python_sources(context, wheel, python=files.python)
            for source in read_entries(context.store, layer, owner=wheel.file):
                if source.path in paths[wheel.name]:
                    yield source


def _installer_entries(
    context: LayerContext, wheel: Wheel, files: CellLayerFiles
) -> Iterator[LayerEntry]:
    """Yield the files of a wheel's installer layer; `arrange_entries` adds their folders."""
    requested = wheel.name in files.requested
    layer = installer_layer(context, wheel, python=files.python, requested=requested)
    for entry in read_entries(context.store, layer, owner=wheel.file):
        if entry.content is not None:
            yield entry


def _linker_names(entries: Iterable[LayerEntry], home: str) -> Iterator[LayerEntry]:
    """Yield links for linkers: `lib64`, and each library's name without a version."""
    installed = set(_installed_paths(entries))
    start = f"{home}/lib/"
    yield link_entry(f"{home}/lib64", "lib", owner=_OWNER)
    linked = set[str]()
    for path in sorted(installed):
        name = path.removeprefix(start)
        short = path.partition(".so.")[0] + ".so"
        is_library = path.startswith(f"{start}lib") and "/" not in name and ".so." in name
        if is_library and short not in installed | linked:
            linked.add(short)
            yield link_entry(short, name, owner=_OWNER)


def _command_links(
    entries: Iterable[LayerEntry], reserved_commands: Iterable[str]
) -> Iterator[LayerEntry]:
    """Yield a link in `/usr/local/bin` for each command of the wheels."""
    matches = map(_COMMAND.fullmatch, sorted(set(_installed_paths(entries))))
    for name in (match[1] for match in matches if match):
        if name not in reserved_commands and not _UNLINKED_COMMANDS.fullmatch(name):
            yield link_entry(f"{COMMANDS.removeprefix('/')}/{name}", COMMAND, owner=_OWNER)


def _package_links(entries: Iterable[LayerEntry], packages: str) -> Iterator[LayerEntry]:
    """Yield a link to each wheel's metadata for uv, in a folder that only root may list."""
    for entry in entries:
        if entry.path.endswith(".dist-info/RECORD"):
            dist_info = posixpath.dirname(entry.path)
            name = posixpath.basename(dist_info).partition("-")[0].upper()
            folder = folder_entry(f"{packages}/{name}", owner=_OWNER)
            yield replace(folder, mode=_UNLISTED_MODE)
            path = f"{packages}/{name}/{name}.egg-info/PKG-INFO"
            yield link_entry(path, f"/{dist_info}/METADATA", owner=_OWNER)


def _installed_paths(entries: Iterable[LayerEntry]) -> Iterator[str]:
    """Yield the paths of all files that the RECORDs among these entries list."""
    for entry in entries:
        if entry.path.endswith(".dist-info/RECORD") and isinstance(entry.content, bytes):
            for row in parse_record(entry.content.decode(), file=entry.owner).values():
                yield posixpath.normpath(f"{LIBRARY}/{row.path}")


def _depends_on_python(wheel: OpenWheel, python: str) -> bool:
    """Return whether an installer adds other files to this wheel for other Pythons."""
    scripts = console_scripts(wheel.text("entry_points.txt"), python=python, file=wheel.file)
    return any(script.name == f"pip{python}" for script in scripts) or depends_on_python(wheel)
