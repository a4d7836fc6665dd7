"""Rows of facts as tables, with their sources, and as data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]
Rows = Mapping[str, Any]

# What a list of rows shows of each; a single row shows everything.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "packages": ("package", "builds", "last_version", "instead"),
    "releases": ("version", "released", "pythons", "cuda", "variants"),
    "variants": ("variant", "versions", "architectures"),
    "floors": ("capability_from", "min_version", "min_cuda"),
    "unavailable": ("package", "version", "pythons"),
    "bounds": ("package", "versions", "bound", "why"),
    "tested": ("minor", "cuda", "cudnn", "python", "plain_is_cuda"),
    "cuda": ("cuda", "released", "min_driver", "drivers", "sm", "image_state"),
    "majors": ("cuda_major", "min_driver"),
    "cudnn": ("cudnn", "and_newer", "sm_min", "cuda"),
    "drivers": ("branch", "kind", "eol", "cuda_major"),
    "forward": ("kind", "forward"),
    "gpus": ("gpu", "capability", "architecture", "kind", "first_cuda", "last_cuda", "last_driver"),
    "accelerators": ("accelerator", "maker", "kind", "names", "instead"),
    "pythons": ("python", "released", "eol", "managed"),
    "distributions": ("distribution", "python", "glibc", "eol", "extended_eol"),
    "environments": ("environment", "platform", "packages", "cuda", "cudnn"),
    "statements": ("name", "says"),
}
HEADINGS: Final[Mapping[str, str]] = {
    "capability": "cc",
    "capability_from": "cc from",
    "first_cuda": "CUDA from",
    "last_cuda": "to",
    "last_driver": "driver to",
    "drivers": "own driver",
    "extended_eol": "extended",
    "image_state": "images",
    "cuda_major": "CUDA",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "plain_is_cuda": "plain is CUDA",
}
ABOUT: Final = frozenset({"line", "source", "checked", "verified", "note"})
_ENDS: Final = ("_source", "_verified", "_note")


def overview(subjects: Mapping[str, Rows]) -> list[tuple[str, ...]]:
    """Return a line per subject: its rows, how many are not confirmed, the oldest check."""
    lines: list[tuple[str, ...]] = []
    for subject, rows in subjects.items():
        sections = sections_of(rows)
        every = [row for section in sections.values() for row in section]
        counts = ", ".join(f"{len(section)} {name}" for name, section in sections.items())
        unconfirmed = sum(confidence(row) != "yes" for row in every)
        lines.append((subject, counts, str(unconfirmed), min(row["checked"] for row in every)))
    return lines


def sections_of(rows: Rows) -> Mapping[str, Sequence[Row]]:
    """Return a subject's lists of rows by section."""
    return {name: section for name, section in rows.items() if isinstance(section, list)}


def name_of(section: str, row: Row) -> str:
    """Return the name of a row: its first column."""
    first = row[COLUMNS[section][0]]
    return f"{first} of {', '.join(row['versions'])}" if section == "variants" else str(first)


def confidence(row: Row) -> str:
    """Return `yes`, `no`, or `not a, b` for the fields that are not confirmed."""
    if not row.get("verified", True):
        return "no"
    doubts = [key.removesuffix("_verified") for key in row if _is_doubt(row, key)]
    return f"not {', '.join(doubts)}" if doubts else "yes"


def _is_doubt(row: Row, key: str) -> bool:
    return key.endswith("_verified") and not row[key]


def headings(section: str, *more: str) -> tuple[str, ...]:
    named = (HEADINGS.get(column, column.replace("_", " ")) for column in COLUMNS[section])
    return (*named, *more)


def cells(section: str, row: Row) -> tuple[str, ...]:
    """Return the fields of a row that a list of rows shows."""
    return tuple(_cell(row, column) for column in COLUMNS[section])


def _cell(row: Row, field: str) -> str:
    if field == "sm":
        return f"{row['sm_min']}-{row.get('sm_max', '?')}"
    value = row.get(field, "")
    if field == "drivers":
        return str(next(iter(value.values()), "-")) if value else "-"
    if field in ("pythons", "architectures"):
        return version_ranges(value)
    return value_text(value) or "-"


def value_text(value: Any) -> str:  # noqa: ANN401 - plain data of any form
    """Return a value as one line of text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {value_text(element)}" for name, element in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return str(value)


def version_ranges(values: Sequence[str]) -> str:
    """Return `3.9-3.13` for consecutive minor versions; other values as they are."""
    runs: list[list[str]] = []
    for value in values:
        if runs and _follows(runs[-1][-1], value):
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _follows(version: str, next_version: str) -> bool:
    (major, _, minor), (same, _, after) = version.partition("."), next_version.partition(".")
    return major == same and minor.isdigit() and after.isdigit() and int(after) == int(minor) + 1


def details(section: str, row: Row, cite: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield every field with its value, followed by its doubts, notes and sources."""
    for key, value in row.items():
        if key in ABOUT or key.endswith(_ENDS) or key == COLUMNS[section][0]:
            continue
        named = key.replace("_", " ")
        inner = list(value.items()) if isinstance(value, Mapping) else []
        if any(isinstance(inner_value, Mapping | list) for _, inner_value in inner):
            yield from (
                (f"{named} {name}", value_text(inner_value) or "-") for name, inner_value in inner
            )
        else:
            yield named, value_text(value) or "-"
        yield from (("", inner_value) for inner_value in _aside(row, key, cite))
    for group in sorted(
        {key.rpartition("_")[0] for key in row if key.endswith(_ENDS)} - row.keys()
    ):
        yield from ((f"{group} ...", inner_value) for inner_value in _aside(row, group, cite))
    if "note" in row:
        yield "note", row["note"]


def _aside(row: Row, key: str, cite: Callable[[str], str]) -> Iterator[str]:
    if not row.get(f"{key}_verified", True):
        yield "(not confirmed)"
    if f"{key}_note" in row:
        yield f"({row[f'{key}_note']})"
    if f"{key}_source" in row:
        yield f"by {cite(row[f'{key}_source'])}"


def row_json(subject: str, section: str, row: Row) -> dict[str, object]:
    """Return a row as stable data: its fields, with its file and line."""
    fields = {key: value for key, value in row.items() if key != "line"}
    if "arch" in row:
        # The name of the field until 0.1.
        fields["machine"] = row["arch"]
    return {
        "subject": subject,
        "section": section,
        "name": name_of(section, row),
        "certain": confidence(row) == "yes",
        "where": f"{subject}.yaml:{row['line']}",
        **fields,
    }
