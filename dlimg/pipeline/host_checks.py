"""Checks of a family on this machine's own Python, without a container engine."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dlimg.checks.discover import CheckFolders, header_notices
from dlimg.checks.evidence import evidence_folder, write_evidence
from dlimg.checks.host_run import (
    CheckHost,
    HostCheckRequest,
    checks_on_host,
    group_by_folder_on_host,
    open_check_host,
    run_checks_on_host,
)
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.host.git_revision import revision_of
from dlimg.image_files import image_files
from dlimg.model import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """The family whose checks run on this machine, and the Python that runs them.

    `root` is the project's folder; an empty `python` means the first one that has the framework.
    """

    root: Path
    family: str
    python: str = ""
    own_checks: Path | None = None


def test_host(settings: HostSettings, context: Context) -> Evidence:
    """Run all checks of the family and keep their evidence."""
    folder = evidence_folder(context)
    with check_host(settings, context) as host:
        checks = checks_on_host(host)
        evidence = run_checks_on_host(host, checks, folder=folder)
        sets = group_by_folder_on_host(host, checks)
        write_evidence(folder, evidence, log=context.log, sets=sets)
    return evidence


def measure_host(
    settings: HostSettings, names: frozenset[str], folder: Path, context: Context
) -> Evidence:
    """Run these checks only; their evidence goes to `folder`. Raises BadInput for missing ones."""
    with check_host(settings, context) as host:
        checks = [check for check in checks_on_host(host) if check.name in names]
        missing = names - {check.name for check in checks}
        if missing:
            raise BadInput(f"{settings.family} has no check {' and '.join(sorted(missing))}")
        return run_checks_on_host(host, checks, folder=folder)


@contextmanager
def check_host(settings: HostSettings, context: Context) -> Iterator[CheckHost]:
    """Yield this machine, ready for checks; SIGHUP ends them."""
    request = HostCheckRequest(
        family=settings.family,
        images=image_files(settings.root),
        own_checks=settings.own_checks,
        python=str(Path(settings.python).absolute()) if settings.python else "",
        revision=revision_of(settings.root, context),
    )
    folders = CheckFolders(images=request.images, own=settings.own_checks)
    with _interrupted_by_hangup(), open_check_host(request, context) as host:
        for notice in header_notices({settings.family: ""}, folders):
            context.log(str(notice))
        yield host


@contextmanager
def _interrupted_by_hangup() -> Iterator[None]:
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
