"""Rows -> YAML text as people write it, put into the text that is there."""

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
    """The text with this row as the last of its section; everything else stays as it is.

    Raises KeyError where there is no such section.
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
    """A row of a section, a line for each field."""
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
    one = f"{space}{key}: {_flow(value)}"
    if len(one) <= (_WIDTH if isinstance(value, list) else _SHORT) and not _is_deep(value):
        yield one
        return
    yield f"{space}{key}:"
    if isinstance(value, Mapping):
        for inner, found in value.items():
            yield from _field(inner, found, indent + 2)
        return
    for found in value:
        yield f"{space}  - {_scalar(found)}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _is_deep(value: Mapping[str, Any] | Sequence[str]) -> bool:
    found = value.values() if isinstance(value, Mapping) else ()
    return any(isinstance(one, Mapping | list) for one in found)


def _flow(value: Any) -> str:  # noqa: ANN401 - plain data
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)}: {_flow(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    return _scalar(value)


def _scalar(value: str | bool) -> str:  # noqa: FBT001 - what a field may hold
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if re.fullmatch(r"(?:sm|compute)_[0-9]+", value) else _quoted(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A field that says one thing in the file and another at the index."""

    where: str
    name: str
    written: str
    seen: str

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.name} is written as {self.written}, and now seen as {self.seen}"
        )


def fresh(known: Mapping[str, Any], offered: Mapping[str, Any]) -> tuple[str, ...]:
    """Final releases that have no row, and are newer than the oldest that has one."""
    oldest = min((Version(one) for one in known), default=Version("0"))
    return tuple(
        one
        for one in offered
        if one not in known and not Version(one).is_prerelease and Version(one) > oldest
    )


def differences(
    row: Mapping[str, Any], seen: Mapping[str, Any], where: str
) -> Iterator[FieldDifference]:
    """Fields of a row that the index says otherwise; what either does not speak of is none."""
    for name, now in seen.items():
        written = row.get(name)
        if isinstance(written, Mapping) and isinstance(now, Mapping):
            for one in sorted(written.keys() & now.keys()):
                yield from differences(
                    {f"{name} {one}": written[one]}, {f"{name} {one}": now[one]}, where
                )
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
