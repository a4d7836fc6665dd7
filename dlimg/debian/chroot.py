"""Commands in a root file system, isolated like a container by tools of the host.

A command has namespaces of its own for processes, mounts and the host name, and few of root's
capabilities. Its mounts vanish with its last process, which ends when dlimg ends.
"""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from dlimg.errors import NoEngine
from dlimg.host.process import ProcessResult, run

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TOOLS: Final = ("unshare", "setpriv", "mount", "chroot", "tar")
_NAMESPACES: Final = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
# The capabilities of a BuildKit step that package installation needs.
_CAPABILITIES: Final = (
    "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+setfcap,"
    "+net_bind_service,+audit_write,+sys_chroot"
)
_LIMITED: Final = ("setpriv", "--bounding-set", _CAPABILITIES, "--inh-caps", "-all", "--")
_HOST_NAME: Final = "buildkitsandbox"  # as in a step of a Dockerfile elsewhere
# The shell does not `exec` the command, because the first process of a namespace would ignore
# interrupts. When the shell ends, the kernel ends all other processes in the namespace.
_ENTER: Final = """\
set -eu
umask 022
root=$1 name=$2
shift 2
hostname "$name" 2>/dev/null || true
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o nosuid,noexec,mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -m 1777 "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
while [ "$1" != -- ]; do
    mount --bind "$1" "$root$2"
    mount -o remount,bind,ro "$root$2"
    shift 2
done
shift
trap 'exit 130' INT TERM
chroot "$root" "$@" &
wait $!
"""


def check_chroot() -> None:
    """Raise `NoEngine` when this host or user cannot run commands in a root file system."""
    if os.geteuid() != 0:
        hint = "run it as root, or build with an engine"
        raise NoEngine("without an engine only root can build, because it mounts", hint=hint)
    missing = [name for name in _TOOLS if shutil.which(name, path=PATH) is None]
    if missing:
        hint = "they are in the packages util-linux, mount, coreutils and tar"
        raise NoEngine(f"{', '.join(missing)}: not on this host", hint=hint)
    completed = run(["unshare", *_NAMESPACES, "--mount-proc", "true"], env={"PATH": PATH})
    if completed.returncode != 0:
        hint = "a container needs --privileged; otherwise build with an engine"
        raise NoEngine(f"namespaces cannot be created here: {completed.tail}", hint=hint)


def run_in_rootfs(
    root: Path,
    command: Sequence[str],
    *,
    network: Literal["host", "none"],
    binds: Mapping[str, Path],
    env: Mapping[str, str],
) -> ProcessResult:
    """Run a command; `binds` maps paths in the root to files and folders that it may read."""
    mounts = [part for target, source in binds.items() for part in (str(source), target)]
    argv = [
        *("setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES),
        *(("--net",) if network == "none" else ()),
        *("/bin/sh", "-c", _ENTER, "sh", str(root), _HOST_NAME),
        *mounts,
        *("--", *_LIMITED, *command),
    ]
    is_folder = {target: source.is_dir() for target, source in binds.items()}
    with _mount_points(root, {"/proc": True, "/sys": True, "/dev": True, **is_folder}):
        return run(argv, env={"PATH": PATH, "HOME": "/root", **env})


@contextmanager
def _mount_points(root: Path, targets: Mapping[str, bool]) -> Iterator[None]:
    """Create missing mount points, folders or files, and remove them afterwards."""
    created: list[Path] = []
    try:
        for target, is_folder in targets.items():
            mount_point = Path(f"{root}{target}")
            relative = mount_point.relative_to(root)
            for part in (*reversed(relative.parents), relative):
                path = root / part
                if os.path.lexists(path):
                    continue
                created.append(path)
                if path == mount_point and not is_folder:
                    path.touch()
                else:
                    path.mkdir(mode=0o755)
        yield
    finally:
        for path in reversed(created):
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a file or an empty folder; the times of its parent folder stay."""
    if not os.path.lexists(path):
        return
    parent = path.parent.stat()
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()
    elif not any(path.iterdir()):
        path.rmdir()
    os.utime(path.parent, ns=(parent.st_atime_ns, parent.st_mtime_ns))
