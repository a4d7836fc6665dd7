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

from dlimg.assembly.python_sources import part_entries
from dlimg.assembly.wheel_layer import LayerContext, opened
from dlimg.layer.entries import PLAIN, LayerEntry, arranged, folder, link
from dlimg.layer.gzip import WrittenLayer, splice
from dlimg.layer.installer_files import own_entries
from dlimg.layer.tar import pieces
from dlimg.layer.wheel_entries import ENVIRONMENT, LIBRARY, commands, depends_on_python
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
from dlimg.store.keys import Layer, LayerKey, source_of
from dlimg.store.store import find, make
from dlimg.wheel.metadata import OpenWheel
from dlimg.wheel.record import parse_record

_OURS: Final = "dlimg"
_COMMAND: Final = re.compile(rf"{ENVIRONMENT}/bin/([^,/\" ]+)")
_NOT_LINKED: Final = re.compile("(python|activate|dlimg-).*")
_UNLISTED: Final = 0o711


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
        source = source_of([*hashes, *(text for name, texts in told for text in (name, *texts))])
        return LayerKey(kind="own", source=source, python=self.python, compression=compression)


def own_of(image: Image) -> CellLayerFiles:
    """The own files of an image, as the last stage of its Dockerfile leaves them."""
    return own_in(image.cell, image.lock)


def own_in(cell: Cell, lock: Lock) -> CellLayerFiles:
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
        taken=_taken(cell),
    )


def _taken(cell: Cell) -> frozenset[str]:
    """What the system stage has where commands get their links."""
    links = [link.path for link in layout_links(cell.python, interpreter(cell))]
    paths = [*links, *(file.path for file in LAYOUT_FILES)]
    return frozenset(
        posixpath.basename(path) for path in paths if posixpath.dirname(path) == COMMANDS
    )


def own_layer(workshop: LayerContext, own: CellLayerFiles) -> Layer:
    """The layer of what belongs to no wheel: RECORD, INSTALLER, commands, files and links."""

    def write(file: IO[bytes]) -> WrittenLayer:
        return workshop.press(pieces(arranged(_entries(workshop, own))), file.write)

    key = own.key(workshop.compression)
    return find(workshop.store, key) or make(workshop.store, key, write, workshop.say)


def own_part(workshop: LayerContext, wheel: Wheel, *, python: str, requested: bool) -> Layer:
    """What an installer adds to this wheel, kept; once it is, the wheel itself is not needed.

    Raises BadInput when the wheel is unfit or not the one named.
    """
    for_any, for_this = part_keys(wheel, python=python, requested=requested)
    found = find(workshop.store, for_any) or find(workshop.store, for_this)
    if found:
        return found
    whole = opened(workshop, wheel)

    def write(file: IO[bytes]) -> WrittenLayer:
        added = own_entries(whole, python=python, requested=requested)
        return splice(pieces(arranged(added)), file.write)

    key = for_this if _shows_python(whole, python) else for_any
    return make(workshop.store, key, write, workshop.say)


def part_keys(wheel: Wheel, *, python: str, requested: bool) -> tuple[LayerKey, LayerKey]:
    """The keys under which the wheel's part may be: the one for any Python, and for this."""
    source = source_of([wheel.sha256, "requested" if requested else ""])
    for_any = LayerKey(kind="part", source=source)
    return for_any, replace(for_any, python=python)


def _entries(workshop: LayerContext, own: CellLayerFiles) -> list[LayerEntry]:
    found = [
        LayerEntry(path=path, mode=PLAIN, content=content, owner=_OURS)
        for path, content in own.files.items()
    ]
    found += [link(path, target, owner=_OURS) for path, target in own.links.items()]
    for wheel in own.wheels:
        found += _read(workshop, wheel, own)
    if own.cuda_home:
        found += _linker_names(found, own.cuda_home)
    if own.packages:
        found += [*_command_links(found, own.taken), *_package_notes(found, own.packages)]
    return found


def _read(workshop: LayerContext, wheel: Wheel, own: CellLayerFiles) -> Iterator[LayerEntry]:
    """The files of a wheel's part; its folders follow from them."""
    requested = wheel.name in own.requested
    part = own_part(workshop, wheel, python=own.python, requested=requested)
    for one in part_entries(workshop.store, part, owner=wheel.file):
        if one.content is not None:
            yield one


def _linker_names(own: Iterable[LayerEntry], home: str) -> Iterator[LayerEntry]:
    """Links that linkers look for: `lib64`, and each library without a version in its name."""
    installed = set(_installed(own))
    start = f"{home}/lib/"
    yield link(f"{home}/lib64", "lib", owner=_OURS)
    named = set[str]()
    for path in sorted(installed):
        name = path.removeprefix(start)
        short = path.partition(".so.")[0] + ".so"
        is_library = path.startswith(f"{start}lib") and "/" not in name and ".so." in name
        if is_library and short not in installed | named:
            named.add(short)
            yield link(short, name, owner=_OURS)


def _command_links(own: Iterable[LayerEntry], taken: Iterable[str]) -> Iterator[LayerEntry]:
    """A link for each command of the wheels, where every search path leads."""
    matches = map(_COMMAND.fullmatch, sorted(set(_installed(own))))
    for name in (match[1] for match in matches if match):
        if name not in taken and not _NOT_LINKED.fullmatch(name):
            yield link(f"{COMMANDS.removeprefix('/')}/{name}", COMMAND, owner=_OURS)


def _package_notes(own: Iterable[LayerEntry], packages: str) -> Iterator[LayerEntry]:
    """What tells uv of each wheel: a link to its metadata, in a folder that only root may list."""
    for entry in own:
        if entry.path.endswith(".dist-info/RECORD"):
            information = posixpath.dirname(entry.path)
            name = posixpath.basename(information).partition("-")[0].upper()
            yield replace(folder(f"{packages}/{name}", owner=_OURS), mode=_UNLISTED)
            note = f"{packages}/{name}/{name}.egg-info/PKG-INFO"
            yield link(note, f"/{information}/METADATA", owner=_OURS)


def _installed(own: Iterable[LayerEntry]) -> Iterator[str]:
    """The paths of all files that the RECORDs among these files list."""
    for entry in own:
        if entry.path.endswith(".dist-info/RECORD") and isinstance(entry.content, bytes):
            for one in parse_record(entry.content.decode(), file=entry.owner).values():
                yield posixpath.normpath(f"{LIBRARY}/{one.path}")


def _shows_python(wheel: OpenWheel, python: str) -> bool:
    """Whether what is added to this wheel is not the same for all Pythons."""
    found = commands(wheel.text("entry_points.txt"), python=python, file=wheel.file)
    return any(one.name == f"pip{python}" for one in found) or depends_on_python(wheel)
