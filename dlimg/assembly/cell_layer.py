"""The layer of what belongs to a cell and to no wheel: its own files and links.

What an installer adds to a wheel is kept as a small part of its own, so that another cell with
the same wheel needs the wheel no more.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import IO, Final

from dlimg.assembly.wheel_to_layer import LayerContext, open_locked_wheel, read_entries
from dlimg.layer.compress import WrittenLayer, splice_wheel_streams
from dlimg.layer.entries import FILE_MODE, LayerEntry, arrange_entries, folder_entry, link_entry
from dlimg.layer.tar import tar_parts
from dlimg.layer.wheel_entries import (
    ENVIRONMENT,
    LIBRARY,
    console_scripts,
    depends_on_python,
    installer_entries,
)
from dlimg.model import GZIP, Cell, Image, Lock, Wheel
from dlimg.render.dockerfile import interpreter
from dlimg.render.image_config import cuda_home
from dlimg.render.layout import (
    COMMAND,
    COMMANDS,
    LAYOUT_FILES,
    cell_files,
    layout_links,
    packages_folder,
)
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import find_layer, make_layer
from dlimg.wheel.metadata import OpenWheel, parse_record

_OURS: Final = "dlimg"
_COMMAND: Final = re.compile(rf"{ENVIRONMENT}/bin/([^,/\" ]+)")
_UNLINKED_COMMANDS: Final = re.compile("(python|activate|dlimg-).*")
_UNLISTED_MODE: Final = 0o711


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLayerFiles:
    """A cell's own files: those that `wheels` get on top of their content, and others besides.

    `requested` are names of packages; `files` are contents by path, such as `etc/dlimg/x.txt`,
    and `links` what links say, by path. `cuda_home` is where libraries get names for linkers,
    `packages` the folder in which uv is told of the wheels, and `taken` are names of commands that
    are others' in the folder where every search path leads.
    """

    wheels: tuple[Wheel, ...]
    python: str
    requested: frozenset[str]
    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)
    cuda_home: str = ""
    packages: str = ""
    taken: frozenset[str] = frozenset()

    def key(self, compression: str = GZIP) -> LayerKey:
        names = sorted({wheel.name for wheel in self.wheels} & self.requested)
        files = [f"{path} {sha256(text).hexdigest()}" for path, text in sorted(self.files.items())]
        links = [f"{path} {target}" for path, target in sorted(self.links.items())]
        hashes = sorted(wheel.sha256 for wheel in self.wheels)
        told = (
            ("requested", names),
            ("files", files),
            ("links", links),
            ("cuda", [self.cuda_home]),
            ("packages", [self.packages]),
            ("taken", sorted(self.taken)),
        )
        source = hash_texts([*hashes, *(text for name, texts in told for text in (name, *texts))])
        return LayerKey(kind="own", source=source, python=self.python, compression=compression)


def own_of(image: Image) -> CellLayerFiles:
    """The own files of an image, as the last stage of its Dockerfile leaves them."""
    return cell_layer_files(image.cell, image.lock)


def cell_layer_files(cell: Cell, lock: Lock) -> CellLayerFiles:
    """The same for a cell whose Dockerfile was not drawn."""
    return CellLayerFiles(
        wheels=lock.wheels,
        python=cell.python,
        requested=frozenset(wheel.name for wheel in lock.wheels),
        files={file.path.removeprefix("/"): file.text.encode() for file in cell_files(cell, lock)},
        links={
            f"{ENVIRONMENT}/bin/python{cell.python}": interpreter(cell),
            f"{ENVIRONMENT}/bin/python3": "/usr/local/bin/python3",
            f"{ENVIRONMENT}/bin/python": "python3",
        },
        cuda_home=cuda_home(cell).removeprefix("/"),
        packages=packages_folder(lock).removeprefix("/"),
        taken=_system_commands(cell),
    )


def _system_commands(cell: Cell) -> frozenset[str]:
    """What the system stage has where commands get their links."""
    links = [link.path for link in layout_links(cell.python, interpreter(cell))]
    paths = [*links, *(file.path for file in LAYOUT_FILES)]
    return frozenset(
        posixpath.basename(path) for path in paths if posixpath.dirname(path) == COMMANDS
    )


def cell_layer(workshop: LayerContext, own: CellLayerFiles) -> Layer:
    """The layer of what belongs to no wheel: RECORD, INSTALLER, commands, files and links."""

    def write(file: IO[bytes]) -> WrittenLayer:
        return workshop.press(tar_parts(arrange_entries(_entries(workshop, own))), file.write)

    key = own.key(workshop.compression)
    return find_layer(workshop.store, key) or make_layer(workshop.store, key, write, workshop.say)


def installer_layer(workshop: LayerContext, wheel: Wheel, *, python: str, requested: bool) -> Layer:
    """What an installer adds to this wheel, kept; once it is, the wheel itself is not needed.

    Raises BadInput when the wheel is unfit or not the one named.
    """
    for_any, for_this = installer_keys(wheel, python=python, requested=requested)
    found = find_layer(workshop.store, for_any) or find_layer(workshop.store, for_this)
    if found:
        return found
    whole = open_locked_wheel(workshop, wheel)

    def write(file: IO[bytes]) -> WrittenLayer:
        added = installer_entries(whole, python=python, requested=requested)
        return splice_wheel_streams(tar_parts(arrange_entries(added)), file.write)

    key = for_this if _depends_on_python(whole, python) else for_any
    return make_layer(workshop.store, key, write, workshop.say)


def installer_keys(wheel: Wheel, *, python: str, requested: bool) -> tuple[LayerKey, LayerKey]:
    """The keys under which the wheel's part may be: the one for any Python, and for this."""
    source = hash_texts([wheel.sha256, "requested" if requested else ""])
    for_any = LayerKey(kind="part", source=source)
    return for_any, replace(for_any, python=python)


def _entries(workshop: LayerContext, own: CellLayerFiles) -> list[LayerEntry]:
    found = [
        LayerEntry(path=path, mode=FILE_MODE, content=content, owner=_OURS)
        for path, content in own.files.items()
    ]
    found += [link_entry(path, target, owner=_OURS) for path, target in own.links.items()]
    for wheel in own.wheels:
        found += _installer_entries(workshop, wheel, own)
    if own.cuda_home:
        found += _linker_names(found, own.cuda_home)
    if own.packages:
        found += [*_command_links(found, own.taken), *_package_links(found, own.packages)]
    return found


def _installer_entries(
    workshop: LayerContext, wheel: Wheel, own: CellLayerFiles
) -> Iterator[LayerEntry]:
    """The files of a wheel's part; its folders follow from them."""
    requested = wheel.name in own.requested
    part = installer_layer(workshop, wheel, python=own.python, requested=requested)
    for one in read_entries(workshop.store, part, owner=wheel.file):
        if one.content is not None:
            yield one


def _linker_names(own: Iterable[LayerEntry], home: str) -> Iterator[LayerEntry]:
    """Links that linkers look for: `lib64`, and each library without a version in its name."""
    installed = set(_installed_paths(own))
    start = f"{home}/lib/"
    yield link_entry(f"{home}/lib64", "lib", owner=_OURS)
    named = set[str]()
    for path in sorted(installed):
        name = path.removeprefix(start)
        short = path.partition(".so.")[0] + ".so"
        is_library = path.startswith(f"{start}lib") and "/" not in name and ".so." in name
        if is_library and short not in installed | named:
            named.add(short)
            yield link_entry(short, name, owner=_OURS)


def _command_links(own: Iterable[LayerEntry], taken: Iterable[str]) -> Iterator[LayerEntry]:
    """A link for each command of the wheels, where every search path leads."""
    matches = map(_COMMAND.fullmatch, sorted(set(_installed_paths(own))))
    for name in (match[1] for match in matches if match):
        if name not in taken and not _UNLINKED_COMMANDS.fullmatch(name):
            yield link_entry(f"{COMMANDS.removeprefix('/')}/{name}", COMMAND, owner=_OURS)


def _package_links(own: Iterable[LayerEntry], packages: str) -> Iterator[LayerEntry]:
    """What tells uv of each wheel: a link to its metadata, in a folder that only root may list."""
    for entry in own:
        if entry.path.endswith(".dist-info/RECORD"):
            information = posixpath.dirname(entry.path)
            name = posixpath.basename(information).partition("-")[0].upper()
            yield replace(folder_entry(f"{packages}/{name}", owner=_OURS), mode=_UNLISTED_MODE)
            note = f"{packages}/{name}/{name}.egg-info/PKG-INFO"
            yield link_entry(note, f"/{information}/METADATA", owner=_OURS)


def _installed_paths(own: Iterable[LayerEntry]) -> Iterator[str]:
    """The paths of all files that the RECORDs among these files list."""
    for entry in own:
        if entry.path.endswith(".dist-info/RECORD") and isinstance(entry.content, bytes):
            for one in parse_record(entry.content.decode(), file=entry.owner).values():
                yield posixpath.normpath(f"{LIBRARY}/{one.path}")


def _depends_on_python(wheel: OpenWheel, python: str) -> bool:
    """Whether what is added to this wheel is not the same for all Pythons."""
    found = console_scripts(wheel.text("entry_points.txt"), python=python, file=wheel.file)
    return any(one.name == f"pip{python}" for one in found) or depends_on_python(wheel)
