"""Facts compared with the package index, and rows added for new releases."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import atomic_write
from dlimg.context import Context
from dlimg.errors import BadInput, nearest
from dlimg.facts.parse import rows_of
from dlimg.facts.write import FieldDifference, differences, releases_without_row, with_row
from dlimg.host.process import run_checked
from dlimg.image_files import image_files
from dlimg.pipeline.facts_files import FACTS, read_text
from dlimg.pypi.cache import PackageIndexCache
from dlimg.pypi.framework_releases import ReleaseReader, release_readers
from dlimg.pypi.index import open_index
from dlimg.pypi.mirrors import default_addresses
from dlimg.pypi.uv_queries import managed_pythons

FATBIN: Final = "common/checks/_fatbin.py"
PYTHONS: Final = "pythons"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsRefresh:
    """The settings of a refresh: the index, and whether to write new rows and commit each.

    `folder` has the files of facts, `readers` know the frameworks' releases.
    """

    folder: Path
    readers: Mapping[str, ReleaseReader]
    index_cache: PackageIndexCache
    context: Context
    today: str
    write: bool
    commit: bool

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects that can be compared with an index."""
        return (*sorted(self.readers), PYTHONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshResult:
    """The names of releases without a row, and the fields in which rows differ from the index."""

    new: tuple[str, ...] = ()
    differences: tuple[FieldDifference, ...] = ()


def facts_refresh(root: Path, context: Context, *, write: bool, commit: bool) -> FactsRefresh:
    """Return the settings of a refresh in the project at `root`."""
    images = image_files(root)
    index_cache = PackageIndexCache(
        index=open_index(context, context.cache / "wheels"),
        addresses=default_addresses(context),
        fatbin=images.find(FATBIN) or root / FATBIN,
    )
    return FactsRefresh(
        folder=FACTS,
        readers=release_readers(images),
        index_cache=index_cache,
        context=context,
        today=dt.datetime.now(dt.UTC).date().isoformat(),
        write=write,
        commit=commit,
    )


def refresh_facts(refresh: FactsRefresh, subjects: Sequence[str]) -> RefreshResult:
    """Compare subjects with the index, and add rows for new releases if set.

    Raises BadInput for a subject that the index does not cover, and NetworkFailure.
    """
    new: list[str] = []
    differences_found: list[FieldDifference] = []
    for subject in subjects:
        if subject not in refresh.subjects:
            hint = nearest(subject, refresh.subjects)
            raise BadInput(f"the package index says nothing about {subject!r}", hint=hint)
        compare = _compare_pythons if subject == PYTHONS else _compare_framework
        result = compare(refresh, subject)
        new += result.new
        differences_found += result.differences
    return RefreshResult(new=tuple(new), differences=tuple(differences_found))


def _compare_framework(refresh: FactsRefresh, subject: str) -> RefreshResult:
    reader = refresh.readers[subject]
    text = read_text(refresh.folder / f"{subject}.yaml")
    rows = {row["version"]: row for row in rows_of(text, f"{subject}.yaml")["releases"]}
    differences_found: list[FieldDifference] = []
    for version, row in rows.items():
        refresh.context.log(f"{subject} {version}")
        differences_found += _compare_release(refresh, reader, row, f"{subject}.yaml:{row['line']}")
    new = releases_without_row(rows, refresh.index_cache.releases(reader.package))
    for version in new:
        _add(refresh, subject, "releases", _release_row(refresh, subject, version), version)
    names = tuple(f"{subject} {version}" for version in new)
    return RefreshResult(new=names, differences=tuple(differences_found))


def _compare_release(
    refresh: FactsRefresh, reader: ReleaseReader, row: Mapping[str, Any], where: str
) -> Iterator[FieldDifference]:
    version = row["version"]
    project = row.get("package", reader.package)
    if version not in refresh.index_cache.releases(project):
        if not row.get("yanked", False):
            has_files = any(f"-{version}-" in name for name in refresh.index_cache.files(project))
            state = "yanked" if has_files else "not at the index"
            name = f"{project} {version}"
            yield FieldDifference(where=where, name=name, written="a release", seen=state)
        return
    yield from differences(row, reader.index_row(refresh.index_cache, version, row), where)


def _release_row(refresh: FactsRefresh, subject: str, version: str) -> dict[str, Any]:
    reader = refresh.readers[subject]
    row = reader.index_row(refresh.index_cache, version, {})
    row |= reader.wheel_row(refresh.index_cache, version, row)
    source = f"PyPI metadata of {reader.package} {version}"
    return {"version": version, **row, "source": source, "checked": refresh.today}


def _compare_pythons(refresh: FactsRefresh, subject: str) -> RefreshResult:
    """Compare the rows with the newest builds that uv offers; a minor without a row is new."""
    text = read_text(refresh.folder / f"{subject}.yaml")
    rows = {row["python"]: row for row in rows_of(text, f"{subject}.yaml")["pythons"]}
    uv, offered = managed_pythons(refresh.context)
    differences_found = tuple(
        difference
        for minor, (first, last) in offered.items()
        if minor in rows
        for difference in differences(
            rows[minor],
            {"managed_from": first, "managed": last},
            f"{subject}.yaml:{rows[minor]['line']}",
        )
    )
    new = [minor for minor in offered if minor not in rows]
    for minor in new:
        first, last = offered[minor]
        row = {"python": minor, "managed_from": first, "managed": last}
        row |= {"source": f"download list of uv {uv}", "checked": refresh.today}
        _add(refresh, subject, "pythons", row, minor)
    return RefreshResult(
        new=tuple(f"Python {minor}" for minor in new), differences=differences_found
    )


def _add(
    refresh: FactsRefresh, subject: str, section: str, row: Mapping[str, Any], name: str
) -> None:
    """Add a row at the end of its section."""
    if not refresh.write:
        return
    path = refresh.folder / f"{subject}.yaml"
    text = with_row(read_text(path), section, row)
    rows_of(text, path.name)  # a row that would be refused is not written
    atomic_write(path, text)
    if refresh.commit:
        message = f"Facts: {subject} {name}"
        argv = ["git", "commit", "--quiet", "--message", message, "--", str(path)]
        run_checked(argv, cwd=refresh.folder)
