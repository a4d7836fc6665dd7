"""The jobs of a container: programs that people run beside the servers of a mode."""

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

# Programs that hold the terminals of others: those would get SIGHUP where these end.
HOLDERS = ("sshd", "tmux", "screen", "SCREEN")
INITS = ("tini", "docker-init")
SECONDS = 0.1


class Process(NamedTuple):
    """A process; `began`, in ticks since the machine's start, distinguishes two of one pid."""

    pid: int
    parent: int
    name: str
    is_leader: bool
    has_terminal: bool
    ignores_term: bool
    began: int


def end_jobs(
    servers: Collection[int],
    finished: Callable[[], Collection[int]] = tuple,
    root: Path = Path("/proc"),
) -> None:
    """Send SIGTERM to all jobs, and return when they have ended, or are among `finished()`.

    The first process of a terminal is last, because its end would be SIGHUP for the others.
    Interactive shells ignore SIGTERM, and nothing waits for them.
    """
    for is_last in (False, True):
        chosen = [
            job
            for job in jobs(servers, root)
            if not job.ignores_term and (is_last or not (job.is_leader and job.has_terminal))
        ]
        chosen = [job for job in chosen if terminate(job.pid)]
        if chosen:
            names = ", ".join(f"{job.name} ({job.pid})" for job in chosen)
            print(f"dlimg: SIGTERM to {names}; waiting for the end", file=sys.stderr, flush=True)
        while chosen and alive(chosen, root) - set(finished()):
            time.sleep(SECONDS)


def terminate(pid: int) -> bool:
    """Send SIGTERM; return false where this user may not, or the process has ended."""
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:
        return False
    return True


def alive(chosen: Collection[Process], root: Path = Path("/proc")) -> set[int]:
    """Return the pids of those that have not ended."""
    now = {(process.pid, process.began) for process in processes(root)}
    return {process.pid for process in chosen if (process.pid, process.began) in now}


def busy(servers: Collection[int], root: Path = Path("/proc")) -> bool:
    """Return whether somebody is logged in by ssh, or a job that is no shell runs."""
    table = {process.pid: process for process in processes(root)}
    sessions = (
        process
        for process in in_scope(table)
        if process.name.startswith("sshd") and process.pid not in servers
    )
    return any(True for _ in sessions) or any(not job.ignores_term for job in jobs(servers, root))


def jobs(servers: Collection[int], root: Path = Path("/proc")) -> list[Process]:
    """Return the processes that neither are servers nor own the terminals of others."""
    table = {process.pid: process for process in processes(root)}
    return [
        process
        for process in in_scope(table)
        if process.pid not in (*servers, os.getpid())
        and not process.name.startswith((*HOLDERS, *INITS))
    ]


def in_scope(table: Mapping[int, Process]) -> Iterator[Process]:
    """Yield the processes of this container if this is its command, or else those below this one.

    Where others share the processes' numbers (`--pid host`, a pod), only those that the entry
    point has started belong here.
    """
    own = os.getpid()
    top = own
    above = table.get(os.getppid())
    if above is not None and above.name in INITS:
        top = above.pid
        first = table.get(1)
        if first is not None and first.name in INITS and is_below(top, 1, table):
            yield from (process for process in table.values() if process.pid not in (1, top))
            return
    for process in table.values():
        if process.pid != top and is_below(process.pid, top, table):
            yield process


def is_below(pid: int, top: int, table: Mapping[int, Process]) -> bool:
    while pid in table and pid != top:
        pid = table[pid].parent
    return pid == top


def hang_up_idle_terminals(
    servers: Mapping[int, str], seconds: int, root: Path = Path("/proc")
) -> None:
    """End shells in Jupyter's terminals that run nothing and that nobody has used for a time.

    A terminal that is open keeps the server from its own time-out.
    """
    table = list(processes(root))
    parents = {process.parent for process in table}
    for process in table:
        if servers.get(process.parent) != "jupyter" or process.pid in parents:
            continue
        if process.is_leader and process.has_terminal and is_unused(process.pid, seconds, root):
            os.kill(process.pid, signal.SIGHUP)


def is_unused(pid: int, seconds: int, root: Path = Path("/proc")) -> bool:
    """Return whether nothing was typed or printed on the process's terminal for this time."""
    try:
        terminal = (root / str(pid) / "fd/0").stat()
    except OSError:
        return False
    return max(terminal.st_atime, terminal.st_mtime) < time.time() - seconds


def processes(root: Path = Path("/proc")) -> Iterator[Process]:
    """Yield the processes that have not ended."""
    for folder in root.iterdir():
        if folder.name.isdecimal():
            try:
                yield from read(folder)
            except OSError:
                continue  # it has ended


def read(folder: Path) -> Iterator[Process]:
    """Yield the process of a folder of /proc; nothing for a zombie."""
    start, _, end = (folder / "stat").read_text(errors="replace").rpartition(")")
    state, parent, _, session, terminal, *others = end.split()
    if state in ("Z", "X"):
        return
    status = (folder / "status").read_text(errors="replace")
    ignored = next(
        (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")), "0"
    )
    pid = int(folder.name)
    yield Process(
        pid=pid,
        parent=int(parent),
        name=start.partition("(")[2],
        is_leader=int(session) == pid,
        has_terminal=terminal != "0",
        ignores_term=bool(int(ignored, 16) >> (signal.SIGTERM - 1) & 1),
        began=int(others[14]),
    )
