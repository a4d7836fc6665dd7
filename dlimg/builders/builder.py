"""The interface of the builders, and images that an engine has already."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from dlimg.builders.progress import BuildProgress, OnProgress
from dlimg.builders.secrets import Secrets
from dlimg.engine.client import Engine, list_images
from dlimg.engine.ownership import was_built_here
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.render.bake import BUILDER_LABEL

_Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildParameters:
    """Parameters of all builds of one call; `find_links` are folders with further wheels.

    At most `jobs` images are built at once. `on_progress` is called from one thread at a time.
    """

    jobs: int
    secrets: Secrets
    find_links: Sequence[Path]
    on_progress: OnProgress


# Builds images into an engine and returns the results in order.
Builder: TypeAlias = Callable[
    [Sequence[PlannedImage], Engine, BuildParameters], tuple[BuiltImage | BuildFailure, ...]
]


def split_existing(
    planned: Sequence[PlannedImage], engine: Engine, builder: str, on_progress: OnProgress
) -> tuple[dict[str, BuiltImage], tuple[PlannedImage, ...]]:
    """Return the images that the engine has, by reference, and the images to build.

    Reports each existing image as progress; `builder` is as in `existing_images`.
    """
    present = existing_images(planned, engine, builder)
    for plan in planned:
        if plan.reference in present:
            on_progress(BuildProgress(cell=plan.image.cell.id, state="cached"))
    return present, tuple(plan for plan in planned if plan.reference not in present)


def existing_images(
    planned: Sequence[PlannedImage], engine: Engine, builder: str = ""
) -> dict[str, BuiltImage]:
    """Return the images that the engine has, by reference, and update their moving names.

    One request finds all images of a repository.

    An image counts only if a build here recorded it for this key: an image that a user built on one
    of ours, under the same name, has inherited the labels. `builder` is the builder's label, with
    or without its format; an empty text means any builder.
    """
    rows = dict(_named_rows(engine, dict.fromkeys(plan.image.repository for plan in planned)))
    present: dict[str, BuiltImage] = {}
    for plan in planned:
        row = rows.get(plan.reference)
        if row is None or builder not in _builder_names(row) or not _is_ours(plan, row, engine):
            continue
        present[plan.reference] = BuiltImage(
            planned=plan, digest=str(row["Id"]), size=int(row["Size"]), seconds=0.0, cached=True
        )
        if rows.get(plan.moving_reference) != row:
            engine.sdk.api.tag(plan.reference, plan.image.repository, plan.image.tag)
    return present


def _builder_names(row: _Row) -> Collection[str]:
    """Return the builder labels under which this image counts, with and without the format."""
    label = str((row.get("Labels") or {}).get(BUILDER_LABEL, ""))
    return {"", label, label.partition("/")[0]}


def _named_rows(engine: Engine, repositories: Mapping[str, None]) -> Iterator[tuple[str, _Row]]:
    """Yield each name with the engine's row; names of one image share a row."""
    for repository in repositories:
        for row in list_images(engine, {"reference": repository}):
            yield from ((name, row) for name in row.get("RepoTags") or ())


def _is_ours(planned: PlannedImage, row: _Row, engine: Engine) -> bool:
    return was_built_here(engine.context, planned.key, str(row["Id"]))
