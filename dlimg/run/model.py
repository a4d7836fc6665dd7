"""The values of a run: the request, the decision, the record. Pure.

`RunRequest` is what the user asks for. `RunSpec` is what dlimg decides, and all that the code
needs which starts or prints a run. `RunRecord` is kept on disk after the start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from dlimg.model import EMPTY_MAPPING

Mode = Literal["command", "jupyter", "ssh", "both"]
GpuChoice = Literal["auto", "gpu", "cpu"]
GpuKind = Literal["none", "cdi", "runtime", "gpus"]
MountKind = Literal["bind", "volume", "tmpfs"]
RunState = Literal["starting", "waiting", "running", "ended", "gone", "unknown"]

CODE: Final = "/code"
OUTPUT: Final = "/output"
DATA: Final = "/data"
STOP_SECONDS: Final = 120
# PyTorch's data loaders hand batches over in shared memory; Docker's default of 64 MB ends them.
SHM_BYTES: Final = 8 * 2**30
RUN_LABEL: Final = "io.dlimg.run"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunName:
    """The name and number of a run, such as `hello:3`."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}:{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """Data that the user asks for: a folder, a file, `RUN/output` or stored data, and its name."""

    source: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """A port of the container and the one on this machine; 0 lets the engine choose."""

    container: int
    host: int = 0
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLayer:
    """A project's additions to an image: packages of PyPI and apt, lines for a shell."""

    packages: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.packages or self.apt or self.setup)


NO_LAYER: Final = ProjectLayer()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """The user's request; empty fields are decided by dlimg.

    `env` is a framework with or without a version, a tag or a cell. `variables` are set in the
    container, `secrets` are names of variables of this machine.
    """

    folder: Path
    command: tuple[str, ...] = ()
    name: str = ""
    env: str = ""
    gpu: GpuChoice = "auto"
    device: str = ""
    mode: Mode = "command"
    data: tuple[DataRequest, ...] = ()
    output: str = ""
    variables: Mapping[str, str] = field(default_factory=lambda: EMPTY_MAPPING)
    secrets: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    detach: bool = False
    terminal: bool = False
    queue: bool = False
    stop_seconds: int = STOP_SECONDS
    layer: ProjectLayer = NO_LAYER


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuAccess:
    """The way in which the engine gives GPUs to a container.

    `cdi`: by the names in `devices`; `runtime`: by NVIDIA's runtime; `gpus`: by `--gpus all`.
    """

    kind: GpuKind = "none"
    devices: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.kind != "none"

    def __str__(self) -> str:
        texts = {"none": "no GPU", "runtime": "NVIDIA's runtime", "gpus": "--gpus all"}
        return texts.get(self.kind) or ", ".join(self.devices)


NO_GPU: Final = GpuAccess()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder, file or volume in the container; a tmpfs has no source."""

    kind: MountKind
    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeState:
    """The state of the code: a git commit, `dirty` with changes, or else a digest of the files."""

    commit: str = ""
    dirty: bool = False
    digest: str = ""

    def __str__(self) -> str:
        if self.commit:
            return f"git {self.commit[:12]}{' with changes' if self.dirty else ''}"
        return self.digest[:19]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A summary of a folder that changes with it; `files` is -1 for a folder too large to count."""

    files: int
    size: int
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """Data of a run: its name, its source, and the source's state when the run started."""

    name: str
    source: str
    kind: Literal["bind", "volume"] = "bind"
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The decision: all that is needed to start the container, in any tool's format.

    `digest` is that of the image which `image` names now. `entrypoint` replaces the image's if it
    is not empty; `command` are the arguments after the image. `user` is empty for the image's own.
    `security` are security options of the engine, such as one that disables SELinux's labels.
    """

    run: RunName
    image: str
    digest: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    variables: Mapping[str, str] = field(default_factory=lambda: EMPTY_MAPPING)
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY_MAPPING)
    gpu: GpuAccess = NO_GPU
    user: str = ""
    security: tuple[str, ...] = ()
    working_folder: str = CODE
    shm_bytes: int = SHM_BYTES
    stop_seconds: int = STOP_SECONDS
    terminal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The record of a run; times are ISO 8601 texts in UTC, `exit_code` is None until its end.

    `host` is the address of its engine, `base` its folder on another machine, below the home.
    `remarks` say what went wrong by its end: out of memory, a full disk, changed data. `origin` is
    the user and machine of a run that was started elsewhere; such a record is not written.
    """

    run: RunName
    container: str
    host: str
    image: str
    digest: str
    command: tuple[str, ...]
    folder: str
    output: str
    mode: Mode = "command"
    gpu: str = ""
    code: CodeState = CodeState()
    data: tuple[RunData, ...] = ()
    secrets: tuple[str, ...] = ()
    queue: bool = False
    terminal: bool = False
    base: str = ""
    origin: str = ""
    created: str = ""
    started: str = ""
    finished: str = ""
    exit_code: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChoice:
    """The image of a run: names to try in this order, and the cell that they belong to.

    `cell` is empty for an image that the user names; `reason` says how it was chosen. `driver` is
    the oldest NVIDIA driver that it runs with, empty for a CPU or if unknown; `driver_source` is
    where NVIDIA states it. `download` is the approximate size of a pull in bytes, 0 if unknown.
    """

    names: tuple[str, ...]
    cell: str = ""
    is_cuda: bool = False
    driver: str = ""
    driver_source: str = ""
    download: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A run's record with its state now, and its ports: the container's, and the machine's.

    `holds` is the GPU that a queued run has got.
    """

    record: RunRecord
    state: RunState
    ports: Mapping[int, int] = field(default_factory=dict)
    holds: str = ""

    @property
    def is_live(self) -> bool:
        return self.state in {"starting", "waiting", "running"}
