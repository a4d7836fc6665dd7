"""`dlimg up`: runs the project of this folder and follows it; Ctrl-C detaches."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_on, add_private_engine
from dlimg.cli.run_output import log_end, show_log
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.engine.discover import PrivateEnginePolicy
from dlimg.errors import BadInput
from dlimg.host.file_lock import file_lock
from dlimg.pipeline.run_on import reach
from dlimg.pipeline.run_project import read_project_file, with_files
from dlimg.pipeline.run_start import check_request, create_run, run_name
from dlimg.run import launch
from dlimg.run.find import engine_at
from dlimg.run.follow import LogRequest
from dlimg.run.lifecycle import status_of, statuses_at
from dlimg.run.model import RunRequest, RunStatus
from dlimg.run.project_file import FILE, with_project
from dlimg.run.record import runs_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The options of `up`."""

    matrix: str
    request: RunRequest
    on: str
    private_engine: PrivateEnginePolicy


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-d", "--detach", action="store_true", help="start it and return")
    add_on(parser)
    add_private_engine(parser)


def options_of(arguments: Namespace) -> UpOptions:
    project = read_project_file(Path.cwd())
    if project is None:
        hint = "`dlimg new .` adds one; `dlimg run` needs none"
        raise BadInput(f"there is no {FILE} here", hint=hint)
    request = RunRequest(folder=Path.cwd(), detach=arguments.detach)
    return UpOptions(
        matrix=arguments.matrix,
        request=with_files(with_project(request, project)),
        on=arguments.on or "",
        private_engine="refuse" if arguments.no_private_engine else "allow",
    )


def run(options: UpOptions, context: Context) -> int:
    """Return the exit code of a command that ended while it was followed, else 0."""
    check_request(options.request)  # before a machine is asked, or an engine started
    name = run_name(options.request)
    with engine_errors():
        engine = engine_at(options.on, options.private_engine, context)
        file = runs_folder(context) / name / "up.lock"
        with file_lock(file, doing=f"starting {name}", log=context.log):
            status = _running(name, engine, context) or _start(options, engine, context)
        if not options.request.detach:
            return _follow(status, engine, context)
        if engine.ssh is None:  # tunnels would close with this command
            for line in reach(status, (), {}, engine, context):
                context.log(line)
        return 0


def _running(name: str, engine: Engine, context: Context) -> RunStatus | None:
    """Return the project's run that has not ended yet, and log that there is one."""
    running = [status for status in statuses_at(engine, name) if status.is_live]
    if running:
        context.log(f"{running[-1].record.run} runs already; `dlimg down` ends it")
        return running[-1]
    return None


def _start(options: UpOptions, engine: Engine, context: Context) -> RunStatus:
    start = create_run(options.request, options.matrix, engine, context)
    launch.start(start.record, start.hidden, engine)
    return status_of(start.record, engine, context)


def _follow(status: RunStatus, engine: Engine, context: Context) -> int:
    record = status.record
    for text in reach(status, (), {}, engine, context):
        context.log(text)
    context.log(f"following {record.run}; Ctrl-C detaches, `dlimg down` ends it")
    request = LogRequest(follow=True, tail=None, times=False)
    is_over = show_log(record, "running", request, engine)
    return log_end(record, engine).exit_code or 0 if is_over else 0
