"""Which of the planned images an engine has already: one question for each repository."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from dlimg.engine import ownership
from dlimg.engine.client import Engine
from dlimg.model import BuiltImage, PlannedImage
from dlimg.render.bake import BUILDER_LABEL

_Row: TypeAlias = Mapping[str, Any]


def existing_images(
    planned: Sequence[PlannedImage], engine: Engine, builder: str = ""
) -> dict[str, BuiltImage]:
    """Those images that the engine has, by reference; then their moving names lead to them, too.

    It must be the very image that a build of ours made from this key: one that somebody built on
    ours, and gave this name, has inherited the labels. A builder is named as its label has it,
    with the format or without; no builder named is any.
    """
    there = dict(_listed(engine, dict.fromkeys(one.image.repository for one in planned)))
    found = {one.reference: _built(one, there.get(one.reference), engine) for one in planned}
    ours = {
        name: built for name, built in found.items() if built and builder in _builders(there[name])
    }
    for one in planned:
        if one.reference in ours and there.get(one.moving_reference) != there[one.reference]:
            engine.sdk.api.tag(one.reference, one.image.repository, one.image.tag)
    return ours


def _builders(row: _Row) -> Collection[str]:
    """By what words an image's builder may be asked for."""
    label = str((row.get("Labels") or {}).get(BUILDER_LABEL, ""))
    return {"", label, label.partition("/")[0]}


def _listed(engine: Engine, repositories: Mapping[str, None]) -> Iterator[tuple[str, _Row]]:
    """The engine's row of each name; one row for all the names of an image."""
    for repository in repositories:
        for row in engine.sdk.api.images(filters={"reference": repository}):
            yield from ((name, row) for name in row.get("RepoTags") or ())


def _built(planned: PlannedImage, row: _Row | None, engine: Engine) -> BuiltImage | None:
    if row is None or not ownership.was_built_here(engine.environment, planned.key, str(row["Id"])):
        return None
    return BuiltImage(
        planned=planned, digest=str(row["Id"]), size=int(row["Size"]), seconds=0.0, cached=True
    )
