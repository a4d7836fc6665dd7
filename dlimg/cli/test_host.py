"""`test --bare FAMILY`: the checks of a family by this machine's own Python, without an engine."""

import signal
import threading
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dlimg.checks.evidence import evidence_folder, write_evidence
from dlimg.checks.host_run import (
    CheckHost,
    HostCheckRequest,
    checks_here,
    machine,
    sets_of,
    test_bare,
)
from dlimg.checks.verdicts import exit_code, outcome
from dlimg.cli.check_selection import own_folder
from dlimg.cli.printing import print_json, print_table, say
from dlimg.cli.report_files import prepare_reports, write_reports
from dlimg.errors import BadInput, Problem
from dlimg.host.git_revision import revision_of
from dlimg.report.host_run import HEADINGS, bare_failure_text, bare_json, bare_row
from dlimg.results import ImageResult


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when every required check passed on this machine; evidence is kept, marked as bare."""
    refuse_words(arguments)
    prepare_reports(arguments.report)
    folder = evidence_folder(environment)
    with machine_of(arguments, environment) as there:
        checks = checks_here(there)
        evidence = test_bare(there, checks, folder=folder)
        write_evidence(folder, evidence, say=say, sets=sets_of(there, checks))
    value = [bare_json(evidence)]
    if arguments.format == "json":
        print_json(value)
    else:
        print_table(HEADINGS, [bare_row(evidence)], environment)
    say(bare_failure_text(evidence))
    write_reports(arguments.report, [ImageResult(evidence=evidence)], value)
    return exit_code(outcome(evidence.verdicts))


def refuse_words(arguments: Namespace) -> None:
    """Raise BadInput for words that are about images, where none is looked at."""
    if arguments.bare is None:
        hint = "e.g. --bare pytorch"
        raise BadInput("--python is for --bare, which names a family", hint=hint)
    problems = []
    for given, word in (
        (arguments.patterns, "PATTERN"),
        (arguments.group, "--group"),
        (arguments.device, "--device"),
    ):
        if given:
            hint = "it takes this machine's Python and GPUs; leave one of the two out"
            problems.append(Problem(message=f"--bare goes with no {word}", hint=hint))
    if problems:
        raise BadInput.of(problems)


@contextmanager
def machine_of(arguments: Namespace, environment: Mapping[str, str]) -> Iterator[CheckHost]:
    """The machine, as the command line names it; a terminal that goes away ends the checks."""
    folder = Path(arguments.matrix).parent
    wanted = HostCheckRequest(
        family=arguments.bare,
        images=folder / "images",
        own=own_folder(arguments),
        python=str(Path(arguments.python).absolute()) if arguments.python else "",
        revision=revision_of(folder, environment),
    )
    with _hanging_up(), machine(wanted, environment, say=say) as there:
        yield there


@contextmanager
def _hanging_up() -> Iterator[None]:
    # The checks are in process groups of their own, so the signal of a lost connection does not
    # reach them. Under `nohup` it is ignored, and stays so.
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before if before is not None else signal.SIG_DFL)
