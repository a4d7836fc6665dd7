"""Findings about libraries of the system that locked wheels need and images lack."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dlimg.facts.system_libraries import DistributionLibraries
from dlimg.lint.model import (
    Finding,
    LintContext,
    LintRule,
    Severity,
    lock_file,
    lock_line,
    shorten_list,
)
from dlimg.model import Cell, Lock, Wheel
from dlimg.wheel.elf import WheelNeeds

# Of the C library, and of the driver, which comes with the machine.
_ALWAYS: Final = re.compile(
    r"ld-linux.*|lib(?:c|m|pthread|dl|rt|util|resolv|nsl|anl|mvec)\.so\.\d+"
    r"|lib(?:cuda|nvidia-[a-z0-9]+|nvcuvid|nvoptix)\.so(?:\.\d+)?|libpython3.*"
)
# Packages of a framework and of NVIDIA: the images of these are tested with them.
_NVIDIA: Final = ("nvidia-", "cuda-")


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingLibraries:
    """System libraries that a wheel needs and a cell's image lacks.

    `later` are libraries that no extension module needs to be imported.
    """

    wheel: Wheel
    needed: tuple[str, ...]
    later: tuple[str, ...]


def wheels_to_read(cell: Cell, lock: Lock) -> tuple[Wheel, ...]:
    """Return the wheels of a lock besides the framework's, its pairs and NVIDIA's."""
    own = {cell.package, *cell.paired_packages}
    fixed = (*_NVIDIA, *cell.framework.fixed_packages)
    return tuple(
        wheel for wheel in lock.wheels if wheel.name not in own and not wheel.name.startswith(fixed)
    )


def missing_libraries(
    cell: Cell,
    lock: Lock,
    needs: Mapping[str, WheelNeeds],
    libraries: DistributionLibraries,
    brought: Iterable[str],
) -> Iterator[MissingLibraries]:
    """Yield the wheels that need more than an image has.

    `needs` are by a wheel's sha256; `brought` are the names of files in all wheels of the lock.
    """
    have = libraries.installed(cell.additions.apt) | set(brought)
    for needed in needs.values():
        have |= needed.own()
    for wheel in wheels_to_read(cell, lock):
        if wheel.sha256 in needs:
            own = needs[wheel.sha256]
            lacking = {
                name
                for name in own.of_all()
                if not libraries.is_in(name, have) and not _ALWAYS.fullmatch(name)
            }
            first = lacking & own.of_modules()
            if lacking:
                yield MissingLibraries(
                    wheel=wheel, needed=tuple(sorted(first)), later=tuple(sorted(lacking - first))
                )


def apt_sentence(missing: MissingLibraries, libraries: DistributionLibraries, *, key: str) -> str:
    """Return what to add to a family for these libraries, and what no known package has.

    `key` is that of the entry under `apt`: `any`, or an operating system.
    """
    parts = []
    for names, start in ((missing.needed, ""), (missing.later, "parts of it also need ")):
        recognized = [name for name in names if libraries.package_of(name)]
        unknown = [name for name in names if name not in recognized]
        texts = []
        if recognized:
            packages = ", ".join(libraries.smallest(recognized))
            apt = f"`apt: {{{key}: [{packages}]}}` under its family"
            texts.append(f"{shorten_list(recognized, most=6)}: {apt}")
        if unknown:
            texts.append(f"{shorten_list(unknown)}, which no known package has")
        if texts:
            parts.append(start + ", and ".join(texts))
    return "; ".join(parts)


def apt_key(cell: Cell, cells: Iterable[Cell]) -> str:
    """Return `any` for a family on one operating system, or else the system of this cell."""
    systems = {other.os.name for other in cells if other.family == cell.family}
    return "any" if systems <= {cell.os.name} else cell.os.name


def _system_libraries(context: LintContext) -> Iterator[Finding]:
    """Yield a finding for each wheel and distribution, at the first lock that has both."""
    if context.libraries is None:
        return
    seen: set[tuple[str, str, tuple[str, ...]]] = set()
    for cell in context.resolution.cells:
        lock = context.locks.get(cell.id)
        libraries = context.libraries.distributions.get(cell.os.distribution)
        if lock is None or libraries is None:
            continue
        for missing in missing_libraries(
            cell, lock, context.needs, libraries, context.brought(lock)
        ):
            key = (missing.wheel.sha256, cell.os.name, (*missing.needed, *missing.later))
            if key not in seen:
                seen.add(key)
                sentence = apt_sentence(
                    missing, libraries, key=apt_key(cell, context.resolution.cells)
                )
                yield _finding(context, cell, missing, sentence, context.libraries.source)


def _finding(
    context: LintContext, cell: Cell, missing: MissingLibraries, sentence: str, source: str
) -> Finding:
    wheel = missing.wheel
    return Finding(
        id=LIBRARIES.id,
        severity=Severity.WARNING if missing.needed else Severity.NOTE,
        file=lock_file(context, cell.id),
        line=lock_line(context.locks[cell.id], wheel.name),
        about=wheel.name,
        message=f"{wheel.name} {wheel.version} needs libraries of the system that images on "
        f"{cell.os.distribution} lack: {sentence}",
        source=f"the wheel's libraries; {source}",
    )


LIBRARIES: Final = LintRule(
    id="system-library",
    title="A wheel that needs libraries of the system",
    severity="a warning; a note where importing the package does not need them",
    why="Wheels may leave out libraries that most desktops have, such as OpenGL's. An image has "
    "none that nobody asked for: the package installs, and its import fails. What a wheel needs is "
    "read from its libraries, when it is locked and with `--online`; without a network only "
    "wheels that were read before are judged.",
    example='packages: {cpu: ["jax=={version}", opencv-python]}',
    remedy="Add the packages under `apt` of the family, or take a variant of the package that "
    "needs none (opencv-python-headless).",
    find=_system_libraries,
    reads_wheels=True,
)
