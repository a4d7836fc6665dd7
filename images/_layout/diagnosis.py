"""Run by the entry point: a sentence on stderr for each thing that will not work here, and why.

With DLIMG_STRICT=1 the exit code is ABORT if there was anything to say. docs/vm.md has the table.
"""

import os
import sys
import time
from _collections_abc import Callable, Iterator, Mapping

sys.path.append("/usr/local/lib/dlimg")
import driver
import machine

IMAGE = "/etc/dlimg/image.json"
OVERLAY = "{{ cell.user.overlay }}".lstrip("/")
ABORT = 78
MIB = 2**20
GIB = 2**30
SMALL_SHARED_MEMORY = 64 * MIB
FEW_PROCESSES = 512
# For all of it; a driver has fewer.
SECONDS = 8.0
DONE = "done"
# Frameworks whose data loaders hand over batches in shared memory.
LOADERS = ("torch", "vllm")
REFUSALS = {
    9: "load the driver's module on the host: `modprobe nvidia`",
    4: "let this user read and write /dev/nvidia*",
    15: "a GPU has fallen off the bus: read the kernel's log, then restart the machine",
    16: "a GPU has to be reset, or the machine restarted",
}
MISMATCH = 18
GIVE_GPUS = "start it with `--gpus all`, or by CDI with `--device nvidia.com/gpu=all`"
MAKE_ROOM = "make room on the host (`docker system df`), or mount a larger disk there"
NOT_NEEDED = "`-e DLIMG_QUIET=1` if no GPU is needed"
WRITE_CDI = (
    "write the CDI file anew on the host, `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
)
WHOLE_DRIVER = f"{WRITE_CDI}; NVIDIA_DRIVER_CAPABILITIES has to hold `compute,utility`"
# Apptainer has this folder in every container, and gives GPUs and their driver by one option.
APPTAINER = ".singularity.d"
NV = (
    "start it with `--nv` on a machine with NVIDIA's driver, or with `--env DLIMG_QUIET=1` if no "
    "GPU is needed"
)
WITHOUT_NV = ("gpu-not-given", "no-gpu", "driver-incomplete")
# Where the loader and hosts look for the driver.
FOLDERS = (
    f"usr/lib/{os.uname().machine}-linux-gnu",
    *("usr/lib64", "usr/lib", "usr/local/nvidia/lib64"),
)


class Finding:
    """A thing that will not work, and its remedy; `name` is for programs."""

    def __init__(self, name: str, message: str, remedy: str) -> None:
        self.name = name
        self.message = message
        self.remedy = remedy


def findings(
    environment: Mapping[str, str], image_file: str = IMAGE, root: str = "/"
) -> Iterator[Finding]:
    """Yield all findings; the driver is asked while files are read."""
    question = driver.Question() if machine.device_files(root) else None
    import json  # it takes some milliseconds, while the driver answers

    with open(image_file, encoding="utf-8") as file:
        image = json.load(file)
    rest = list(machine_findings(image, environment, root))
    answer = None
    if question and wants_gpu(image, environment):
        answer = question.answer()
    elif question:
        question.cancel()
    yield from gpu_findings(image, answer, environment, root)
    yield from rest


def gpu_findings(
    image: Mapping[str, object],
    answer: driver.Answer | None,
    environment: Mapping[str, str],
    root: str = "/",
) -> Iterator[Finding]:
    """Yield faults of the GPU or its driver; `answer` is None without a device file."""
    if not wants_gpu(image, environment):
        return
    if answer is None:
        found = no_device(image, root)
    else:
        found = driver_findings(image, answer, environment, root)
    for finding in found:
        if finding.name in WITHOUT_NV and os.path.exists(f"{root}{APPTAINER}"):
            finding.remedy = NV
        yield finding


def wants_gpu(image: Mapping[str, object], environment: Mapping[str, str]) -> bool:
    """Return whether the image is for a GPU, and was not started without one on purpose."""
    if not image["cuda"]:
        return False
    devices = environment.get("NVIDIA_VISIBLE_DEVICES", "all")
    return devices not in ("none", "void") and environment.get("CUDA_VISIBLE_DEVICES") not in (
        "",
        "-1",
    )


def no_device(image: Mapping[str, object], root: str) -> Iterator[Finding]:
    """Yield the reason why the container has no device file of a GPU."""
    version = machine.kernel_driver(root)
    if version:
        message = f"the machine has NVIDIA driver {version}, and this container was given no GPU"
        yield Finding("gpu-not-given", message, f"{GIVE_GPUS}; {NOT_NEEDED}")
    elif machine.has_card(root):
        floor = f" {at_least(image)} or newer" if at_least(image) else ""
        message = "this machine has an NVIDIA GPU, and no driver of it runs"
        remedy = f"install NVIDIA's driver{floor} on the host; the image has everything else"
        yield Finding("no-driver", message, remedy)
    else:
        message = "this is a CUDA image, and neither an NVIDIA GPU nor its driver is visible"
        remedy = f"{GIVE_GPUS}; else take a machine with a GPU or a `cpu` tag; {NOT_NEEDED}"
        yield Finding("no-gpu", message, remedy)


def driver_findings(
    image: Mapping[str, object],
    answer: driver.Answer,
    environment: Mapping[str, str],
    root: str = "/",
) -> Iterator[Finding]:
    """Yield the first fault of the driver for this image, which may cause the others."""
    if answer.is_silent or answer.died:
        yield no_answer(answer)
    elif driver.CUDA in answer.missing:
        yield does_not_load(answer.missing[driver.CUDA], root)
    elif answer.refused:
        yield refusal(*answer.refused, root)
    elif is_mixed(answer, root):
        yield mixed(answer.version, machine.kernel_driver(root))
    elif is_too_old(image, answer):
        name = f"driver {answer.version}" if answer.version else "the driver"
        message = f"{name} is too old for CUDA {image['cuda']}, which needs {at_least(image)}"
        message = f"{message} or newer"
        remedy = "update the driver on the host, or take the tag that `dlimg pick` names for it"
        yield Finding("driver-too-old", message, remedy)
    elif not answer.gpus:
        message = f"NVIDIA's driver {answer.version} shows no GPU"
        remedy = f"{GIVE_GPUS}; on the host, the kernel's log names a GPU that does not start"
        yield Finding("driver-without-gpu", message, remedy)
    else:
        yield from unusable_gpus(image, answer, environment, root)


def no_answer(answer: driver.Answer) -> Finding:
    """Return the finding for a driver whose libraries crash or hang."""
    remedy = f"{WRITE_CDI}; if it stays, restart the host"
    if answer.died:
        message = f"NVIDIA's driver libraries crash when they are asked ({answer.died})"
        return Finding("driver-crashes", message, remedy)
    message = f"NVIDIA's driver has not answered for {driver.SECONDS:.0f} seconds"
    remedy = "`nvidia-smi -pm 1` on the host keeps it loaded; if it stays, restart the host"
    return Finding("driver-silent", message, remedy)


def does_not_load(complaint: str, root: str) -> Finding:
    """Return the finding for a CUDA library of the driver that is missing, or does not load."""
    for folder in FOLDERS:
        path = f"{root}{folder}/{driver.CUDA}"
        if os.path.islink(path) and not os.path.exists(path):
            message = (
                f"/{folder}/{driver.CUDA} leads to {os.readlink(path)}, which does not exist: "
                "the CDI file is of another driver"
            )
            return Finding("driver-stale", message, WRITE_CDI)
        if os.path.exists(path):
            message = f"the driver is mounted in part: {complaint}"
            return Finding("driver-incomplete", message, WHOLE_DRIVER)
    message = f"a GPU's device files are here, and the driver's {driver.CUDA} is not"
    return Finding("driver-incomplete", message, WHOLE_DRIVER)


def refusal(code: int, text: str, root: str) -> Finding:
    """Return the finding for a driver that answers with an error."""
    if code == MISMATCH:
        return mixed("", machine.kernel_driver(root))
    message = f"NVIDIA's driver refuses: {text}"
    return Finding("driver-refuses", message, REFUSALS.get(code, "read the kernel's log"))


def is_mixed(answer: driver.Answer, root: str) -> bool:
    version = machine.kernel_driver(root)
    return bool(version and answer.version) and version != answer.version


def mixed(library: str, kernel: str) -> Finding:
    """Return the finding for libraries and a kernel module of different drivers."""
    message = f"the driver's libraries are of another version than the kernel's module {kernel}"
    if library:
        message = f"the libraries are of driver {library}, and the kernel has {kernel}"
    remedy = f"restart the host after an update of the driver, or {WRITE_CDI}"
    return Finding("driver-mixed", message, remedy)


def is_too_old(image: Mapping[str, object], answer: driver.Answer) -> bool:
    """Return whether this driver cannot run the image's CUDA, not even with cuda-compat."""
    floor = at_least(image)
    if not floor or (answer.version and numbers(answer.version) >= numbers(floor)):
        return False
    is_known = answer.version or answer.cuda
    return bool(is_known) and answer.cuda // 1000 < numbers(str(image["cuda"]))[0]


def unusable_gpus(
    image: Mapping[str, object],
    answer: driver.Answer,
    environment: Mapping[str, str],
    root: str,
) -> Iterator[Finding]:
    """Yield GPUs that do not answer or that the image has no code for."""
    for index, gpu in enumerate(answer.gpus):
        if gpu.fault:
            message = f"GPU {index} does not answer: {gpu.fault}"
            yield Finding("gpu-silent", message, "read the kernel's log, then restart the host")
    architectures = image["gpu_architectures"]
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    known = [(index, gpu) for index, gpu in enumerate(answer.gpus) if gpu.capability]
    foreign = [(i, gpu) for i, gpu in known if names and not has_code(names, gpu.capability)]
    # Of several GPUs, the variable may have chosen those that work.
    if foreign and (len(foreign) == len(known) or "CUDA_VISIBLE_DEVICES" not in environment):
        index, gpu = foreign[0]
        number = gpu.capability.replace(".", "")
        message = (
            f"GPU {index} ({gpu.name}, sm_{number}) is none that this build has code for: "
            f"{' '.join(names)}"
        )
        remedy = f"take the tag that `dlimg pick --gpu '{gpu.name}'` names, or another GPU"
        yield Finding("gpu-without-code", message, remedy)
    files = machine.device_files(root)
    if "nvidiactl" in files and "nvidia-uvm" not in files:
        message = "the device file /dev/nvidia-uvm is missing, without which CUDA does not start"
        remedy = f"`nvidia-modprobe -u -c=0` on the host, then {WRITE_CDI}"
        yield Finding("device-missing", message, remedy)


def has_code(architectures: list[str], capability: str) -> bool:
    """Return whether one of these is machine code for this GPU, or PTX that it may compile."""
    gpu = numbers(capability)
    for name in architectures:
        kind, _, digits = name.partition("_")
        code = [int(digits[:-1]), int(digits[-1])]
        if kind == "compute" and gpu >= code:
            return True
        if kind == "sm" and gpu[0] == code[0] and gpu >= code:
            return True
    return False


def at_least(image: Mapping[str, object]) -> str:
    stated = image["driver"]
    return str(stated.get("at_least", "")) if isinstance(stated, dict) else ""


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def machine_findings(
    image: Mapping[str, object], environment: Mapping[str, str], root: str = "/"
) -> Iterator[Finding]:
    """Yield faults of the container: its limits, disks, folders, and the age of the image."""
    shared = machine.disk(f"{root}dev/shm") or (0, 0)
    # NCCL uses it between several GPUs.
    has_several = wants_gpu(image, environment) and machine.gpu_files(root) > 1
    uses_it = has_several or image["module"] in LOADERS
    if shared[0] <= SMALL_SHARED_MEMORY and uses_it:
        size = f"{shared[0] // MIB} MB"
        message = f"shared memory has {size}: data loaders and NCCL fail with `Bus error`"
        yield Finding("small-shm", message, "start the container with `--shm-size 8g`")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: process_findings(root),
        lambda: disk_findings(environment, root),
        lambda: folder_findings(root),
        lambda: overlay_findings(image, environment, root),
        lambda: age_findings(image, today),
    )
    for part in parts:
        try:
            yield from part()
        except (OSError, ValueError):
            continue  # a disk that does not answer hides no other part


def process_findings(root: str) -> Iterator[Finding]:
    """Yield a limit of processes and threads that frameworks would soon reach."""
    most, present = machine.processes(root)
    if most and most - present < FEW_PROCESSES:
        message = f"this container may have {most} processes and threads, and has {present}"
        yield Finding("few-pids", message, "start it with `--pids-limit 4096`, or -1 for no limit")
        return
    most = machine.user_processes(root)
    if most and most < FEW_PROCESSES and os.geteuid():
        message = f"this user may have {most} processes and threads"
        yield Finding("few-pids", message, "start the container with `--ulimit nproc=-1`")


def disk_findings(environment: Mapping[str, str], root: str) -> Iterator[Finding]:
    """Yield disks that are nearly full: below 1 GiB or a twentieth of smaller ones, or of files."""
    home = environment.get("HOME", "").lstrip("/")
    paths = ["", "tmp", home, "code", "data", "output", *of_data(root)]
    seen = set()
    for path in dict.fromkeys(paths):
        space = machine.disk(f"{root}{path}")
        number = os.stat(f"{root}{path}").st_dev if space else 0
        if space and number not in seen and space[1] < min(GIB, space[0] // 20):
            message = f"the disk of /{path} has {space[1] // MIB} MB left"
            yield Finding("disk-full", message, MAKE_ROOM)
        elif space and number not in seen and machine.has_few_files_left(f"{root}{path}"):
            message = f"the disk of /{path} takes hardly any more files: its inodes are used up"
            yield Finding("disk-full", message, MAKE_ROOM)
        seen.add(number)


def of_data(root: str) -> list[str]:
    return [path.lstrip("/") for path in machine.mounted_folders(root)]


def folder_findings(root: str) -> Iterator[Finding]:
    """Yield mounted folders that this user cannot write to."""
    for path in of_data(root):
        if not os.access(f"{root}{path}", os.W_OK):
            owner = os.stat(f"{root}{path}").st_uid
            message = (
                f"/{path} is mounted, belongs to user {owner}, and user {os.geteuid()} "
                "cannot write there"
            )
            remedy = 'start with `--user "$(id -u):$(id -g)"` of its owner, or mount it with `:ro`'
            yield Finding("folder-not-writable", message, remedy)


def overlay_findings(
    image: Mapping[str, object], environment: Mapping[str, str], root: str
) -> Iterator[Finding]:
    """Yield an environment whose packages were installed with another image."""
    own = f"tmp/home-{os.geteuid()}/env"
    given = environment.get("DLIMG_OVERLAY", "").strip("/")
    for path in dict.fromkeys((given or OVERLAY, OVERLAY, own)):
        folder = f"{root}{path}/lib/python{image['python']}/site-packages"
        made_by = machine.text_of(f"{folder}/dlimg.image")
        packages = [name for name in machine.names_in(folder) if name.endswith(".dist-info")]
        if packages and made_by and made_by != image["packages"]:
            message = (
                f"packages in /{path} ({len(packages)}) were installed under another image, and "
                "come before this one's"
            )
            remedy = "`dlimg-reset` empties it; `dlimg-overlay --name NAME` makes another"
            yield Finding("other-overlay", message, remedy)


def age_findings(image: Mapping[str, object], today: str) -> Iterator[Finding]:
    """Yield a part of the image that gets no security fixes any more."""
    ends = image["end_of_life"]
    for end in ends if isinstance(ends, list) else []:
        if today > end["day"]:
            message = f"{end['part']} in this image has had no security fixes since {end['day']}"
            remedy = "take a newer tag; the old one stays as it is, for what has to be repeated"
            yield Finding("end-of-life", message, remedy)
            return


def examine() -> list[Finding]:
    """Return all findings of a child process, because a mounted disk may never answer."""

    def work(say: driver.Say) -> None:
        try:
            for finding in findings(os.environ):
                say(finding.name, finding.message, finding.remedy)
            say(DONE)
        except Exception as error:  # noqa: BLE001 - whatever it is must not stop the command
            say(DONE, repr(error))

    answer = driver.Question(work, SECONDS).answer()
    found = [Finding(*row) for row in answer.rows if row[0] != DONE]
    ends = [row for row in answer.rows if row[0] == DONE]
    if ends == [(DONE,)]:
        return found
    why = f"within {SECONDS:.0f} seconds" if answer.is_silent else answer.died
    message = f"this container could not be examined {ends[0][1] if ends else why}"
    remedy = "see whether its mounted folders answer; `DLIMG_QUIET=1` leaves the examination out"
    return [*found, Finding("not-examined", message, remedy)]


def main() -> None:
    found = examine()
    for finding in found:
        print(f"dlimg: {finding.message}\n  hint: {finding.remedy}", file=sys.stderr)
    if found and os.environ.get("DLIMG_STRICT") == "1":
        print("dlimg: DLIMG_STRICT=1: the command was not started", file=sys.stderr)
        sys.exit(ABORT)
