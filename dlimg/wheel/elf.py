"""Shared libraries in wheels: the libraries that each one needs, by its ELF header."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from posixpath import basename, dirname
from re import compile as pattern_of
from typing import Final

from elftools.elf.dynamic import DynamicSection, DynamicSegment
from elftools.elf.elffile import ELFFile

LIBRARY: Final = pattern_of(r".*\.so(?:\.[0-9]+)*")
_MODULE: Final = pattern_of(r"(?!lib)[^/]*\.(?:cpython-[^/]*|abi3)\.so")
_MAGIC: Final = b"\x7fELF"


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelNeeds:
    """The libraries that the files of a wheel need, by path; `unread` are files too large to read.

    A file that needs nothing has an empty entry.
    """

    needed: Mapping[str, tuple[str, ...]]
    unread: tuple[str, ...] = ()

    def of_modules(self) -> frozenset[str]:
        """Return what the extension modules need, with the wheel's own libraries below them.

        A wheel without such modules loads one of its libraries, or several: what all of them need
        is needed for certain.
        """
        waiting = [path for path in self.needed if _MODULE.fullmatch(basename(path))]
        if not waiting:
            return frozenset.intersection(*map(frozenset, self.needed.values() or [()]))
        by_name = {basename(path): path for path in self.needed}
        visited = set[str]()
        names: set[str] = set()
        while waiting:
            path = waiting.pop()
            if path not in visited:
                visited.add(path)
                names.update(self.needed[path])
                waiting += [by_name[name] for name in self.needed[path] if name in by_name]
        return frozenset(names)

    def of_all(self) -> frozenset[str]:
        """Return what all files of the wheel need."""
        return frozenset(name for names in self.needed.values() for name in names)

    def own(self) -> frozenset[str]:
        """Return the names of the wheel's own files."""
        return frozenset(map(basename, (*self.needed, *self.unread)))


def needed_libraries(content: bytes) -> tuple[str, ...]:
    """Return the NEEDED entries of an ELF file; none for any other or a damaged file."""
    if not content.startswith(_MAGIC):
        return ()
    try:
        file = ELFFile(io.BytesIO(content))
        parts = [*file.iter_segments(), *file.iter_sections()]
        dynamic = next(
            (part for part in parts if isinstance(part, DynamicSegment | DynamicSection)), None
        )
        tags = dynamic.iter_tags("DT_NEEDED") if dynamic else ()
        return tuple(str(vars(tag)["needed"]) for tag in tags)
    except Exception:  # noqa: BLE001 -- the parser has no one class for a damaged file
        return ()


def is_library(path: str) -> bool:
    """Return whether a member of a wheel has the name of a shared library."""
    return bool(LIBRARY.fullmatch(basename(path))) and not dirname(path).endswith(".dist-info")
