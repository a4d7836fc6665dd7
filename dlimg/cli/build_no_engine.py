"""`build --no-engine`: images without Docker, into the store and, where asked for, a layout."""

import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from dlimg.builders.executor import HostExecutor
from dlimg.builders.host_rootfs import base_for
from dlimg.builders.layers import build_into_store
from dlimg.builders.secrets import Secrets, secrets_from
from dlimg.cli.build import check_record, report, write_record
from dlimg.cli.printing import say
from dlimg.cli.progress import ProgressDisplay
from dlimg.cli.report_files import prepare_reports
from dlimg.cli.store import on_its_way
from dlimg.debian.chroot import check_able
from dlimg.errors import BadInput, DlimgError
from dlimg.lock.store import wheel_folders
from dlimg.model import Base, BuildFailure, BuiltImage, Image, PlannedImage
from dlimg.pipeline.images import images_of, planned_on, with_keys
from dlimg.pipeline.project import DEFAULT, chosen, compression_of, read_project
from dlimg.render.system_stage import system_step
from dlimg.results import ImageResult, exit_code_of_results
from dlimg.store.export import (check_export_folder, export_layout)
from dlimg.store.images import (load_image)
from dlimg.store.maintenance import (hold_store)
from dlimg.store.store import Store, layer_store
from dlimg.units import bytes_text, counted


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when every image was assembled; nothing is said about whether it works."""
    began = time.monotonic()
    _check_words(arguments)
    project = read_project(arguments.matrix)
    cells = chosen(project, arguments, otherwise=DEFAULT)
    images = images_of(cells, project, arguments, environment)
    for image in images:
        _check_executable(image)
    prepare_reports(arguments.report)
    check_able()
    store = layer_store(environment)
    bases = _bases(images, store, environment)
    planned = planned_on(images, bases, compression_of(project, arguments))
    keyed = with_keys(planned, environment, _executor, jobs=arguments.jobs)
    failed = [one for one in keyed if isinstance(one, BuildFailure)]
    with hold_store(store), secrets_from(environment) as secrets, ProgressDisplay(environment) as board:
        results = build_into_store(
            [one for one in keyed if isinstance(one, PlannedImage)],
            environment,
            jobs=arguments.jobs,
            secrets=secrets,
            find_links=wheel_folders(arguments.find_links, environment),
            on_progress=board.show,
        )
        found = {one.planned.image.cell.id: one for one in (*failed, *results)}
        lines = [_line(one, found.get(one.cell.id), bases[one.cell.os.name]) for one in images]
        if arguments.output:
            _write(Path(arguments.output), lines, store)
    if arguments.record:
        write_record(Path(arguments.record), lines, store)
    report(arguments, environment, lines, time.monotonic() - began)
    say("no check was run: that takes an engine")
    if not arguments.output:
        say("the images are in the store: `dlimg layers export PATTERN FOLDER` writes a layout")
    return exit_code_of_results(lines)


def _executor(secrets: Secrets) -> HostExecutor:
    return HostExecutor(secrets=secrets)


def _check_words(arguments: Namespace) -> None:
    """Refuse at once what cannot be had without an engine."""
    if arguments.command != "build":
        hint = "test where an engine is, or by this machine's own Python: `dlimg test --bare`"
        message = f"--no-engine: the checks of `dlimg {arguments.command}` take an engine"
        raise BadInput(message, hint=hint)
    if not arguments.no_engine:
        hint = "`dlimg layers export` writes what an engine has built"
        raise BadInput("--output goes with --no-engine", hint=hint)
    refused = {
        "--verify": arguments.verify,
        "--builder buildkit": arguments.builder == "buildkit",
        "--base registry": arguments.base == "registry",
    }
    for name, given in refused.items():
        if given:
            raise BadInput(f"{name} takes an engine", hint="leave it or --no-engine out")
    if arguments.jobs < 1:
        raise BadInput(f"--jobs {arguments.jobs} builds nothing", hint="give 1 or more")
    if arguments.output:
        check_export_folder(Path(arguments.output))
    if arguments.record:
        check_record(Path(arguments.record))


def _check_executable(image: Image) -> None:
    try:
        system_step(image.dockerfile)
    except BadInput as error:
        (problem,) = error.problems
        hint = "leave it out, or build it with an engine"
        raise BadInput(problem.message, where=image.cell.id, hint=hint) from None


def _bases(
    images: Sequence[Image], store: Store, environment: Mapping[str, str]
) -> dict[str, Base | DlimgError]:
    """The base of each operating system, or why it cannot be had here; the others go on."""
    found: dict[str, Base | DlimgError] = {}
    for system in dict.fromkeys(image.cell.os for image in images):
        try:
            found[system.name] = base_for(system, store, environment, say)
        except DlimgError as error:
            found[system.name] = error
    return found


def _line(
    image: Image, result: BuiltImage | BuildFailure | None, base: Base | DlimgError
) -> ImageResult:
    if isinstance(base, DlimgError):
        return ImageResult(image=image, error=base)
    return ImageResult(image=image, result=result)


def _write(folder: Path, lines: Sequence[ImageResult], store: Store) -> None:
    """The images that were assembled, as a layout."""
    built = [one.result for one in lines if isinstance(one.result, BuiltImage)]
    found = [(one.planned.image, load_image(store, one.digest)) for one in built]
    exported = [on_its_way(image, made) for image, made in found if made]
    if exported:
        size = export_layout(folder, exported, store)
        say(f"{counted(len(exported), 'image')} in {folder}, {bytes_text(size)} new")
