"""Copies of changed files to a machine that ssh reaches, and back, by rsync or tar."""

import json
import os
import re
import shlex
import shutil
import tarfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from dlimg.atomic_write import atomic_write
from dlimg.context import Context
from dlimg.errors import Negative, NetworkFailure
from dlimg.host.ignore import FileState
from dlimg.host.pipes import PipeReader, feed
from dlimg.host.process import ProcessResult, open_pipe, run
from dlimg.host.ssh import SshHost, connection_failure, is_ssh_failure
from dlimg.run.fetch import unpack

_SECONDS: Final = 600
# One line for each file: its size, time and name. Works with GNU's tools and with busybox.
_LIST: Final = r"""
[ "$2" = make ] && mkdir -p -- "$1"
cd -- "$1" 2>/dev/null || exit 0
[ -d . ] && find . \( -type f -o -type l \) -exec stat -c '%s %Y %n' {} +
exit 0
"""
_LISTED: Final = re.compile(r"(\d+) (-?\d+) \./(.+)")
_REMOVE: Final = 'cd -- "$1" && xargs -0 rm -f --'
# Messages in English, by which failures are recognized.
_UNPACK: Final = 'cd -- "$1" && LC_ALL=C tar -xpf - --no-same-owner'
_PACK: Final = 'cd -- "$1" && LC_ALL=C tar -cf - --null -T -'
# Messages of rsync and tar, each with the reason and a remedy.
_FAILURES: Final = (
    ("No space left on device", "its disk is full", "make room there: `dlimg doctor --on {name}`"),
    ("Disk quota exceeded", "its quota is used up", "make room there, or ask for more"),
    ("Permission denied", "a file or folder may not be read or written", "see its owner and mode"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFolder:
    """A folder on a machine; the path is relative to the user's home and has plain letters."""

    host: SshHost
    path: str

    def list(self, *, make: bool = False) -> dict[str, FileState]:
        """Return its files by relative path; a missing folder has none, or is made."""
        # By bytes, because names of files need not be UTF-8.
        argv = self.host.argv(["sh", "-s", "--", self.path, "make" if make else ""])
        completed = feed(argv, lambda pipe: pipe.write(_LIST.encode()), env=self.host.environment)
        if completed.returncode != 0:
            raise transfer_failure(self.host, completed)
        return parse_list(completed.stdout)

    def remove(self, paths: Iterable[str]) -> None:
        names = tuple(paths)
        if names:
            argv = self.host.argv(["sh", "-c", _REMOVE, "sh", self.path])
            feed(argv, lambda pipe: _write_names(names, pipe), env=self.host.environment)

    def send(self, folder: Path, paths: Sequence[str]) -> None:
        """Copy these files and empty folders of a folder here. Raises NetworkFailure, Negative."""
        if not paths:
            return
        if self._rsync([f"{folder}/", f"{self.host.destination}:{self.path}/"], paths):
            return
        argv = self.host.argv(["sh", "-c", _UNPACK, "sh", self.path])
        completed = feed(argv, lambda pipe: pack(folder, paths, pipe), env=self.host.environment)
        self._check(completed)

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """Copy these files into a folder here. Raises NetworkFailure or Negative."""
        if not paths:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if not self._rsync([f"{self.host.destination}:{self.path}/", f"{folder}/"], paths):
            self._check(self._fetch_tar(paths, folder))

    def _rsync(self, source_and_target: Sequence[str], paths: Sequence[str]) -> bool:
        """Copy files by rsync; return False if it is missing here or there."""
        if not has_rsync(self.host):
            return False
        ssh = shlex.join(["ssh", *self.host.options])
        options = ["--links", "--perms", "--times", "--compress", "--partial"]
        argv = ["rsync", *options, "--from0", "--files-from=-", "-e", ssh, "--", *source_and_target]
        completed = feed(argv, lambda pipe: _write_names(paths, pipe), env=self.host.environment)
        if _has_no_rsync(completed):
            return False
        self._check(completed)
        return True

    def _fetch_tar(self, paths: Sequence[str], folder: Path) -> ProcessResult:
        argv = self.host.argv(["sh", "-c", _PACK, "sh", self.path])
        child = open_pipe(argv, env=self.host.environment, reads=True)
        reader = PipeReader(child)
        if child.stdin:
            threading.Thread(
                target=_write_names, args=(paths, child.stdin, True), daemon=True
            ).start()
        errors: list[bytes] = []

        def pieces() -> Iterable[bytes]:
            for out, err in reader:
                errors.append(err or b"")
                yield out or b""

        try:
            unpack((piece for piece in pieces() if piece), folder)
        except tarfile.ReadError:
            errors.append(b"the connection broke while copying")
        reader.close()
        stderr = b"".join(errors).decode(errors="replace")
        return ProcessResult(argv=(), returncode=child.returncode, stdout="", stderr=stderr)

    def _check(self, completed: ProcessResult) -> None:
        if completed.returncode != 0:
            raise transfer_failure(self.host, completed)


def has_rsync(host: SshHost) -> bool:
    """Return whether there is an rsync 3 here, and an address that its syntax allows."""
    path = host.environment.get("PATH", os.defpath)
    is_plain = ":" not in host.destination  # neither a port nor IPv6
    return is_plain and shutil.which("rsync", path=path) is not None and _is_new_rsync(host)


def _is_new_rsync(host: SshHost) -> bool:
    # macOS has another program of this name, which knows few of its options.
    completed = run(["rsync", "--version"], env=host.environment, timeout=_SECONDS)
    return completed.stdout.startswith("rsync  version 3")


def _has_no_rsync(completed: ProcessResult) -> bool:
    return (
        completed.returncode in {12, 127}
        and "rsync: " in completed.stderr
        and ("not found" in completed.stderr or "No such file" in completed.stderr)
    )


def transfer_failure(host: SshHost, completed: ProcessResult) -> Negative | NetworkFailure:
    name = host.destination
    for text, reason, hint in _FAILURES:
        if text in completed.stderr:
            lines = [line for line in completed.stderr.splitlines() if text in line]
            message = f"files cannot be copied to or from {name}: {reason}: {lines[0].strip()}"
            return Negative(message, hint=hint.format(name=name))
    lost = ("connection unexpectedly closed", "connection broke", "Broken pipe", "error in rsync")
    if is_ssh_failure(completed) or any(text in completed.stderr for text in lost):
        return connection_failure(name, completed)
    return Negative(f"files cannot be copied to or from {name}: {completed.tail}")


def parse_list(text: str) -> dict[str, FileState]:
    """Return the files of a list, except names with a line break, which it cannot hold."""
    lines = filter(None, map(_LISTED.fullmatch, text.splitlines()))
    return {match[3]: FileState(size=int(match[1]), time=int(match[2])) for match in lines}


def _write_names(paths: Sequence[str], pipe: IO[bytes], close: bool = False) -> None:  # noqa: FBT001, FBT002
    for path in paths:
        pipe.write(os.fsencode(path) + b"\0")
    if close:
        pipe.close()


def pack(folder: Path, paths: Sequence[str], pipe: IO[bytes]) -> None:
    """Write a tar of these files; one that was removed meanwhile is left out."""
    with tarfile.open(fileobj=pipe, mode="w|") as tar:
        for path in paths:
            try:
                tar.add(folder / path, arcname=path, recursive=False)
            except FileNotFoundError:
                continue


Files = Mapping[str, FileState]


def to_send(local: Files, remote: Files, sent: Files) -> list[str]:
    """Return the files to send: new and changed ones, but none that only changed there."""
    return [
        path
        for path, state in local.items()
        if remote.get(path) != state and not (path in remote and sent.get(path) == state)
    ]


def to_remove(local: Files, remote: Files, sent: Files) -> list[str]:
    """Return the files that were sent, are gone here, and did not change there."""
    return [path for path in remote if path not in local and sent.get(path) == remote[path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesToReturn:
    """Files to bring back, and files that are newer here and stay as they are."""

    paths: tuple[str, ...]
    newer: tuple[str, ...]


def code_to_return(local: Files, remote: Files, sent: Files) -> FilesToReturn:
    """Return the files of the code that were changed there after they were sent."""
    changed = [p for p, state in remote.items() if sent.get(p) != state and local.get(p) != state]
    newer = [path for path in changed if local.get(path) != sent.get(path)]
    return FilesToReturn(paths=tuple(p for p in changed if p not in set(newer)), newer=tuple(newer))


def output_to_return(local: Files, remote: Files) -> FilesToReturn:
    """Return the files of an output that are missing here, or older than there."""
    changed = [path for path, state in remote.items() if local.get(path) != state]
    newer = [path for path in changed if path in local and local[path].time > remote[path].time]
    return FilesToReturn(paths=tuple(p for p in changed if p not in set(newer)), newer=tuple(newer))


def bytes_of(paths: Iterable[str], files: Files) -> int:
    return sum(files[path].size for path in paths if path in files)


def read_sent(name: str, context: Context) -> dict[str, FileState]:
    """Return the files that were sent to a folder; none where that is not recorded."""
    try:
        rows = json.loads(_sent_file(name, context).read_text(encoding="utf-8"))
        return {path: FileState(size=size, time=time) for path, (size, time) in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_sent(name: str, files: Files, context: Context) -> None:
    rows = {path: (state.size, state.time) for path, state in files.items()}
    file = _sent_file(name, context)
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, json.dumps(rows) + "\n", mode=0o600)


def _sent_file(name: str, context: Context) -> Path:
    return context.state / "sent" / f"{name}.json"
