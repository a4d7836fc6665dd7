"""A command in a root file system of ours: what a container is, made with the system's own tools.

A folder and a command come in; how the command ended comes out. It has processes, mounts and a
host name of its own, and few of root's powers. All mounts are in its own namespace: they are gone
with its last process, and that ends with dlimg, however that ends.
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
# Of what BuildKit leaves to a step, what installing packages takes; none reaches beyond the root.
_POWERS: Final = (
    "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+setfcap,"
    "+net_bind_service,+audit_write,+sys_chroot"
)
_LIMITED: Final = ("setpriv", "--bounding-set", _POWERS, "--inh-caps", "-all", "--")
_HOST_NAME: Final = "buildkitsandbox"  # as it is for a step of a Dockerfile elsewhere
# The first process does not become the command, or it would not hear an interrupt; with its end
# the kernel ends all others.
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
    """Nothing; `NoEngine` where this machine or user cannot run a command in a root of ours."""
    if os.geteuid() != 0:
        hint = "run it as root, or build with an engine"
        raise NoEngine("without an engine only root can build: it takes mounts", hint=hint)
    missing = [name for name in _TOOLS if shutil.which(name, path=PATH) is None]
    if missing:
        hint = "they are in the packages util-linux, mount, coreutils and tar"
        raise NoEngine(f"{', '.join(missing)}: not on this machine", hint=hint)
    tried = run(["unshare", *_NAMESPACES, "--mount-proc", "true"], env={"PATH": PATH})
    if tried.returncode != 0:
        hint = "in a container it takes --privileged; else build with an engine"
        raise NoEngine(f"no namespaces can be made here: {tried.tail}", hint=hint)


def run_in_rootfs(
    root: Path,
    command: Sequence[str],
    *,
    network: Literal["host", "none"],
    binds: Mapping[str, Path],
    env: Mapping[str, str],
) -> ProcessResult:
    """How the command ended; `binds` are files and folders that it may read, by where it does."""
    sources = [part for target, source in binds.items() for part in (str(source), target)]
    argv = [
        *("setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES),
        *(("--net",) if network == "none" else ()),
        *("/bin/sh", "-c", _ENTER, "sh", str(root), _HOST_NAME),
        *sources,
        *("--", *_LIMITED, *command),
    ]
    kinds = {target: source.is_dir() for target, source in binds.items()}
    with _places(root, {"/proc": True, "/sys": True, "/dev": True, **kinds}):
        return run(argv, env={"PATH": PATH, "HOME": "/root", **env})


@contextmanager
def _places(root: Path, wanted: Mapping[str, bool]) -> Iterator[None]:
    """Inside, there is a folder or a file at each place; what was made for it is gone after."""
    made: list[Path] = []
    try:
        for target, is_folder in wanted.items():
            place = Path(f"{root}{target}")
            for parent in (*reversed(place.relative_to(root).parents), place.relative_to(root)):
                one = root / parent
                if os.path.lexists(one):
                    continue
                made.append(one)
                if one == place and not is_folder:
                    one.touch()
                else:
                    one.mkdir(mode=0o755)
        yield
    finally:
        for one in reversed(made):
            _remove(one)


def _remove(one: Path) -> None:
    """Takes it away as if it had never been: the folder above keeps its time."""
    if not os.path.lexists(one):
        return
    above = one.parent.stat()
    if not stat.S_ISDIR(one.lstat().st_mode):
        one.unlink()
    elif not any(one.iterdir()):
        one.rmdir()
    os.utime(one.parent, ns=(above.st_atime_ns, above.st_mtime_ns))
