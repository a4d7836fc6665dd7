"""Images that are skipped, as an index with their wheels does not answer."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dlimg.assembly.wheel_layers import missing_wheels
from dlimg.builders.choose import BuilderOption
from dlimg.context import Context
from dlimg.errors import NetworkFailure
from dlimg.lock.local_wheels import find_local_wheel, is_locked_wheel, wheel_folders
from dlimg.lock.routes import unreachable
from dlimg.model import CellSelection, Image, PlannedImage, Wheel
from dlimg.pipeline.planned_images import BuildSettings
from dlimg.pipeline.project import DEFAULT_GROUP
from dlimg.pypi.reach import index_access
from dlimg.results import ImageResult
from dlimg.store.store import layer_store


def unreachable_images(
    planned: Sequence[PlannedImage], settings: BuildSettings, context: Context
) -> Mapping[str, NetworkFailure]:
    """Return the error of each image, by cell, that needs a wheel from an index out of reach."""
    folders = wheel_folders(settings.find_links, context)
    reach = index_access(context)
    failures: dict[str, NetworkFailure] = {}
    for image in planned:
        cell = image.image.cell
        missing = [
            wheel
            for wheel in _needed_wheels(image, settings.builder, context)
            if wheel.index and not _is_at_hand(wheel, folders, context)
        ]
        for index in cell.indexes:
            files = [wheel.file for wheel in missing if wheel.index == index.name]
            access = reach(index) if files else None
            if access and access.obstacle:
                failures[cell.id] = unreachable(index.name, access, files, where=cell.id)
    return failures


def is_default_selection(cells: CellSelection) -> bool:
    """Return whether images are selected by no pattern and no group other than `default`."""
    return not cells.patterns and cells.group in {"", DEFAULT_GROUP}


def unreachable_result(image: Image, failure: NetworkFailure, *, may_skip: bool) -> ImageResult:
    """Return the result of an image whose index does not answer: skipped, or a failure."""
    if may_skip:
        return ImageResult(image=image, skipped=failure.problems[0])
    return ImageResult(image=image, error=failure)


def _needed_wheels(
    planned: PlannedImage, builder: BuilderOption, context: Context
) -> Iterator[Wheel]:
    if builder == "buildkit" or planned.image.layers_obstacle:
        yield from planned.image.lock.wheels
        return
    for wheels in missing_wheels([planned], layer_store(context)).values():
        yield from wheels


def _is_at_hand(wheel: Wheel, folders: Sequence[Path], context: Context) -> bool:
    if find_local_wheel(folders, wheel):
        return True
    fetched = context.cache / "fetched" / wheel.file
    return fetched.is_file() and is_locked_wheel(fetched, wheel)
