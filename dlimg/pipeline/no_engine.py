"""Images assembled on this machine itself, without a container engine."""

import platform
from collections.abc import Sequence
from pathlib import Path

from dlimg.builders.builder import BuildParameters
from dlimg.builders.executor import HostExecutor
from dlimg.builders.host_rootfs import make_base
from dlimg.builders.layers import build_into_store
from dlimg.builders.secrets import Secrets, secrets_from
from dlimg.context import Context
from dlimg.debian.chroot import check_chroot
from dlimg.errors import BadInput, DlimgError
from dlimg.lock.local_wheels import wheel_folders
from dlimg.model import OCI_ARCHITECTURES, Base, BuildFailure, BuiltImage, Image, PlannedImage
from dlimg.pipeline.images import check_architecture
from dlimg.pipeline.planned_images import BuildSettings, plan_images, with_keys
from dlimg.pipeline.project import Project, compression_of
from dlimg.pipeline.skipped import is_default_selection, unreachable_images, unreachable_result
from dlimg.render.system_stage import parse_system_step
from dlimg.results import ImageResult
from dlimg.store.export import ExportedImage, export_layout
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.images import load_image
from dlimg.store.maintenance import hold_store
from dlimg.store.store import Store, layer_store
from dlimg.units import bytes_text, counted


def check_executable(images: Sequence[Image]) -> None:
    """Raise BadInput for an image whose Dockerfile only an engine can execute."""
    for image in images:
        try:
            parse_system_step(image.dockerfile)
        except BadInput as error:
            (problem,) = error.problems
            hint = "leave it out, or build it with an engine"
            raise BadInput(problem.message, where=image.cell.id, hint=hint) from None


def build_without_engine(
    project: Project,
    images: Sequence[Image],
    settings: BuildSettings,
    context: Context,
    *,
    output: Path | None,
) -> list[ImageResult]:
    """Assemble these images into the store, and into an OCI layout at `output` if given."""
    check_architecture(
        (image.cell for image in images),
        OCI_ARCHITECTURES.get(platform.machine(), "other"),
        "this machine",
    )
    check_chroot()
    store = layer_store(context)
    bases = _find_bases(images, store, context)
    planned = plan_images(images, bases, compression_of(project, settings.compression))
    keyed = with_keys(planned, _executor, settings, context)
    failed = [failure for failure in keyed if isinstance(failure, BuildFailure)]
    buildable = [image for image in keyed if isinstance(image, PlannedImage)]
    unreachable = unreachable_images(buildable, settings, context)
    with (
        hold_store(store),
        secrets_from(context) as secrets,
        settings.display(context) as on_progress,
    ):
        built = build_into_store(
            [image for image in buildable if image.image.cell.id not in unreachable],
            context,
            BuildParameters(
                jobs=settings.jobs,
                secrets=secrets,
                find_links=wheel_folders(settings.find_links, context),
                on_progress=on_progress,
            ),
        )
        by_cell = {result.planned.image.cell.id: result for result in (*failed, *built)}
        may_skip = is_default_selection(settings.cells)
        results = [
            unreachable_result(image, unreachable[image.cell.id], may_skip=may_skip)
            if image.cell.id in unreachable
            else _result(image, by_cell.get(image.cell.id), bases[image.cell.os.name])
            for image in images
        ]
        if output:
            _export(output, results, store, context)
    return results


def _executor(secrets: Secrets) -> HostExecutor:
    return HostExecutor(secrets=secrets)


def _find_bases(
    images: Sequence[Image], store: Store, context: Context
) -> dict[str, Base | DlimgError]:
    """Return the base of each operating system, or the error that prevents it."""
    bases: dict[str, Base | DlimgError] = {}
    for system in dict.fromkeys(image.cell.os for image in images):
        try:
            bases[system.name] = make_base(system, store, context)
        except DlimgError as error:
            bases[system.name] = error
    return bases


def _result(
    image: Image, built: BuiltImage | BuildFailure | None, base: Base | DlimgError
) -> ImageResult:
    if isinstance(base, DlimgError):
        return ImageResult(image=image, error=base)
    return ImageResult(image=image, result=built)


def _export(folder: Path, results: Sequence[ImageResult], store: Store, context: Context) -> None:
    """Write the assembled images as an OCI layout."""
    built = [result.result for result in results if isinstance(result.result, BuiltImage)]
    stored = [(image.planned.image, load_image(store, image.digest)) for image in built]
    exported = [exported_image(image, assembled) for image, assembled in stored if assembled]
    if exported:
        size = export_layout(folder, exported, store)
        context.log(f"{counted(len(exported), 'image')} in {folder}, {bytes_text(size)} new")


def exported_image(image: Image, assembled: AssembledImage) -> ExportedImage:
    """Return an assembled image with its names in a layout: the cell, and the full tag."""
    reference = f"{image.repository}:{image.tag}"
    return ExportedImage(name=image.cell.id, reference=reference, image=assembled)
