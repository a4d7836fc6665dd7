"""New rows as YAML text in the style of the files, and differences to rows that exist."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

_WIDTH: Final = 118
_SHORT: Final = 100
_BARE: Final = re.compile(r"[a-z_][a-z0-9_-]*")


def with_row(text: str, section: str, row: Mapping[str, Any]) -> str:
    """Return the text with this row added at the end of its section, otherwise unchanged.

    Raises KeyError if the section does not exist.
    """
    lines = text.splitlines(keepends=True)
    heads = [number for number, line in enumerate(lines) if line.startswith(f"{section}:")]
    if not heads:
        raise KeyError(section)
    after = (
        number for number, line in enumerate(lines) if number > heads[0] and line[0] not in " \n"
    )
    end = next(after, len(lines))
    return "".join((*lines[:end], *row_lines(row), *lines[end:]))


def row_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a row, one for each field that fits."""
    start = "  - "
    for name, value in row.items():
        for line in _field(name, value, 4):
            yield f"{start}{line[4:]}\n"
            start = "    "


def _field(name: str, value: Any, indent: int) -> Iterator[str]:  # noqa: ANN401 - plain data
    space = " " * indent
    key = _key(name)
    if not isinstance(value, Mapping | list):
        yield f"{space}{key}: {_scalar(value)}"
        return
    line = f"{space}{key}: {_flow(value)}"
    if len(line) <= (_WIDTH if isinstance(value, list) else _SHORT) and not _is_deep(value):
        yield line
        return
    yield f"{space}{key}:"
    if isinstance(value, Mapping):
        for name_of_item, item in value.items():
            yield from _field(name_of_item, item, indent + 2)
        return
    for item in value:
        yield f"{space}  - {_scalar(item)}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _is_deep(value: Mapping[str, Any] | Sequence[str]) -> bool:
    items = value.values() if isinstance(value, Mapping) else ()
    return any(isinstance(item, Mapping | list) for item in items)


def _flow(value: Any) -> str:  # noqa: ANN401 - plain data
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: str | bool) -> str:  # noqa: FBT001 - a field's value
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if re.fullmatch(r"(?:sm|compute)_[0-9]+", value) else _quoted(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A field with one value in the file and another at the index."""

    where: str
    name: str
    written: str
    seen: str

    def __str__(self) -> str:
        return f"{self.where}: {self.name} is {self.written} here, and {self.seen} at the index"


def releases_without_row(rows: Mapping[str, Any], offered: Mapping[str, Any]) -> tuple[str, ...]:
    """Return final releases without a row that are newer than the oldest with one."""
    oldest = min(map(Version, rows), default=Version("0"))
    return tuple(
        release
        for release in offered
        if release not in rows and not Version(release).is_prerelease and Version(release) > oldest
    )


def differences(
    row: Mapping[str, Any], seen: Mapping[str, Any], where: str
) -> Iterator[FieldDifference]:
    """Yield fields with another value on the index; a field that the row lacks is not compared."""
    for name, now in seen.items():
        written = row.get(name)
        if isinstance(written, Mapping) and isinstance(now, Mapping):
            for key in sorted(written.keys() & now.keys()):
                label = f"{name} {key}"
                yield from differences({label: written[key]}, {label: now[key]}, where)
        elif written is not None and not _same(written, now):
            yield FieldDifference(where=where, name=name, written=_text(written), seen=_text(now))


def _same(written: Any, now: Any) -> bool:  # noqa: ANN401 - plain data
    if written == now:
        return True
    if not isinstance(written, str) or not isinstance(now, str):
        return False
    try:
        return SpecifierSet(written) == SpecifierSet(now)
    except InvalidSpecifier:
        return False


def _text(value: Any) -> str:  # noqa: ANN401 - plain data
    return ", ".join(value) if isinstance(value, list) else str(value)
