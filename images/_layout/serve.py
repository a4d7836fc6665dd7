#!/usr/local/lib/dlimg/python -IBS
"""serve jupyter|ssh|both [OPTION...]: runs the servers of a mode, and stops them.

SIGTERM goes to the jobs first, in notebooks, terminals and ssh sessions, and the servers stay
until these have ended: an engine would kill the jobs as soon as its container's command ends.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import MutableMapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import serve_jobs
import serve_jupyter
import serve_kernels
import serve_ssh

IMAGE_VARIABLES = Path("/etc/dlimg/environment")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
SECONDS = 10.0  # between two looks at what is idle
WRONG_USAGE = 2


def main() -> int:
    mode, *options = sys.argv[1:]
    complete(os.environ)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        servers, idle = start(mode, options)
    except ValueError as error:
        print(f"dlimg: {error}", file=sys.stderr)
        return WRONG_USAGE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"dlimg: {mode} cannot start: {place}{error.strerror or error}", file=sys.stderr)
        return WRONG_USAGE
    return run(servers, idle)


def complete(environment: MutableMapping[str, str]) -> None:
    """Set the image's variables that a session without the entry point lacks."""
    try:
        lines = IMAGE_VARIABLES.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        name, is_assigned, value = line.partition("=")
        if is_assigned and name != "PATH":
            environment.setdefault(name, value)
    path = environment.get("PATH", os.defpath)
    if "/opt/env/bin" not in path.split(":"):
        environment["PATH"] = f"{environment.get('DLIMG_OVERLAY', '')}/bin:/opt/env/bin:{path}"


def start(mode: str, options: Sequence[str]) -> tuple[dict[int, str], int]:
    """Start the servers of a mode; return their names by pid, and Jupyter's idle time-out.

    Raises ValueError for invalid settings, before any server is started.
    """
    plans = []
    idle = 0
    if mode in ("jupyter", "both"):
        jupyter = serve_jupyter.plan(options, os.environ)
        idle = jupyter.idle
        plans.append(("jupyter", jupyter.command, jupyter.variables, jupyter.messages))
    if mode in ("ssh", "both"):
        ssh = serve_ssh.plan(options if mode == "ssh" else (), os.environ)
        plans.append(("sshd", ssh.command, {}, ssh.messages))
    if not plans:
        raise ValueError(f"no mode is called {mode}: jupyter, ssh, both, check, info")
    servers = {}
    for name, command, variables, messages in plans:
        if os.environ.get("DLIMG_QUIET") != "1":
            for message in messages:
                print(f"dlimg: {message}", file=sys.stderr, flush=True)
        servers[spawn(command, variables)] = name
    return servers, idle


def spawn(command: Sequence[str], variables: MutableMapping[str, str]) -> int:
    """Start a program with no signal blocked, and return its pid."""
    program = shutil.which(command[0]) or command[0]
    return os.posix_spawn(
        program,
        list(command),
        {**os.environ, **variables},
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores them
    )


def run(servers: dict[int, str], idle: int) -> int:
    """Wait for a server's end or for a signal; return the exit code."""
    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    asks_itself = "jupyter" in servers.values() and has_terminal
    while True:
        received = signal.sigtimedwait(SIGNALS, SECONDS)
        if received is None:
            if idle:
                serve_jobs.hang_up_idle_terminals(servers, idle)
        elif received.si_signo == signal.SIGCHLD:
            code = ended(servers)
            if code is not None:
                return finish(servers, idle, code)
        elif received.si_signo != signal.SIGINT or not asks_itself:
            # From a terminal, Ctrl-C reaches Jupyter as well, which asks whether it is meant.
            stop(servers)
            return 0


def ended(servers: dict[int, str]) -> int | None:
    """Remove the servers that have ended from the table; return the exit code of the last."""
    code = None
    for pid in list(servers):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            del servers[pid]
            number = os.waitstatus_to_exitcode(status)
            code = number if number >= 0 else 128 - number
    return code


def finish(servers: dict[int, str], idle: int, code: int) -> int:
    """Stop the other server and the jobs, as one server has ended.

    After Jupyter's idle time-out this waits for ssh sessions and jobs that are still at work.
    """
    while idle and code == 0 and serve_jobs.busy(servers):
        received = signal.sigtimedwait(SIGNALS, SECONDS)
        if received is not None and received.si_signo != signal.SIGCHLD:
            break
    stop(servers)
    return code


def stop(servers: dict[int, str]) -> None:
    """End the jobs, then the servers; kill none, as the engine does that after its time limit."""
    jupyter = next((pid for pid, name in servers.items() if name == "jupyter"), 0)
    # A kernel outlives a notebook's own handler of SIGTERM.
    serve_jobs.end_jobs(servers, lambda: serve_kernels.idle(jupyter) if jupyter else ())
    for pid in servers:
        os.kill(pid, signal.SIGTERM)
    while servers:
        ended(servers)
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
