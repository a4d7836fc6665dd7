"""Rows that people wrote against rows as they would be written today: what is new, what differs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
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
) -> Iterator[Difference]:
    """Fields of a row that the index says otherwise; what either does not speak of is none."""
    for name, now in seen.items():
        written = row.get(name)
        if isinstance(written, Mapping) and isinstance(now, Mapping):
            for one in sorted(written.keys() & now.keys()):
                yield from differences(
                    {f"{name} {one}": written[one]}, {f"{name} {one}": now[one]}, where
                )
        elif written is not None and not _same(written, now):
            yield Difference(where=where, name=name, written=_text(written), seen=_text(now))


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
