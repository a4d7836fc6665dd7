"""`dlimg init`: a repository of one's own, with a small matrix, nox sessions and a workflow."""

import shlex
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.printing import out
from dlimg.context import Context
from dlimg.pipeline.new_project import NewProjectRequest, start_project
from dlimg.render.project_files import CI_FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """The options of `init`."""

    request: NewProjectRequest


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default=".", metavar="FOLDER", help="an empty or new folder (this one)"
    )
    parser.add_argument(
        "--family",
        action="append",
        default=[],
        metavar="FAMILY",
        help="with images of this family: pytorch, tensorflow, jax; may be repeated",
    )
    parser.add_argument(
        "--ci", choices=tuple(CI_FILES), default="github", help="whose workflow to write (github)"
    )
    parser.add_argument(
        "--wheel",
        metavar="FILE",
        help="dlimg's own wheel, to be copied into the project, if no index has this dlimg",
    )


def options_of(arguments: Namespace) -> InitOptions:
    request = NewProjectRequest(
        folder=Path(arguments.folder),
        families=tuple(arguments.family),
        ci=arguments.ci,
        wheel=Path(arguments.wheel) if arguments.wheel else None,
    )
    return InitOptions(request=request)


def run(options: InitOptions, context: Context) -> int:
    names = start_project(options.request, context)
    for name in names:
        out(f"{name}\n")
    folder = options.request.folder
    step = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    context.log(
        f"{len(names)} files; next: `{step}python -m pip install -r requirements/nox.txt`, "
        "then `nox -s build`"
    )
    return 0
