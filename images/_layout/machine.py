"""The memory, disks, mounts, processes and devices of a container, read from files.

`root` is the root of the file system, for tests.
"""

import os
from _collections_abc import Iterator

CGROUPS = "sys/fs/cgroup"
PCI = "sys/bus/pci/devices"
NVIDIA = "0x10de"
FEW_FILES = 1000
DISPLAY = "0x03"  # VGA and 3D controllers; an NVIDIA card's sound is no GPU
# Where engines and hosts mount what is nobody's to write to.
NOT_DATA = ("proc", "sys", "dev", "run", "etc", "usr", "lib", "lib64", "var/run")


def text_of(path: str) -> str:
    """Return the text of a file without its last newline; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def device_files(root: str = "/") -> list[str]:
    """Return the device files of NVIDIA's GPUs; WSL's is `dxg`, Jetson's `nvmap`."""
    names = names_in(f"{root}dev")
    return [name for name in names if name in ("dxg", "nvmap") or is_nvidia(name)]


def is_nvidia(name: str) -> bool:
    rest = name.removeprefix("nvidia")
    return name.startswith("nvidia") and (rest.isdigit() or rest in ("ctl", "-uvm"))


def gpu_files(root: str = "/") -> int:
    """Return the number of GPUs that have a device file."""
    return sum(name.removeprefix("nvidia").isdigit() for name in device_files(root))


def kernel_driver(root: str = "/") -> str:
    """Return the version of NVIDIA's kernel module, which every container can read; or empty."""
    words = text_of(f"{root}proc/driver/nvidia/version").partition("\n")[0].split()
    versions = [word for word in words if "." in word and word.replace(".", "").isdigit()]
    return versions[0] if versions else ""


def has_card(root: str = "/") -> bool:
    """Return whether an NVIDIA GPU is on the machine's bus, with a driver or without."""
    cards = (f"{root}{PCI}/{name}" for name in names_in(f"{root}{PCI}"))
    return any(
        text_of(f"{card}/vendor") == NVIDIA and text_of(f"{card}/class").startswith(DISPLAY)
        for card in cards
    )


def limit(name: str, old_folder: str, root: str = "/") -> int:
    """Return the lowest number in a cgroup's file, of version 2 or 1; 0 for none."""
    places = {f"{root}{CGROUPS}", f"{root}{CGROUPS}/{old_folder}"}
    for line in text_of(f"{root}proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers or old_folder in controllers.split(","):
            folder = f"/{old_folder}" if controllers else ""
            while path.strip("/"):
                places.add(f"{root}{CGROUPS}{folder}{path.rstrip('/')}")
                path = path.rstrip("/").rpartition("/")[0]
    texts = (text_of(f"{place}/{name}") for place in places)
    return min((int(text) for text in texts if text.isdigit()), default=0)


def memory(root: str = "/") -> int:
    """Return the bytes of memory that this container may use."""
    total = 0
    for line in text_of(f"{root}proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    limits = (limit("memory.max", "memory", root), limit("memory.limit_in_bytes", "memory", root))
    return min(number for number in (total, *limits) if number) if total else max(limits)


def processes(root: str = "/") -> tuple[int, int]:
    """Return how many processes and threads this container may have, 0 for no limit, and has."""
    return limit("pids.max", "pids", root), limit("pids.current", "pids", root)


def user_processes(root: str = "/") -> int:
    """Return how many processes and threads this user may have, 0 for no limit."""
    for line in text_of(f"{root}proc/self/limits").splitlines():
        if line.startswith("Max processes"):
            soft = line.split()[2]
            return int(soft) if soft.isdigit() else 0
    return 0


def mounts(root: str = "/") -> Iterator[tuple[str, bool]]:
    """Yield mount points, and whether they may be written to, by proc(5)."""
    for line in text_of(f"{root}proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        path = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        yield path, "rw" in fields[5].split(",")


def mounted_folders(root: str = "/") -> list[str]:
    """Return folders that were mounted for data, and that are not mounted read-only."""
    paths = dict.fromkeys(path for path, is_writable in mounts(root) if is_writable)
    return [path for path in paths if is_for_data(path) and os.path.isdir(f"{root}{path[1:]}")]


def is_for_data(path: str) -> bool:
    inner = path.strip("/")
    return bool(inner) and not any(
        inner == folder or inner.startswith(f"{folder}/") for folder in NOT_DATA
    )


def disk(path: str) -> tuple[int, int] | None:
    """Return the bytes of a writable disk, and those that are free for this user."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    if status.f_flag & os.ST_RDONLY or not status.f_blocks:
        return None
    return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


def has_few_files_left(path: str) -> bool:
    """Return whether the disk has few inodes left; some file systems count none."""
    status = os.statvfs(path)
    return status.f_files > 0 and status.f_favail < min(FEW_FILES, status.f_files // 20)
