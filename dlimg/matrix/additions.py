"""Additions of a family: system packages, ports, files and exceptions, each for some cells.

Packages to be built from source are for all of its cells.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from dlimg.additions import Additions, CheckException, PathException, ProjectFile
from dlimg.document import patterns
from dlimg.document.patterns import Pattern
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlMapping
from dlimg.errors import Problem, nearest
from dlimg.matrix.model import (
    NO_STATED_ADDITIONS,
    SELECTABLE,
    AxisValues,
    CellSelector,
    StatedAdditions,
    StatedCheckException,
    StatedFile,
    StatedPathException,
)
from dlimg.matrix.selectors import read_selector
from dlimg.model import Flavour

ADDITION_KEYS: Final = ("apt", "ports", "files", "build", "check_exceptions", "path_exceptions")
FLAVOURS: Final = tuple(flavour.value for flavour in Flavour)
CUDA: Final = "cuda"
# The checks that a matrix may except something from.
EXCEPTED_CHECKS: Final = ("libraries_load", "every_file_has_a_source")
_AXES: Final = (*SELECTABLE, "why")
_HIGHEST_PORT: Final = 65535
# Folders for files of a project, and those below them that the layout or the environment fill.
_TARGETS: Final = ("/etc/", "/opt/", "/srv/", "/usr/local/", "/usr/share/")
_TAKEN: Final = (
    *("/opt/env/", "/opt/python/", "/etc/dlimg/", "/etc/uv/", "/etc/apt/", "/etc/dpkg/"),
    *("/usr/local/lib/dlimg/", "/usr/local/bin/dlimg-", "/usr/local/bin/python"),
)


def read_additions(
    form: Validator, table: Mapping[str, Node], axes: Mapping[str, tuple[str, ...]], owner: str
) -> StatedAdditions:
    """Return the additions in the entries of a family."""
    if not any(key in table for key in ADDITION_KEYS):
        return NO_STATED_ADDITIONS
    lines: dict[str, int] = {}
    for key in ("apt", "ports"):
        node = table.get(key)
        lines |= {
            f"{key} {name}": line
            for name, line in (node.lines.items() if isinstance(node, YamlMapping) else ())
        }
    return StatedAdditions(
        apt=_by_key(form, table.get("apt"), f"apt of {owner}", axes, patterns.APT_PACKAGE),
        ports={
            key: tuple(_port(form, port, lines[f"ports {key}"]) for port in ports)
            for key, ports in _by_key(
                form, table.get("ports"), f"ports of {owner}", axes, patterns.PORT
            ).items()
        },
        files=tuple(_read_files(form, table.get("files"), axes, owner)),
        build=_read_build(form, table.get("build"), owner),
        check_exceptions=tuple(
            StatedCheckException(
                exception=CheckException(
                    check=form.choice(entry.get("check"), "check", EXCEPTED_CHECKS),
                    about=form.text(entry.get("about"), "about"),
                    why=form.prose(entry.get("why"), "why"),
                ),
                match=match,
            )
            for entry, match in _entries(
                form, table.get("check_exceptions"), axes, owner, ("check", "about")
            )
        ),
        path_exceptions=tuple(
            StatedPathException(
                exception=PathException(
                    path=form.text(entry.get("path"), "path"),
                    why=form.prose(entry.get("why"), "why"),
                ),
                match=match,
            )
            for entry, match in _entries(form, table.get("path_exceptions"), axes, owner, ("path",))
        ),
        lines=lines,
    )


def _by_key(
    form: Validator,
    node: Node | None,
    subject: str,
    axes: Mapping[str, tuple[str, ...]],
    pattern: Pattern,
) -> dict[str, tuple[str, ...]]:
    """Return texts by `any`, a kind of accelerator, a flavour or an operating system."""
    systems = axes.get("os", ())
    keys = ("any", "cpu", CUDA, *FLAVOURS, *systems)
    values = {}
    for key, entry in form.table(node, subject, example="{any: [...]}").items():
        line = node.lines[key] if isinstance(node, YamlMapping) else entry.line
        if key not in keys and not re.fullmatch(patterns.KIND.pattern, key):
            message = f"{subject}: {key!r} is no kind of accelerator, flavour or operating system"
            form.refuse(line, message, nearest(key, keys))
        values[key] = form.texts(entry, f"{key} of {subject}")
        for text in values[key]:
            form.fits(entry.line, f"{key} of {subject}:", text, pattern)
    return values


def _read_build(form: Validator, node: Node | None, owner: str) -> tuple[str, ...]:
    if node is None:
        return ()
    subject = f"build of {owner}"
    texts = form.texts(node, subject)
    fitting = [form.fits(node.line, f"{subject}:", text, patterns.REQUIREMENT) for text in texts]
    return texts if all(fitting) else ()


def _port(form: Validator, text: str, line: int) -> str:
    """Return `8080/tcp` for `8080`."""
    number, _, protocol = text.partition("/")
    if number.isdecimal() and not 0 < int(number) <= _HIGHEST_PORT:
        form.refuse(line, f"{text} is no port", f"ports are 1 to {_HIGHEST_PORT}")
    return f"{number}/{protocol or 'tcp'}"


def _entries(
    form: Validator,
    node: Node | None,
    axes: Mapping[str, tuple[str, ...]],
    owner: str,
    keys: Sequence[str],
) -> Iterator[tuple[Mapping[str, Node], CellSelector]]:
    """Yield the entries of a list of exceptions, each with its selector; all need a reason."""
    subject = f"an exception of {owner}"
    for item in form.items(node, f"the exceptions of {owner}"):
        table = form.table(item, subject, known=(*keys, *_AXES), needed=keys)
        if isinstance(item, YamlMapping) and "why" not in table:
            hint = "add `why:` with the reason, for those who come after"
            form.refuse(item.line, f"{subject} does not say why", hint)
        yield table, read_selector(form, item, axes, subject, (*keys, *_AXES))


def _read_files(
    form: Validator, node: Node | None, axes: Mapping[str, tuple[str, ...]], owner: str
) -> Iterator[StatedFile]:
    subject = f"a file of {owner}"
    keys = ("source", "path")
    for item in form.items(node, f"the files of {owner}"):
        table = form.table(item, subject, known=(*keys, "mode", *SELECTABLE), needed=keys)
        file = ProjectFile(
            source=form.text(table.get("source"), "source"),
            path=form.matching(table.get("path"), "path", patterns.IMAGE_PATH),
            mode=form.matching(table.get("mode"), "mode", patterns.FILE_MODE, "644").lstrip("0"),
        )
        _check_places(form, table, file)
        match = read_selector(form, item, axes, subject, (*keys, "mode", *SELECTABLE))
        yield StatedFile(file=file, match=match)


def _check_places(form: Validator, table: Mapping[str, Node], file: ProjectFile) -> None:
    source = posixpath.normpath(file.source)
    if file.source and (source.startswith(("/", "../")) or source in {".", ".."}):
        hint = "name it from the folder of the matrix"
        form.refuse(table["source"].line, f"{file.source} is not in the project's folder", hint)
    if not file.path:
        return
    is_free = file.path.startswith(_TARGETS) and not file.path.startswith(_TAKEN)
    if not is_free or posixpath.normpath(file.path) != file.path:
        hint = (
            f"use a path below {', '.join(_TARGETS)} that the image's own files leave free; "
            "users' folders are mounted or filled when a container starts"
        )
        form.refuse(table["path"].line, f"no file of a project can be at {file.path}", hint)


def additions_of(stated: StatedAdditions, axis_values: AxisValues, kind: str) -> Additions:
    """Return the additions for the image of one combination; `kind` is its accelerator's."""
    keys = _keys(axis_values, kind)
    return Additions(
        apt=_chosen(stated.apt, keys),
        ports=_chosen(stated.ports, keys),
        files=tuple(entry.file for entry in stated.files if entry.match.fits(axis_values)),
        build=stated.build,
        check_exceptions=tuple(
            entry.exception for entry in stated.check_exceptions if entry.match.fits(axis_values)
        ),
        path_exceptions=tuple(
            entry.exception for entry in stated.path_exceptions if entry.match.fits(axis_values)
        ),
    )


def _keys(axis_values: AxisValues, kind: str) -> tuple[str, ...]:
    cuda = (CUDA,) if kind.startswith(CUDA) else ()
    return ("any", *cuda, kind, axis_values["flavour"], axis_values["os"])


def _chosen(values: Mapping[str, tuple[str, ...]], keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({text for key in keys for text in values.get(key, ())}))


def with_contents(stated: StatedAdditions, contents: Mapping[str, bytes]) -> StatedAdditions:
    """Return the additions with the contents of files by source."""
    files = tuple(
        replace(entry, file=replace(entry.file, content=contents.get(entry.file.source, b"")))
        for entry in stated.files
    )
    return replace(stated, files=files)


def unused_additions(
    stated: StatedAdditions, cells: Sequence[tuple[AxisValues, str]], family: str, source: str
) -> Iterator[Problem]:
    """Yield additions that no cell gets, and paths that two files would have in one image.

    `cells` are combinations with their kind of accelerator.
    """
    used = {key for axis_values, kind in cells for key in _keys(axis_values, kind)}
    hint = "remove it, or let it fit a cell that there is"
    for key, line in stated.lines.items():
        if key.partition(" ")[2] not in used:
            message = f"family {family}: no cell gets `{key.replace(' ', ': ')}`"
            yield Problem(message=message, where=f"{source}:{line}", hint=hint)
    entries: tuple[StatedFile | StatedCheckException | StatedPathException, ...] = (
        *stated.files,
        *stated.check_exceptions,
        *stated.path_exceptions,
    )
    for entry in entries:
        if not any(entry.match.fits(axis_values) for axis_values, _ in cells):
            message = f"family {family}: no cell gets this"
            yield Problem(message=message, where=f"{source}:{entry.match.line}", hint=hint)
    yield from _shared_targets(stated, cells, family, source)


def _shared_targets(
    stated: StatedAdditions, cells: Sequence[tuple[AxisValues, str]], family: str, source: str
) -> Iterator[Problem]:
    repeated: dict[int, str] = {}
    for axis_values, _ in cells:
        names: set[str] = set()
        for entry in stated.files:
            if entry.match.fits(axis_values):
                if entry.file.path in names:
                    repeated[entry.match.line] = entry.file.path
                names.add(entry.file.path)
    for line, path in repeated.items():
        message = f"family {family}: two files would be {path} in one image"
        yield Problem(message=message, where=f"{source}:{line}", hint="take one of them out")
