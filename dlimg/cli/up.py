"""`dlimg up`: runs the project of this folder and follows it; Ctrl-C detaches."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_on, add_private_engine
from dlimg.cli.printing import write_bytes
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.engine.discover import PrivateEnginePolicy
from dlimg.errors import BadInput
from dlimg.host.file_lock import file_lock
from dlimg.pipeline.run_on import bring_back, reach
from dlimg.pipeline.run_project import read_project_file, with_files
from dlimg.pipeline.run_start import check_request, create_run, run_name
from dlimg.report.run import detached_text, end_lines
from dlimg.run import launch
from dlimg.run.find import remote_engine
from dlimg.run.follow import LogRequest, log_lines
from dlimg.run.lifecycle import engine_for_runs, is_at, output_size, status_of, statuses
from dlimg.run.model import RunRequest, RunStatus
from dlimg.run.project_file import FILE, with_project
from dlimg.run.record import runs_folder
from dlimg.run.secrets import Masker, values_to_mask


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
        hint = "`dlimg new NAME` makes one; `dlimg run` needs none"
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
        if options.on:
            engine = remote_engine(options.on, context)
        else:
            engine = engine_for_runs(options.private_engine, context)
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
    """Return the project's run that is there already, and log that."""
    live = {"starting", "running", "waiting"}
    running = [
        status
        for status in statuses(engine, context)
        if status.record.run.name == name and status.state in live and is_at(status.record, engine)
    ]
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
    masker = Masker(values_to_mask(record, "running", engine))
    request = LogRequest(follow=True, tail=None, times=False)
    try:
        for line in log_lines(record.container, request, engine):
            write_bytes(masker(line), "out")
    except KeyboardInterrupt:
        context.log(detached_text(record))
        return 0
    finally:
        write_bytes(masker.end(), "out")
    bring_back(record, engine, context)
    record = status_of(record, engine, context).record
    for text in end_lines(record, output_size(record.output)):
        context.log(text)
    return record.exit_code or 0
