"""Run at every start of Python in the image's environments, by `dlimg_start.pth`.

It does what the entry point does, for processes of sshd, `docker exec` or Kubernetes that start
without it. It imports only modules that every Python has imported already, and its failures must
not stop Python.
"""

import os
import site
import sys
from _collections_abc import Callable, Iterable, Iterator, MutableMapping

IMAGE = "/opt/env"
IMAGE_HOME = "{{ cell.user.home }}"
MOUNTS = "/proc/self/mounts"
ENVIRONMENT = "/etc/dlimg/environment"
PACKAGES = "/usr/local/lib/dlimg/packages"
SCRIPTS = "/usr/local/lib/dlimg"
OVERLAY_COMMAND = "/usr/local/bin/dlimg-overlay"
# It chooses the environment, as for every `python` outside of an environment.
PYTHON = "/usr/local/bin/python3"
# Holds the process's own number once the environment is chosen: exec keeps the number.
CHOSEN = "DLIMG_CHOSEN_BY"

DRIVER = "libcuda.so.1"
MANAGEMENT = "libnvidia-ml.so.1"
LOADER_CACHE = "etc/ld.so.cache"
# The loader's own folders; LD_LIBRARY_PATH and its cache name others.
LIBRARY_FOLDERS = (f"usr/lib/{os.uname().machine}-linux-gnu", "usr/lib64", "usr/lib")
# Folders where hosts such as Google's mount a driver, without the loader's cache.
HOST_FOLDERS = ("usr/local/nvidia/lib64", "usr/local/nvidia/lib")

CGROUPS = "sys/fs/cgroup"
OPENMP = "OMP_NUM_THREADS"
# The variable that has the number where OPENMP comes from here.
LIMITED = "DLIMG_THREADS"
# PyTorch, NumPy, MKL and numexpr read OpenMP's; then TensorFlow's; JAX reads the other two.
THREADS = (
    *(OPENMP, "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "PJRT_NPROC", "NPROC"),
    *("TORCHINDUCTOR_COMPILE_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"),
    "PYTHON_CPU_COUNT",
)
# Without OPENMP, these give each of their processes one thread.
LAUNCHERS = frozenset(
    ("torchrun", "torch.distributed.run", "torch.distributed.launch", "accelerate")
)


def choose_environment(environment: MutableMapping[str, str], prefix: str = sys.prefix) -> None:
    """Execute /usr/local/bin/python3 where this environment is another user's, at most once.

    That finds this user's environment, or makes one for pip to install into.
    """
    is_chosen = environment.pop(CHOSEN, "") == str(os.getpid())
    if is_chosen or os.access(f"{prefix}/pyvenv.cfg", os.W_OK) or not is_of_image(prefix):
        return
    has_own = os.path.exists(f"/tmp/home-{os.geteuid()}/env/pyvenv.cfg")  # noqa: S108
    if (has_own or is_pip(sys.orig_argv)) and is_plain_python():
        environment[CHOSEN] = str(os.getpid())
        os.execv(PYTHON, [PYTHON, *sys.orig_argv[1:]])  # noqa: S606


def search_image(_: object) -> None:
    """Let programs that look for packages by `site`, as cuda-pathfinder does, find the image's."""
    if IMAGE not in site.PREFIXES:
        site.PREFIXES.append(IMAGE)


def set_home(environment: MutableMapping[str, str]) -> None:
    """Set HOME and USER for a user without a passwd entry or a writable home."""
    home = environment.get("HOME") or os.path.expanduser("~")
    if home.rstrip("/").startswith("/") and os.access(f"{home}/.", os.W_OK):
        return
    user = os.geteuid()
    own = IMAGE_HOME
    if not os.access(own, os.W_OK):  # a cluster's empty volume may be writable
        own = f"/tmp/home-{user}"  # noqa: S108 - as the entry point
        if not os.path.exists(own):
            os.mkdir(own, mode=0o700)
        if os.stat(own).st_uid != user:
            return
        link_mounts(own)
    environment["HOME"] = own
    for name in ("USER", "LOGNAME"):
        environment.setdefault(name, str(user))


def set_name(environment: MutableMapping[str, str], root: str = "/") -> None:
    """Set Apptainer's user as LOGNAME: caches in the machine's /tmp are named by it, not by USER.

    USER is the image's there, for all users of the machine.
    """
    if "LOGNAME" not in environment and os.path.exists(f"{root}.singularity.d"):
        import pwd

        try:
            environment["LOGNAME"] = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            environment["LOGNAME"] = str(os.geteuid())


def load_host_driver(environment: MutableMapping[str, str], root: str = "/") -> None:
    """Load a driver in a folder of hosts that LD_LIBRARY_PATH does not name at this start.

    The loader has read that variable already, so it is too late to set it for this process.
    """
    given = environment.get("LD_LIBRARY_PATH", "").split(":")
    for folder in HOST_FOLDERS:
        if f"/{folder}" not in given and os.path.exists(f"{root}{folder}/{DRIVER}"):
            for name in (DRIVER, MANAGEMENT):
                is_loaded(f"{root}{folder}/{name}")
            return


def link_mounts(own: str, image_home: str = IMAGE_HOME, mounts: str = MOUNTS) -> None:
    """Link what is mounted below the image's home, such as a model cache, into another home."""
    with open(mounts, encoding="utf-8", errors="replace") as lines:
        points = [line.split(" ", 2)[1] for line in lines]
    for point in points:
        name = point.removeprefix(f"{image_home}/")
        link = f"{own}/{name}"
        if name != point and name.partition("/")[0] != "env" and not os.path.exists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(point, link)


def set_variables(environment: MutableMapping[str, str], path: str = ENVIRONMENT) -> None:
    """Set the image's variables that a process lacks; its own values stay."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            name, is_assigned, value = line.rstrip("\n").partition("=")
            if is_assigned and name != "PATH" and name not in environment:
                environment[name] = value


def limit_threads(environment: MutableMapping[str, str], root: str = "/") -> None:
    """Set how many threads frameworks start where there are fewer CPUs than the machine has.

    /usr/local/lib/dlimg/limit-threads does the same for shells. Variables that are set stay.
    """
    missing = [name for name in THREADS if name not in environment]
    number = usable_cpus(root) if missing else 0
    if not number:
        return
    for name in missing:
        environment[name] = str(number)
    if OPENMP in missing:
        environment[LIMITED] = str(number)
    # Python has read its variable already, and it is for its child processes.
    if "PYTHON_CPU_COUNT" in missing and sys.version_info >= (3, 13):
        if "cpu_count" not in sys._xoptions:  # noqa: SLF001 - the documented name
            os.cpu_count = os.process_cpu_count = lambda: number


def spare_launcher(environment: MutableMapping[str, str]) -> None:
    """Leave the number of threads to launchers of several processes, which share out the CPUs."""
    limited = environment.get(LIMITED)
    if limited and is_launcher(sys.orig_argv) and environment.get(OPENMP) == limited:
        del environment[OPENMP], environment[LIMITED]


def set_without_gpu(environment: MutableMapping[str, str], root: str = "/") -> None:
    """Set the variable in DLIMG_WITHOUT_GPU (`NAME=VALUE`) where there is no driver."""
    name, is_whole, value = environment.get("DLIMG_WITHOUT_GPU", "").partition("=")
    # Agents such as DevPod's pass variables on without what is behind a second `=`.
    if name and is_whole and not environment.get(name) and not has_driver(environment, root):
        environment[name] = value


def complete_overlay(_: object, prefix: str = sys.prefix) -> None:
    """Update an overlay that was made by another image, or before the packages were installed."""
    if os.path.exists(f"{prefix}/packages/") or not os.path.exists(PACKAGES):
        return
    if prefix != IMAGE and is_of_image(prefix) and os.access(prefix, os.W_OK):
        update(prefix)


def watch_pip(_: object, prefix: str = sys.prefix) -> None:
    """Update the overlay when pip ends and has changed packages.

    That also gives packages that root has installed in another user's home to that user, who
    could otherwise not upgrade or remove them.
    """
    if prefix == IMAGE or not is_pip(sys.orig_argv) or not is_of_image(prefix):
        return
    import atexit

    before = os.stat(packages_of(prefix)).st_mtime_ns

    def finish() -> None:
        if os.stat(packages_of(prefix)).st_mtime_ns != before:
            update(prefix)

    atexit.register(finish)


def explain_refusals(_: object, prefix: str = sys.prefix) -> None:
    """Let pip explain why it keeps the versions of the image's framework."""
    if is_pip(sys.orig_argv) and is_of_image(prefix):
        sys.path.insert(0, SCRIPTS)
        try:
            import explain_refusal

            explain_refusal.watch_pip(pip_arguments(sys.orig_argv))
        finally:
            sys.path.remove(SCRIPTS)


def has_driver(environment: MutableMapping[str, str], root: str = "/") -> bool:
    """Return whether NVIDIA's driver is there: a device file, and its library."""
    return has_device(root) and has_library(environment, root)


def has_device(root: str = "/") -> bool:
    """Return whether a GPU's device file is there; WSL's is `dxg`, Jetson's `nvmap`."""
    names = os.listdir(f"{root}dev")
    return any(name.startswith("nvidia") or name in ("dxg", "nvmap") for name in names)


def has_library(environment: MutableMapping[str, str], root: str = "/") -> bool:
    """Return whether the loader will find the driver's library by its name."""
    given = environment.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":")
    files = [f"{folder}/{DRIVER}" for folder in given if folder]
    files += [f"{root}{folder}/{DRIVER}" for folder in LIBRARY_FOLDERS]
    if has_any(files) or has_any(cached(root)):
        return True
    return any(is_loaded(f"{root}{folder}/{DRIVER}") for folder in HOST_FOLDERS)


def cached(root: str = "/") -> Iterator[str]:
    """Yield the driver's paths in the loader's cache, which has them as texts between zeros."""
    try:
        with open(f"{root}{LOADER_CACHE}", "rb") as file:
            texts = file.read()
    except OSError:
        return
    end = f"/{DRIVER}\0".encode()
    at = texts.find(end)
    while at >= 0:
        folder = texts[texts.rfind(b"\0", 0, at) + 1 : at].decode(errors="replace")
        yield f"{root}{folder.lstrip('/')}/{DRIVER}"
        at = texts.find(end, at + 1)


def has_any(libraries: Iterable[str]) -> bool:
    """Return whether one of these files is a library for this architecture; some are empty."""
    wanted = machine_of("/proc/self/exe")
    return any(machine_of(path) == wanted for path in libraries)


def machine_of(path: str) -> bytes:
    """Return the class and architecture of an ELF file, or nothing for other files."""
    try:
        with open(path, "rb") as file:
            start = file.read(20)
    except OSError:
        return b""
    return start[:5] + start[18:] if start.startswith(b"\x7fELF") else b""


def is_loaded(path: str) -> bool:
    """Load a library by its path, so that it is found by name later; return whether it loads."""
    if not has_any([path]):
        return False
    import ctypes  # only here: it costs milliseconds

    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def usable_cpus(root: str = "/", allowed: int = 0, machine: int = 0) -> int:
    """Return the number of CPUs by quota and cpuset; 0 where these leave all of the machine's.

    A quota of one and a half is 2. `allowed` and `machine` are for tests.
    """
    machine = machine or os.sysconf("SC_NPROCESSORS_ONLN")
    number = min([allowed or len(os.sched_getaffinity(0)), *quotas(root)])
    return number if number < machine else 0


def quotas(root: str = "/") -> Iterator[int]:
    """Yield the quotas of this process's cgroups and of those above them, in whole CPUs."""
    top = f"{root}{CGROUPS}"
    places = {top: "", f"{top}/cpu": ""}
    for line in lines_of(f"{root}proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            places[top] = path
        elif "cpu" in controllers.split(","):
            places[f"{top}/cpu"] = places[f"{top}/{controllers}"] = path
    for place, path in places.items():
        yield from quota(place)
        folder = path.rstrip("/")
        while folder:
            yield from quota(f"{place}{folder}")
            folder = folder.rpartition("/")[0]


def quota(folder: str) -> Iterator[int]:
    """Yield the quota of one cgroup, of version 2 or 1, if it has any."""
    texts = " ".join(lines_of(f"{folder}/cpu.max")).split()
    if not texts:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        texts = [text for name in names for text in lines_of(f"{folder}/{name}")]
    if len(texts) == 2 and all(map(str.isdigit, texts)) and int(texts[1]):
        yield max(1, -(-int(texts[0]) // int(texts[1])))


def lines_of(path: str) -> list[str]:
    """Return the lines of a small file, or none; `open` would take three times as long."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return os.read(file, 65536).decode(errors="replace").splitlines()
    finally:
        os.close(file)


def is_launcher(arguments: list[str]) -> bool:
    """Return whether this looks like a command that starts several processes for training."""
    return any(word.rpartition("/")[2] in LAUNCHERS for word in arguments[1:5])


def is_of_image(prefix: str) -> bool:
    """Return whether this Python runs in the image's environment or an overlay of it."""
    return prefix == IMAGE or os.path.exists(f"{packages_of(prefix)}/dlimg.pth")


def is_plain_python() -> bool:
    """Return whether this process is Python itself, not a program that embeds it."""
    return os.path.samefile("/proc/self/exe", sys.executable)


def is_pip(arguments: list[str]) -> bool:
    """Return whether this looks like `python -m pip ...` or `python .../bin/pip ...`."""
    names = [word.rpartition("/")[2] for word in arguments[1:5]]
    return any(map(is_name_of_pip, names))


def is_name_of_pip(name: str) -> bool:
    return name == "-mpip" or name.partition(".")[0] in ("pip", "pip3")


def pip_arguments(arguments: list[str]) -> list[str]:
    """Return what follows pip on a command line."""
    for at, word in enumerate(arguments[1:5], 2):
        if is_name_of_pip(word.rpartition("/")[2]):
            return arguments[at:]
    return []


def update(overlay: str) -> None:
    """Run the command that makes overlays."""
    command = [OVERLAY_COMMAND, overlay]
    os.spawnv(os.P_WAIT, OVERLAY_COMMAND, command)  # type: ignore[deprecated]  # noqa: S606


def packages_of(prefix: str) -> str:
    """Return the folder of an environment's packages."""
    return f"{prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


# Independent steps: each sets what depends on the machine or the kind of session.
STEPS: list[Callable[[MutableMapping[str, str]], None]] = [
    choose_environment,
    search_image,
    set_home,
    set_name,
    load_host_driver,
    set_variables,
    limit_threads,
    spare_launcher,
    set_without_gpu,
    complete_overlay,
    watch_pip,
    explain_refusals,
]


def main() -> None:
    """Do all steps, but once: site calls this for every path to the image's packages."""
    while STEPS:
        step = STEPS.pop(0)
        try:
            step(os.environ)
        except (ImportError, OSError, ValueError):
            continue
