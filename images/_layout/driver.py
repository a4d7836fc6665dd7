"""Questions to NVIDIA's driver, asked of its libraries without nvidia-smi.

A child process asks them, because those of a half-mounted driver may crash or never answer. The
entry point runs this at every start: modules that take long to import are left out.
"""

import os
import select
import time
from _collections_abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes

CUDA = "libcuda.so.1"
MANAGEMENT = "libnvidia-ml.so.1"
SECONDS = 5.0
SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV"}
KILL = 9
# Attributes of cuDeviceGetAttribute: the compute capability before and after its dot.
CAPABILITY = (75, 76)
LENGTH = 96
Say = Callable[..., None]


class Gpu:
    """A GPU that the driver shows; `fault` is its error where it does not answer."""

    def __init__(self, name: str, capability: str, memory: int = 0, fault: str = "") -> None:
        self.name = name
        self.capability = capability
        self.memory = memory
        self.fault = fault


class Answer:
    """The driver's answer.

    `version` is the driver's, `cuda` the number that its CUDA library states, such as 13020.
    `missing` has the loader's complaint by library, `refused` NVML's code and text, `died` the
    signal that ended the child; `is_silent` is true where it did not end in time. `rows` are lines
    of other work.
    """

    def __init__(self) -> None:
        self.version = ""
        self.cuda = 0
        self.gpus: list[Gpu] = []
        self.missing: dict[str, str] = {}
        self.refused: tuple[int, str] | None = None
        self.died = ""
        self.is_silent = False
        self.rows: list[tuple[str, ...]] = []


class Question:
    """A child process that asks the driver or does other work, while this one goes on."""

    def __init__(self, ask: Callable[[Say], None] | None = None, seconds: float = 0) -> None:
        self.read, write = os.pipe()
        self.deadline = time.monotonic() + (seconds or SECONDS)
        self.child = os.fork()
        if not self.child:
            run_child(write, ask or ask_driver)
        os.close(write)

    def cancel(self) -> None:
        """End the child, whose answer nobody needs; whoever started this process takes it over."""
        os.kill(self.child, KILL)
        os.close(self.read)

    def answer(self) -> Answer:
        """Return what the child has written by its end, or by the end of its time."""
        answer, text = Answer(), b""
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                # A process that hangs in the kernel cannot be waited for.
                os.kill(self.child, KILL)
                answer.is_silent = True
                break
            part = os.read(self.read, 65536)
            if not part:
                status = os.waitpid(self.child, 0)[1]
                number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                answer.died = SIGNALS.get(number, f"signal {number}") if number else ""
                break
            text += part
        os.close(self.read)
        for line in text.decode(errors="replace").splitlines():
            note(answer, *line.split("\t"))
        return answer


def note(answer: Answer, kind: str, *values: str) -> None:
    """Write one line of the child into the answer."""
    if kind == "driver":
        answer.version = values[0]
    elif kind == "cuda":
        answer.cuda = int(values[0])
    elif kind == "gpu":
        answer.gpus.append(Gpu(values[0], values[1], int(values[2]), values[3]))
    elif kind == "missing":
        answer.missing[values[0]] = values[1]
    elif kind == "refused":
        answer.refused = int(values[0]), values[1]
    else:
        answer.rows.append((kind, *values))


def run_child(write: int, ask: Callable[[Say], None]) -> None:
    """Ask and exit; messages of the libraries themselves are dropped."""

    def say(*values: object) -> None:
        fields = (str(value).replace("\t", " ").replace("\n", " ") for value in values)
        os.write(write, ("\t".join(fields) + "\n").encode())

    try:
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        ask(say)
    finally:
        os._exit(0)


def ask_driver(say: Say) -> None:
    """Ask NVML, and CUDA's library for its version; without NVML, CUDA's library for all."""
    import ctypes

    try:
        has_gpus = ask_management(say, ctypes.CDLL(MANAGEMENT))
    except OSError as error:
        has_gpus = False
        say("missing", MANAGEMENT, error)
    try:
        library = ctypes.CDLL(CUDA)
    except OSError as error:
        say("missing", CUDA, error)
        return
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)) == 0:
        say("cuda", number.value)
    if not has_gpus:
        ask_cuda(say, library)


def ask_management(say: Say, library: "ctypes.CDLL") -> bool:
    """Ask NVML; return whether it has answered, with GPUs or without."""
    import ctypes

    code = library.nvmlInit_v2()
    if code:
        library.nvmlErrorString.restype = ctypes.c_char_p
        say("refused", code, text_of(library.nvmlErrorString(code)))
        return True
    text, number = ctypes.create_string_buffer(LENGTH), ctypes.c_uint()
    if library.nvmlSystemGetDriverVersion(text, LENGTH) == 0:
        say("driver", text_of(text.value))
    if library.nvmlDeviceGetCount_v2(ctypes.byref(number)) != 0:
        return False
    for index in range(number.value):
        say("gpu", *gpu_of(library, index))
    return True


def gpu_of(library: "ctypes.CDLL", index: int) -> tuple[str, str, int, str]:
    """Return a GPU's name, capability, bytes of memory, and fault."""
    import ctypes

    handle, text = ctypes.c_void_p(), ctypes.create_string_buffer(LENGTH)
    before, after = ctypes.c_int(), ctypes.c_int()
    memory = (ctypes.c_ulonglong * 3)()  # all, free and used
    code = library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    if code == 0:
        library.nvmlDeviceGetName(handle, text, LENGTH)
        library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        code = library.nvmlDeviceGetCudaComputeCapability(
            handle, ctypes.byref(before), ctypes.byref(after)
        )
    fault = ""
    if code:
        library.nvmlErrorString.restype = ctypes.c_char_p
        fault = text_of(library.nvmlErrorString(code)) or f"error {code}"
    capability = "" if code else f"{before.value}.{after.value}"
    return text_of(text.value), capability, memory[0], fault


def ask_cuda(say: Say, library: "ctypes.CDLL") -> None:
    """Ask CUDA's library for the GPUs, which takes longer than NVML."""
    import ctypes

    code = library.cuInit(0)
    if code:
        say("refused", 0, f"cuInit returns {code}")
        return
    number, text = ctypes.c_int(), ctypes.create_string_buffer(LENGTH)
    library.cuDeviceGetCount(ctypes.byref(number))
    for index in range(number.value):
        library.cuDeviceGetName(text, LENGTH, index)
        parts = []
        for attribute in CAPABILITY:
            value = ctypes.c_int()
            library.cuDeviceGetAttribute(ctypes.byref(value), attribute, index)
            parts.append(str(value.value))
        say("gpu", text_of(text.value), ".".join(parts), 0, "")


def text_of(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
