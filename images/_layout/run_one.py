#!/usr/local/lib/dlimg/python -IBS
"""dlimg-run-one: runs a command once no other one that was started so has the GPU.

A lock on a file decides. The command keeps it open, and so do processes that it starts: the lock
ends with the last of them, however they end.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pwd
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

VARIABLE = "DLIMG_LOCK_FOLDER"
OWN = Path("/tmp/dlimg-lock")  # noqa: S108  # for all users of the container
NAME = "gpu"
FOUND_LOCKED = 75  # as sysexits.h has it: try again later
NOT_FOUND, NO_PROGRAM = 127, 126
UNUSABLE = 2
LONGEST = 10**8  # seconds that a timer takes


def main() -> int:
    options = parse(sys.argv[1:])
    folder = Path(os.environ.get(VARIABLE) or OWN)
    try:
        file = opened(folder, options.name)
    except OSError as error:
        return fail(f"no lock in {folder}: {error.strerror}; {VARIABLE} names a folder to write to")
    if not locked(file):
        say(f"{holder(file)} has the GPU")
        say(unseen(folder))
        if options.no_wait:
            return FOUND_LOCKED
        say("waiting for its end; --no-wait would refuse")
        if not wait(file, options.wait):
            say(f"it is still there after {options.wait:g} s")
            return FOUND_LOCKED
    elif os.environ.get("DLIMG_QUIET") != "1":
        say(unseen(folder))
    write_holder(file, options.command)
    os.set_inheritable(file.fileno(), True)  # noqa: FBT003  # its only argument
    try:
        os.execvp(options.command[0], options.command)  # noqa: S606  # it is this
    except FileNotFoundError:
        return fail(f"{options.command[0]}: not found", NOT_FOUND)
    except OSError as error:
        return fail(f"{options.command[0]}: {error.strerror}", NO_PROGRAM)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dlimg-run-one",
        description="Run a command once no other one that was started so has the GPU.",
        epilog=f"{VARIABLE} names a mounted folder that containers on one machine share. Programs "
        f"that were not started by dlimg-run-one are not seen. Exit code {FOUND_LOCKED}: another "
        "command has the GPU; any other one is the command's own.",
    )
    parser.add_argument("--no-wait", action="store_true", help="refuse if another command runs")
    parser.add_argument("--wait", type=seconds, metavar="SECONDS", help="wait no longer than this")
    parser.add_argument("--name", default=NAME, help="of the lock, such as gpu1 (default: gpu)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    options = parser.parse_args(arguments)
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("name the command to run")
    if "/" in options.name or options.name in ("", ".", ".."):
        parser.error(f"--name {options.name}: a name, and no path")
    return options


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= LONGEST:
        raise ValueError(text)  # argparse says it
    return number


def opened(folder: Path, name: str) -> IO[str]:
    """Open the lock's file, which all users may write."""
    if folder == OWN and not folder.exists():
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(0o1777)
    path = folder / f"{name}.lock"
    try:
        # Not created with O_CREAT where it exists: in folders with the sticky bit, Linux refuses
        # that for another user's file.
        number = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        number = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(number, 0o666)
    return os.fdopen(number, "r+")


def locked(file: IO[str], *, waits: bool = False) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def wait(file: IO[str], seconds: float | None) -> bool:
    """Wait for the lock; return false where it takes longer than this."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    if seconds is None:
        return locked(file, waits=True)
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        return locked(file, waits=True)
    except TimeoutError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def write_holder(file: IO[str], command: list[str]) -> None:
    about = {
        "pid": os.getpid(),
        "user": user_name(),
        "host": socket.gethostname(),
        "since": round(time.time()),
        "command": shlex.join(command),
    }
    file.seek(0)
    file.truncate()
    file.write(json.dumps(about))
    file.flush()


def holder(file: IO[str]) -> str:
    """Return a description of the process that has the lock."""
    file.seek(0)
    try:
        about: dict[str, Any] = dict(json.loads(file.read()))
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(about["since"])))
        text = f"pid {about['pid']} of {about['user']}, since {began}: {about['command']}"
    except (ValueError, KeyError, TypeError):
        return "another command, which has not told about itself,"
    if about.get("host") != socket.gethostname():
        return f"in the container {about.get('host')}, {text}"
    if not Path(f"/proc/{about['pid']}").exists():
        others = ", ".join(map(str, sorted(owners(file)))) or "of other users"
        return f"{text}; it has ended, and processes that it has started ({others})"
    return text


def owners(file: IO[str]) -> Iterator[int]:
    """Yield the processes of this user that have the lock, which outlives their parent."""
    own = os.fstat(file.fileno())
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            for link in (folder / "fd").iterdir():
                about = link.stat()
                is_same = (about.st_dev, about.st_ino) == (own.st_dev, own.st_ino)
                if is_same and "FLOCK" in (folder / "fdinfo" / link.name).read_text():
                    yield int(folder.name)
                    break


def unseen(folder: Path) -> str:
    """Return a sentence about commands that the lock does not stop."""
    if folder == OWN:
        return (
            "only commands of this container that dlimg-run-one has started are seen; for those "
            f"of others on this machine, mount one folder into all and set {VARIABLE} to it"
        )
    return (
        f"only commands that dlimg-run-one has started with {folder} are seen, and no other "
        "program that uses the GPU"
    )


def user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def say(text: str) -> None:
    print(f"dlimg-run-one: {text}", file=sys.stderr, flush=True)


def fail(text: str, code: int = UNUSABLE) -> int:
    say(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
