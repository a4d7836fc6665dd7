"""Apt sources: parsing the host's own, and writing them for another suite.

All addresses are those of the host; none is hard-coded. Both of apt's formats are read, and
deb822 is written.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MAIN_ONLY: Final = ("",)
ALL_POCKETS: Final = ("", "-updates", "-security", "/updates")

# Suite names that move from release to release, for hosts without an entry for the codename.
_MOVING: Final = ("stable", "oldstable", "oldoldstable", "testing", "unstable")
_OPTION_FIELDS: Final = {"arch": "Architectures", "lang": "Languages"}
_ONE_LINE: Final = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>\S.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class OsRelease:
    """The content of `os-release`: `vendor` as in `debian`, `suite` as in `bookworm`."""

    vendor: str
    suite: str
    family: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSource:
    """One entry of apt's sources; `fields` are its other deb822 fields, verbatim."""

    uris: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    fields: Mapping[str, str] = field(default_factory=dict)


def parse_release(text: str) -> OsRelease:
    """Parse the text of `os-release`."""
    pairs = (line.partition("=") for line in text.splitlines())
    values = {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
    vendor = values.get("ID", "")
    return OsRelease(
        vendor=vendor,
        suite=values.get("VERSION_CODENAME", ""),
        family=frozenset({vendor, *values.get("ID_LIKE", "").split()}),
    )


def parse_deb822(text: str) -> tuple[AptSource, ...]:
    """Return the enabled entries for binary packages in a `.sources` file."""
    entries = (_stanza(part) for part in re.split(r"\n(?:[ \t]*\n)+", text))
    return tuple(source for source in entries if source is not None)


def parse_one_line(text: str) -> tuple[AptSource, ...]:
    """Return the `deb` lines of a `.list` file."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    entries = (_line(line) for line in lines)
    return tuple(source for source in entries if source is not None)


def own_sources(sources: Iterable[AptSource], release: OsRelease) -> tuple[AptSource, ...]:
    """Return the entries of the host's own distribution, with only the suites of its release."""
    main = [source for source in sources if "main" in source.components]
    vendor_sources = [source for source in main if _is_of(source, release.vendor)]
    for names in ((release.suite,), _MOVING):
        for candidates in (vendor_sources, main):
            narrowed = tuple(_narrowed(source, names) for source in candidates)
            if any(source.suites for source in narrowed):
                return tuple(source for source in narrowed if source.suites)
    return ()


def source_list(
    own: Iterable[AptSource],
    suite: str,
    *,
    pockets: Sequence[str],
    components: Sequence[str] = ("main",),
) -> str:
    """Return deb822 text for these pockets of another suite, at the same addresses."""
    stanzas = []
    for source in own:
        suites = [suite + pocket for pocket in map(_pocket, source.suites) if pocket in pockets]
        if suites:
            names = {
                "Types": "deb",
                "URIs": source.uris,
                "Suites": " ".join(suites),
                "Components": " ".join(components),
                **source.fields,
            }
            stanzas.append("".join(f"{name}: {value}\n" for name, value in names.items()))
    return "\n".join(stanzas)


def _stanza(text: str) -> AptSource | None:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    values: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[0] in " \t":
            values[name] = f"{values.get(name, '')}\n{line}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().title()
            values[name] = value.strip()
    types = values.pop("Types", "").split()
    if "deb" not in types or values.pop("Enabled", "yes").lower() in {"no", "false", "0"}:
        return None
    return AptSource(
        uris=" ".join(values.pop("Uris", "").split()),
        suites=tuple(values.pop("Suites", "").split()),
        components=tuple(values.pop("Components", "").split()),
        fields=values,
    )


def _line(line: str) -> AptSource | None:
    match = _ONE_LINE.fullmatch(line)
    if match is None:
        return None
    uri, *parts = match["rest"].split()
    options = (option.partition("=") for option in (match["options"] or "").split())
    return AptSource(
        uris=uri,
        suites=tuple(parts[:1]),
        components=tuple(parts[1:]),
        fields={
            _OPTION_FIELDS.get(name, name.title()): value.replace(",", " ")
            for name, _, value in options
        },
    )


def _is_of(source: AptSource, vendor: str) -> bool:
    """Return whether an entry is the distribution's own, by its keyring or its last folder."""
    # Third parties have suites with the same name, such as `bookworm`.
    if f"{vendor}-archive" in source.fields.get("Signed-By", ""):
        return True
    return any(uri.rstrip("/").rpartition("/")[2].startswith(vendor) for uri in source.uris.split())


def _narrowed(source: AptSource, names: Sequence[str]) -> AptSource:
    wanted = {name + pocket for name in names for pocket in ALL_POCKETS}
    suites = tuple(suite for suite in source.suites if suite.rstrip("/") in wanted)
    return AptSource(
        uris=source.uris, suites=suites, components=source.components, fields=source.fields
    )


def _pocket(suite: str) -> str:
    match = re.search(r"-updates|-security|/updates", suite)
    return match[0] if match else ""
