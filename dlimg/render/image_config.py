"""The config of an image as data: environment, user, folders, entry point, command, ports.

Templates print it, the layers builder writes it, and checks compare it with an engine's answer.
Every variable has a source: the layout, the framework, or `env:` in the matrix.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from dlimg.model import Cell, EnvVar, Flavour, Framework

SECOND: Final = 1_000_000_000  # in nanoseconds, the unit of engines

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORKDIR: Final = "/code"
SHELL: Final = ("/bin/bash", "-euo", "pipefail", "-c")
ENTRYPOINT: Final = ("/usr/bin/tini", "-s", "--", "dlimg-entrypoint")
NOTEBOOK_PORT: Final = 8888
# Of the mode `ssh`, unless root runs it.
SSH_PORT: Final = 2222
# Where hosts such as Google's mount NVIDIA's driver, without the loader's cache. The command's
# folder comes last: the image's own commands are the first.
DRIVER_COMMANDS: Final = "/usr/local/nvidia/bin"
DRIVER_LIBRARIES: Final = "/usr/local/nvidia/lib64"
# A mode of the entry point.
JUPYTER: Final = ("jupyter",)
HEALTHCHECK: Final = MappingProxyType(
    {
        "Test": ["CMD", "/usr/local/bin/dlimg-healthcheck"],
        "Interval": 30 * SECOND,
        "Timeout": 10 * SECOND,
        "StartPeriod": 60 * SECOND,
        "Retries": 3,
    }
)

NO_FRAMEWORK: Final = Framework()
# The program that a variable changes, by patterns of names.
_EFFECTS: Final = (
    (r"LD_.*|GLIBC_TUNABLES|MALLOC_.*|LOCPATH", "the loader and the C library"),
    (r"PYTHON.*|VIRTUAL_ENV", "Python"),
    (r"PIP_.*", "pip"),
    (r"UV_.*", "uv"),
    (r"SSL_.*|OPENSSL_.*|SSLKEYLOGFILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE", "TLS"),
    (r"(?i:.*_proxy)", "the network"),
    (r"GIT_.*|SSH_.*", "git and ssh"),
    (r"ENV|BASH.*|SHELL.*|PROMPT_COMMAND|IFS|CDPATH|PS[0-4]|INPUTRC", "the shell"),
    (r"APT_.*|DPKG_.*|DEBIAN_.*", "apt and dpkg"),
    (r"(CUDA|NVIDIA|CUDNN|CUBLAS|NCCL)_.*", "CUDA"),
    (r"(OMP|KMP|GOMP|MKL|OPENBLAS|BLIS)_.*", "the framework's threads"),
    (r"JUPYTER.*", "Jupyter"),
    (r"DLIMG_.*|PATH|HOME|USER|LOGNAME|LANG|LC_.*|TZ|TMPDIR", "a promise of the layout"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The run configuration of an image, as in an OCI config; empty fields are not set."""

    env: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    healthcheck: Mapping[str, Any] = field(default_factory=dict)

    def on(self, below: "ImageConfig") -> "ImageConfig":
        """Return this config on top of that of the stage below; a variable keeps its place."""
        env = {variable.partition("=")[0]: variable for variable in (*below.env, *self.env)}
        return ImageConfig(
            env=tuple(env.values()),
            labels={**below.labels, **self.labels},
            workdir=self.workdir or below.workdir,
            user=self.user or below.user,
            entrypoint=self.entrypoint or below.entrypoint,
            cmd=self.cmd or below.cmd,
            exposed=tuple(sorted({*below.exposed, *self.exposed})),
            shell=self.shell or below.shell,
            healthcheck=self.healthcheck or below.healthcheck,
        )


def image_environment(cell: Cell) -> Mapping[str, EnvVar]:
    """Return the image's variables by name: the layout's, the framework's, the matrix's."""
    framework = cell.framework.cuda_env if cell.is_cuda else ()
    variables = [*_layout_variables(cell), *framework, *cell.env]
    return {variable.name: variable for variable in variables}


def image_config(cell: Cell, labels: Mapping[str, str]) -> ImageConfig:
    """Return the config of the cell's image, without the base's."""
    is_notebook = cell.flavour is Flavour.WORKSPACE
    variables = image_environment(cell).values()
    return ImageConfig(
        env=tuple(f"{variable.name}={variable.value}" for variable in variables),
        labels=dict(labels),
        workdir=WORKDIR,
        user=cell.user.numbers,
        entrypoint=ENTRYPOINT,
        cmd=JUPYTER if is_notebook else ("bash",),
        exposed=exposed_ports(cell),
        shell=SHELL,
        healthcheck=dict(HEALTHCHECK) if is_notebook else {},
    )


def exposed_ports(cell: Cell) -> tuple[str, ...]:
    """Return the ports that an image may serve: those of its modes, and the matrix's."""
    modes = {NOTEBOOK_PORT, SSH_PORT} if cell.flavour is Flavour.WORKSPACE else set()
    return tuple(sorted({*(f"{port}/tcp" for port in modes), *cell.additions.ports}))


def affected_program(name: str, framework: Framework = NO_FRAMEWORK) -> str:
    """Return the program that a variable of this name changes, or an empty text."""
    if name.startswith(framework.variables):
        return "the framework"
    return next((program for pattern, program in _EFFECTS if re.fullmatch(pattern, name)), "")


def environment_lines(cell: Cell) -> Iterator[tuple[str, str]]:
    """Yield a comment (or an empty text) and the arguments of each ENV instruction."""
    environment = image_environment(cell).values()
    plain = [_line(variable) for variable in environment if not variable.why]
    yield "", " \\\n    ".join(plain)
    for variable in environment:
        if variable.why:
            yield variable.why, _line(variable)


def command_lines(config: ImageConfig) -> Iterator[str]:
    """Yield the instructions that follow the labels."""
    for port in config.exposed:
        yield f"EXPOSE {port.removesuffix('/tcp')}"
    yield f"WORKDIR {config.workdir}"
    yield f"USER {config.user}"
    if config.healthcheck:
        yield _healthcheck_line(config.healthcheck)
    yield f"ENTRYPOINT {json.dumps(config.entrypoint)}"
    yield f"CMD {json.dumps(config.cmd)}"


def cuda_home(cell: Cell) -> str:
    """Return the folder with the CUDA compiler of a devel image, or an empty text."""
    if cell.stack is None or cell.flavour is not Flavour.DEVEL:
        return ""
    major = cell.stack.cuda.split(".")[0]
    return f"/opt/env/lib/python/site-packages/nvidia/cu{major}"


def quoted(text: str) -> str:
    """Quote a text as a Dockerfile's string, in which no variable is expanded."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:=,@%+-]+")


def _line(variable: EnvVar) -> str:
    is_plain = _PLAIN.fullmatch(variable.value)
    return f"{variable.name}={variable.value if is_plain else quoted(variable.value)}"


def _layout_variables(cell: Cell) -> list[EnvVar]:
    home = cuda_home(cell)
    search_path = f"{home}/bin:{SYSTEM_PATH}" if home else SYSTEM_PATH
    if cell.is_cuda:
        search_path = f"{search_path}:{DRIVER_COMMANDS}"
    values = {
        "PATH": f"{cell.user.overlay}/bin:/opt/env/bin:{search_path}",
        "DLIMG_OVERLAY": cell.user.overlay,
        "PIP_CONSTRAINT": "/etc/dlimg/constraints.txt",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "USER": cell.user.name,
        "SHELL": "/bin/bash",  # for terminals of Jupyter
    }
    if cell.is_cuda:
        values |= {
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
            "LD_LIBRARY_PATH": DRIVER_LIBRARIES,
        }
    if home:
        values["CUDA_HOME"] = home
    if cell.flavour is Flavour.WORKSPACE:
        # Jupyter runs in the users' environment and finds its own files by these.
        values |= {
            "JUPYTER_PATH": "/opt/env/share/jupyter",
            "JUPYTER_CONFIG_PATH": "/opt/env/etc/jupyter",
        }
    return [EnvVar(name=name, value=value) for name, value in values.items()]


def _healthcheck_line(healthcheck: Mapping[str, object]) -> str:
    def seconds(name: str) -> str:
        return f"{int(str(healthcheck[name])) // SECOND}s"

    _, *command = _texts(healthcheck["Test"])
    options = (
        f"--interval={seconds('Interval')} --timeout={seconds('Timeout')} "
        f"--start-period={seconds('StartPeriod')} --retries={healthcheck['Retries']}"
    )
    return f"HEALTHCHECK {options} CMD {json.dumps(command)}"


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []
