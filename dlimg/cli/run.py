"""`dlimg run`: a folder's command in a container, with a GPU, data and an output folder."""

import os
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_on, add_private_engine, command_of, refuse_empty
from dlimg.cli.printing import out, write_bytes
from dlimg.cli.run_output import log_end
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.engine.discover import PrivateEnginePolicy
from dlimg.errors import BadInput
from dlimg.host.ssh import check_destination
from dlimg.pipeline.run_on import detached_lines, reach, send_changes
from dlimg.pipeline.run_print import print_run
from dlimg.pipeline.run_project import request_in
from dlimg.pipeline.run_start import RunStart, check_request, create_run
from dlimg.report.run import outside_lines, started_lines
from dlimg.run import launch
from dlimg.run.find import engine_at
from dlimg.run.lifecycle import files_outside, status_of
from dlimg.run.model import GpuChoice, RunRequest
from dlimg.run.names import parse_data, parse_port, parse_variable
from dlimg.run.project_file import MODES
from dlimg.run_formats.model import Format
from dlimg.run_formats.write import FORMATS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `run`; an empty `matrix` means the folder's, or dlimg's own.

    With `print_format` the run is written for another tool, and not started.
    """

    matrix: str
    request: RunRequest
    on: str
    sync: bool
    private_engine: PrivateEnginePolicy
    print_format: Format | None = None


def add_arguments(parser: ArgumentParser) -> None:
    add_image_choice(parser)
    _add_contents(parser)
    parser.add_argument("--name", help="the run's name (the folder's)")
    parser.add_argument("-d", "--detach", action="store_true", help="start it and return")
    parser.add_argument(
        "-t", "--terminal", action="store_true", help="in this terminal; a shell without CMD"
    )
    parser.add_argument("--mode", choices=MODES, help="a server instead of a command")
    parser.add_argument("--queue", action="store_true", help="wait for a free GPU, one for itself")
    parser.add_argument(
        "--print",
        choices=FORMATS,
        dest="print_format",
        help="write the run for another tool on standard output, and start nothing",
    )
    add_on(parser)
    parser.add_argument(
        "--sync", action="store_true", help="with --on: keep sending what changes here"
    )
    add_private_engine(parser)
    parser.add_argument(
        "cmd", nargs="*", metavar="CMD", help="the command (train.py, main.py or the only script)"
    )


def _add_contents(parser: ArgumentParser) -> None:
    """Add the options for data, output, variables and ports of the container."""
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="SRC[:NAME]",
        help="a folder, a file, RUN/output or stored data (`dlimg data`), read-only at /data/NAME, "
        "/input/NAME and /NAME",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="the folder that is /output (output/NUMBER in this one)"
    )
    parser.add_argument(
        "-e",
        "--variable",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a variable in the container; without a value, that of this shell",
    )
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME",
        help="a variable of this shell whose value only the run's memory gets",
    )
    parser.add_argument(
        "-p",
        "--port",
        action="append",
        default=[],
        metavar="[HOST:]PORT",
        help="a port of the container, on 127.0.0.1 here; at PORT or a free one without HOST",
    )


def add_image_choice(parser: ArgumentParser) -> None:
    gpu = parser.add_mutually_exclusive_group()
    gpu.add_argument("--gpu", action="store_true", help="with a GPU, or not at all")
    gpu.add_argument("--cpu", action="store_true", help="without a GPU")
    parser.add_argument("--device", metavar="NAME", help="the GPU by its CDI name (all of them)")
    parser.add_argument(
        "--env",
        metavar="ENV",
        help="a framework (pytorch), with a version (tensorflow-2.21), a cell, or NAME:TAG "
        "(what the code imports, as `pick` says)",
    )


def options_of(arguments: Namespace) -> RunOptions:
    refuse_empty(arguments, ("device", "env", "name", "output"))
    gpu: GpuChoice = "gpu" if arguments.gpu else "cpu" if arguments.cpu else "auto"
    if arguments.mode and arguments.cmd:
        hint = "leave out one; `dlimg exec RUN` runs a command beside the server"
        raise BadInput(f"--mode {arguments.mode} and a command exclude each other", hint=hint)
    if arguments.terminal and arguments.detach:
        raise BadInput("--terminal and --detach exclude each other", hint="leave out one")
    request = RunRequest(
        folder=Path.cwd(),
        command=command_of(arguments.cmd),
        name=arguments.name or "",
        env=arguments.env or "",
        gpu=gpu,
        device=arguments.device or "",
        data=tuple(
            dict.fromkeys(parse_data(text, exists=Path(text).exists()) for text in arguments.data)
        ),
        output=arguments.output or "",
        variables=dict(parse_variable(text, os.environ) for text in arguments.variable),
        ports=tuple(dict.fromkeys(parse_port(text) for text in arguments.port)),
        detach=arguments.detach,
        terminal=arguments.terminal,
        mode=arguments.mode or "command",
        secrets=tuple(dict.fromkeys(arguments.secret)),
        queue=arguments.queue,
    )
    policy: PrivateEnginePolicy = "refuse" if arguments.no_private_engine else "allow"
    if arguments.on is not None:
        check_destination(arguments.on)
    if arguments.sync and (not arguments.on or arguments.detach):
        raise BadInput("--sync is for a run --on another machine that is followed")
    if arguments.print_format and arguments.on:
        hint = "`--print cloud-init` and `--print skypilot` write a run for another machine"
        raise BadInput("--print and --on exclude each other", hint=hint)
    return RunOptions(
        matrix=arguments.matrix,
        request=request_in(request),
        on=arguments.on or "",
        sync=arguments.sync,
        private_engine=policy,
        print_format=arguments.print_format,
    )


def run(options: RunOptions, context: Context) -> int:
    """Return the command's exit code; 0 for a run in the background, or a printed one."""
    if options.print_format:
        out(print_run(options.request, options.print_format, options.matrix, context))
        return 0
    if options.request.terminal and not sys.stdin.isatty():
        raise BadInput("--terminal: the input is no terminal", hint="leave it out")
    check_request(options.request)  # before a machine is asked, or an engine started
    with engine_errors():
        engine = engine_at(options.on, options.private_engine, context)
        start = create_run(options.request, options.matrix, engine, context)
        if options.request.detach:
            return _detach(start, engine, context)
        with send_changes(start.record, engine, context, is_wanted=options.sync):
            code = _in_foreground(start, engine, context)
        record = log_end(start.record, engine)
        for line in outside_lines(record, files_outside(record, engine)):
            context.log(line)
        return code


def _detach(start: RunStart, engine: Engine, context: Context) -> int:
    launch.start(start.record, start.hidden, engine)
    status = status_of(start.record, engine, context)
    lines = (
        detached_lines(status, engine, context)
        if engine.ssh
        else reach(status, start.ports, start.hidden, engine, context)
    )
    for line in (*started_lines(status), *lines):
        context.log(line)
    out(f"{start.record.run}\n")
    return 0


def _in_foreground(start: RunStart, engine: Engine, context: Context) -> int:
    spec, record = start.spec, start.record
    if spec.terminal:
        return launch.start_in_terminal(record, start.hidden, engine)

    def started() -> None:
        status = status_of(record, engine, context)
        for line in reach(status, start.ports, start.hidden, engine, context):
            context.log(line)

    output = launch.FollowedOutput(
        sink=write_bytes, log=context.log, started=started if start.ports else None
    )
    return launch.start_and_follow(spec, record, start.hidden, engine, output)
