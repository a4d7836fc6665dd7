"""The run that is written for another tool, and helpers of several formats. Pure."""

import re
import shlex
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from dlimg.errors import BadInput
from dlimg.run.model import CODE, OUTPUT, Mode, Mount, RunSpec

Format = Literal[
    "docker",
    "podman",
    "compose",
    "kubernetes",
    "kubeflow",
    "devcontainer",
    "apptainer",
    "skypilot",
    "dstack",
    "cloud-init",
]

NVIDIA_CDI: Final = "nvidia.com/gpu=all"
# The entry point of images, for tools that replace it.
_ENTRY_POINT: Final = "dlimg-entrypoint"
_LONGEST_LABEL: Final = 40
_SHELL_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\x85]")
# Exports each secret of a file below /run/secrets, then becomes the command.
_EXPORT_SECRETS: Final = (
    'while [ "$1" != -- ]; do export "$1=$(cat "/run/secrets/$1")"; shift; done; shift; exec "$@"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedRun:
    """A run to be written for another tool.

    `secrets` are names of variables. `driver` is the oldest NVIDIA driver that the image runs
    with; it is empty without a GPU, or if it is unknown.
    """

    spec: RunSpec
    mode: Mode = "command"
    secrets: tuple[str, ...] = ()
    driver: str = ""

    @property
    def name(self) -> str:
        """The run's name as a DNS label, which all tools take."""
        plain = unicodedata.normalize("NFKD", self.spec.run.name).encode("ascii", "ignore")
        label = re.sub(r"[^a-z0-9]+", "-", plain.decode().lower())[:_LONGEST_LABEL].strip("-")
        if not label:
            return "run"
        return label if label[0].isalpha() else f"run-{label}"

    @property
    def full_command(self) -> tuple[str, ...]:
        """The command for tools that replace the entry point, which a mode needs."""
        is_mode = self.mode != "command" and bool(self.spec.command)
        return (_ENTRY_POINT, *self.spec.command) if is_mode else self.spec.command

    @property
    def command_with_secrets(self) -> tuple[str, ...]:
        """The command, behind a shell that exports secrets from their files."""
        if not (self.secrets and self.spec.command):
            return self.spec.command
        return ("sh", "-c", _EXPORT_SECRETS, "sh", *self.secrets, "--", *self.full_command)

    def mount(self, target: str) -> Mount | None:
        return next((mount for mount in self.spec.mounts if mount.target == target), None)

    @property
    def code(self) -> str:
        """The folder that is /code; empty without one."""
        mount = self.mount(CODE)
        return mount.source if mount else ""

    @property
    def output(self) -> str:
        """The folder that is /output; empty without one."""
        mount = self.mount(OUTPUT)
        return mount.source if mount else ""

    @property
    def gpu_count(self) -> int:
        """The number of GPUs, for tools that ask for one; 1 if no device is named."""
        names = [name for name in self.spec.gpu.devices if not name.endswith("=all")]
        return len(names) or 1 if self.spec.gpu else 0


def quoted(arguments: tuple[str, ...]) -> str:
    """Return arguments quoted for a shell, with control characters escaped to keep one line."""
    return " ".join(_quoted(argument) for argument in arguments)


def _quoted(argument: str) -> str:
    if not _SHELL_CONTROL.search(argument):
        return shlex.quote(argument)
    text = argument.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _SHELL_CONTROL.sub(_escape, text) + "'"


def _escape(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode())


def comment(*lines: str) -> str:
    """Return lines as comments; none of them may have a line break."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def refuse(fault: str, tool: str, hint: str) -> BadInput:
    return BadInput(f"--print {tool}: {fault}", hint=hint)


def bytes_short(size: int) -> str:
    """Return a size as Docker writes it: `8g`, or `100m`, or in bytes."""
    for unit, factor in (("g", 2**30), ("m", 2**20)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
