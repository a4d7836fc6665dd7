"""The plan of a build: entries for people and CI, and bake files for other builders."""

import platform
from collections.abc import Mapping, Sequence

from dlimg.builders.choose import BuilderOption, address_obstacle, choose_builder
from dlimg.context import Context
from dlimg.engine.bases import BaseChoice
from dlimg.errors import BadInput
from dlimg.lock.store import read_bases
from dlimg.model import OCI_ARCHITECTURES, Base, BaseSource, CellSelection, Image, PlannedImage
from dlimg.pipeline.images import current_images, locked_images
from dlimg.pipeline.project import Project, compression_of, select_cells
from dlimg.render.bake import TARGETS_PER_FILE, bake_files
from dlimg.render.plan import PlanEntry, plan_entries
from dlimg.units import counted


def images_to_plan(
    project: Project, selection: CellSelection, context: Context
) -> tuple[Image, ...]:
    """Return the images of the selected cells that are locked; of all cells, those that are.

    Raises BadInput for a selected cell without a lock.
    """
    cells = select_cells(project, selection, log=context.log)
    images = tuple(locked_images(project, cells))
    missing = len(cells) - len(images)
    if missing and not selection.is_all:
        current_images(project, cells)  # says which, and how to lock them
    if missing:
        context.log(f"{counted(missing, 'cell', 'is')} not locked here and not in the plan")
    foreign = next((image.cell for image in images if not _fits_this_machine(image)), None)
    if foreign:
        context.log(
            f"these images are for {foreign.oci_platform}: this machine ({platform.machine()}) "
            "cannot build them"
        )
    return images


def _fits_this_machine(image: Image) -> bool:
    return image.cell.architecture == OCI_ARCHITECTURES.get(platform.machine())


def project_plan(
    project: Project,
    images: Sequence[Image],
    base: BaseChoice,
    builder: BuilderOption,
    context: Context,
) -> tuple[PlanEntry, ...]:
    """Return the plan of these images, as far as it is known without an engine."""
    obstacle = address_obstacle(context)

    def builder_of(image: Image) -> tuple[str, str]:
        chosen = choose_builder(builder, image, obstacle)
        return chosen.builder, chosen.why

    return plan_entries(images, base, read_bases(project.locks), builder_of)


def bake_file(project: Project, images: Sequence[Image]) -> Mapping[str, object]:
    """Return a bake file for any buildx builder. Raises BadInput for images that do not fit."""
    local = [image.cell.id for image in images if image.lock.local]
    if local:
        hint = "build them with `dlimg build`, which brings the wheels along"
        raise BadInput(f"{', '.join(local)}: wheels come from an extra folder", hint=hint)
    pins = read_bases(project.locks)
    compression = compression_of(project)
    files = bake_files([_from_registry(image, pins, compression) for image in images])
    if len(files) != 1:
        message = f"a bake file holds 1 to {TARGETS_PER_FILE} targets, not {len(images)}"
        raise BadInput(message, hint="choose cells by pattern or --group")
    return files[0]


def _from_registry(image: Image, pins: Mapping[str, str], compression: str) -> PlannedImage:
    """Return an image as any buildx builder can build it: with the base that FROM names.

    It has no key: which packages that builder installs is known only afterwards.
    """
    system = image.cell.os
    identity = pins.get(system.name, "")
    name = f"{system.image}@{identity}" if identity else system.image
    base = Base(
        os=system.name,
        source=BaseSource.REGISTRY,
        identity=identity or name,
        reference=f"docker-image://{name}",
    )
    return PlannedImage(image=image, base=base, key="", compression=compression)
