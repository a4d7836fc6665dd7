"""`dlimg new`: a folder with a project file for runs, and a script or a notebook."""

import shlex
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.printing import out
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.pipeline.run_project import TEMPLATES, NewRunProject, start_run_project


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOptions:
    """The options of `new`."""

    request: NewRunProject


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="NAME", help="the new folder, whose name the runs get")
    parser.add_argument(
        "--template", choices=TEMPLATES, default=TEMPLATES[0], help="what is in it (pytorch)"
    )
    parser.add_argument(
        "--from", dest="git_url", metavar="GIT-URL", help="begin with this repository's files"
    )


def options_of(arguments: Namespace) -> NewOptions:
    if not arguments.folder or arguments.git_url == "":
        raise BadInput("an empty name", hint="name the new folder")
    folder, url = Path(arguments.folder), arguments.git_url or ""
    request = NewRunProject(folder=folder, template=arguments.template, git_url=url)
    return NewOptions(request=request)


def run(options: NewOptions, context: Context) -> int:
    for name in start_run_project(options.request, context):
        out(f"{options.request.folder / name}\n")
    context.log(f"now: `cd {shlex.quote(str(options.request.folder))}`, `dlimg up`")
    return 0
