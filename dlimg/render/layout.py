"""The layout's own files as data: template or text, and path in the image."""

import posixpath
import re
from base64 import b64decode, encodebytes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from dlimg.additions import ProjectFile
from dlimg.model import Cell, Flavour, Lock
from dlimg.render.image_config import image_environment
from dlimg.render.image_json import IMAGE_JSON, image_json

LIBRARY: Final = "/opt/env/lib/python/site-packages"
PLAIN_MODE: Final = "644"
PROGRAM_MODE: Final = "755"

# Name prefixes of CUDA's packages: another version under the same framework breaks it.
CUDA_PACKAGES: Final = ("cuda-", "nvidia-")

# Where the layout's own programs lie that are no commands.
PROGRAMS: Final = "/usr/local/lib/dlimg"
# The scripts that `dlimg-check` runs inside an image.
IMAGE_CHECKS: Final = f"{PROGRAMS}/checks"
GPU_CHECK: Final = "gpu"

# Notes by which uv knows of packages in the image's environment, see overlay.sh.
PACKAGES: Final = "/usr/local/lib/dlimg/packages"

# A folder of every search path: a link to COMMAND for each command of the wheels.
COMMANDS: Final = "/usr/local/bin"
COMMAND: Final = "/usr/local/lib/dlimg/command"

# Folders of the user's home below which hosts and users mount caches and settings: a mount point
# that is not there is made by the engine and is root's, with every folder above it. A fresh named
# volume has the owner of the folder that it is mounted on.
HOME_FOLDERS: Final = (
    ".cache",
    ".cache/huggingface",
    ".cache/huggingface/hub",
    ".cache/pip",
    ".cache/torch",
    ".cache/torch/hub",
    ".cache/uv",
    ".config",
    ".keras",
    ".local",
    ".local/share",
)

EXACT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*==")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutFile:
    """A file of the system stage: a template under `images/_layout`, and a path in the image."""

    template: str
    path: str
    mode: str = PLAIN_MODE

    @property
    def name(self) -> str:
        """The name in the stage `files`, which has no folders."""
        return self.path.strip("/").replace("/", ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutLink:
    """A symbolic link of the system stage."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFile:
    """A file of the final stage, made from the cell and its lock.

    `text` stands in the Dockerfile; if `encoded`, it is base64 of the content.
    """

    path: str
    text: str
    mode: str = PLAIN_MODE
    encoded: bool = False

    @property
    def name(self) -> str:
        """The name in the stage `lock`, which has no folders."""
        return self.path.strip("/").replace("/", ".")

    @property
    def content(self) -> bytes:
        return b64decode(self.text) if self.encoded else self.text.encode()


# For every command of Jupyter that serves: on all addresses, IPv6's too, in the working folder.
JUPYTER_SETTINGS: Final = CellFile(
    path="/etc/jupyter/jupyter_server_config.json",
    text="""\
{
  "ServerApp": {
    "ip": "*",
    "open_browser": false,
    "allow_root": true,
    "root_dir": "/code"
  }
}
""",
)

# dpkg reads this one while packages are installed, so it is copied first.
DPKG_SETTINGS: Final = LayoutFile(template="dpkg.cfg", path="/etc/dpkg/dpkg.cfg.d/dlimg")


def _script(template: str, path: str) -> LayoutFile:
    return LayoutFile(template=template, path=path, mode=PROGRAM_MODE)


_EVERY_FLAVOUR: Final = (
    LayoutFile(template="entrypoint.sh", path="/usr/local/bin/dlimg-entrypoint", mode=PROGRAM_MODE),
    _script("mode.sh", f"{PROGRAMS}/mode"),
    _script("named-overlays.sh", f"{PROGRAMS}/named-overlays"),
    _script("reset.sh", "/usr/local/bin/dlimg-reset"),
    _script("run_one.py", "/usr/local/bin/dlimg-run-one"),
    _script("explain_refusal.py", f"{PROGRAMS}/explain_refusal.py"),
    _script("uv.sh", f"{PROGRAMS}/uv"),
    LayoutFile(
        template="healthcheck.py", path="/usr/local/bin/dlimg-healthcheck", mode=PROGRAM_MODE
    ),
    LayoutFile(template="info.py", path="/usr/local/bin/dlimg-info", mode=PROGRAM_MODE),
    LayoutFile(template="check.py", path="/usr/local/bin/dlimg-check", mode=PROGRAM_MODE),
    LayoutFile(template="check-packages.py", path=f"{IMAGE_CHECKS}/packages.py"),
    LayoutFile(template="overlay.sh", path="/usr/local/bin/dlimg-overlay", mode=PROGRAM_MODE),
    LayoutFile(template="find-overlay.sh", path="/usr/local/lib/dlimg/find-overlay"),
    LayoutFile(template="limit-threads.sh", path="/usr/local/lib/dlimg/limit-threads"),
    LayoutFile(template="diagnosis.py", path=f"{PROGRAMS}/diagnosis.py"),
    LayoutFile(template="driver.py", path=f"{PROGRAMS}/driver.py"),
    LayoutFile(template="machine.py", path=f"{PROGRAMS}/machine.py"),
    LayoutFile(template="command.sh", path=COMMAND, mode=PROGRAM_MODE),
    LayoutFile(template="profile.sh", path="/etc/profile.d/dlimg.sh"),
    LayoutFile(template="python3.sh", path="/usr/local/bin/python3", mode=PROGRAM_MODE),
    LayoutFile(template="pip.conf", path="/opt/env/pip.conf"),
    LayoutFile(template="start.pth", path=f"{LIBRARY}/dlimg_start.pth"),
    LayoutFile(template="start.py", path=f"{LIBRARY}/dlimg_start.py"),
)
_WORKSPACE: Final = (
    _script("serve.py", f"{PROGRAMS}/serve"),
    LayoutFile(template="serve_jobs.py", path=f"{PROGRAMS}/serve_jobs.py"),
    LayoutFile(template="serve_jupyter.py", path=f"{PROGRAMS}/serve_jupyter.py"),
    LayoutFile(template="serve_kernels.py", path=f"{PROGRAMS}/serve_kernels.py"),
    LayoutFile(template="serve_ssh.py", path=f"{PROGRAMS}/serve_ssh.py"),
    _script("jupyter.sh", "/usr/local/bin/dlimg-jupyter"),
    _script("ssh.sh", "/usr/local/bin/dlimg-ssh"),
)


def layout_files(flavour: Flavour) -> tuple[LayoutFile, ...]:
    """Return the files of the system stage; servers are the workspace's alone."""
    return (*_EVERY_FLAVOUR, *(_WORKSPACE if flavour is Flavour.WORKSPACE else ()))


def layout_links(python: str, interpreter: str) -> tuple[LayoutLink, ...]:
    """Return the links of the system stage, for a Python such as `3.13`."""
    return (
        LayoutLink(path="/usr/local/bin/python", target="python3"),
        LayoutLink(path=f"/usr/local/bin/python{python}", target="python3"),
        LayoutLink(path="/usr/local/lib/dlimg/python", target=interpreter),
    )


def cell_files(cell: Cell, lock: Lock) -> tuple[CellFile, ...]:
    """Return the files that the final stage puts beside the wheels."""
    variables = _lines(f"{name}={value}" for name, value in session_environment(cell).items())
    files = {
        "/etc/dlimg/requirements.txt": _lines(requirements(lock)),
        "/etc/dlimg/constraints.txt": _lines(constraints(cell, lock)),
        "/etc/dlimg/environment": variables,
        "/etc/environment": variables,
        IMAGE_JSON: image_json(cell, lock, posixpath.basename(packages_folder(lock))),
        "/etc/uv/uv.toml": _lines(uv_settings(cell, lock)),
        **provided_files(cell, lock),
    }
    written = tuple(CellFile(path=path, text=text) for path, text in files.items())
    jupyter = (JUPYTER_SETTINGS,) if cell.flavour is Flavour.WORKSPACE else ()
    own = map(project_file, cell.additions.files)
    return (*written, *jupyter, *image_checks(cell), *own)


def image_checks(cell: Cell) -> Iterator[CellFile]:
    """Yield the framework's scripts for `dlimg-check`; on a CPU without that of GPUs."""
    for name, text in cell.framework.image_checks:
        if cell.is_cuda or name != GPU_CHECK:
            path = f"{IMAGE_CHECKS}/{name}.py"
            file = ProjectFile(source=name, path=path, mode=PLAIN_MODE, content=text.encode())
            yield project_file(file)


# Texts that a Dockerfile's heredoc brings to an image as they are.
_PLAIN_TEXT: Final = re.compile(r"(?!(?s:.*)^EOF$)[^\x00-\x08\x0b-\x1f\x7f]*\n", re.MULTILINE)


def project_file(file: ProjectFile) -> CellFile:
    """Return a project's file as a file of the image: as text, or else as base64."""
    try:
        text = file.content.decode()
    except UnicodeDecodeError:
        text = ""
    if _PLAIN_TEXT.fullmatch(text):
        return CellFile(path=file.path, text=text, mode=file.mode)
    encoded = encodebytes(file.content).decode()
    return CellFile(path=file.path, text=encoded, mode=file.mode, encoded=True)


# Variables that a session sets itself, and those that only a container's start reads.
_OF_SESSIONS: Final = frozenset(
    {"USER", "SHELL", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
)


def session_environment(cell: Cell) -> Mapping[str, str]:
    """Return the image's variables for sessions that start without them: ssh, cron, sudo.

    PAM reads /etc/environment, and hosts add to it. Python's start and login shells read
    /etc/dlimg/environment; variables that a session has already stay.
    """
    variables = image_environment(cell).values()
    return {
        variable.name: variable.value for variable in variables if variable.name not in _OF_SESSIONS
    }


def uv_settings(cell: Cell, lock: Lock) -> Iterator[str]:
    """Yield the lines of uv's settings: pip's constraints, for uv in any environment."""
    yield "# The framework stays as it is; `uv --no-config` is for environments of your own."
    yield "constraint-dependencies = ["
    yield from (f'    "{constraint}",' for constraint in constraints(cell, lock))
    yield "]"


def packages_folder(lock: Lock) -> str:
    """Return the folder with notes of these wheels; other wheels have another folder."""
    return f"{PACKAGES}/{sha256(_lines(requirements(lock)).encode()).hexdigest()[:12]}"


def package_note(lock: Lock, name: str) -> str:
    """Return the path of the metadata that uv reads of a package, with its name in capitals.

    With the package's own name in the path, pip would take it for an editable install.
    """
    capitals = re.sub(r"[-_.]+", "_", name).upper()
    return f"{packages_folder(lock)}/{capitals}/{capitals}.egg-info/PKG-INFO"


def provided_files(cell: Cell, lock: Lock) -> Mapping[str, str]:
    """Return a note, by path, for each package that another package replaces."""
    files = {}
    provides = dict(cell.framework.provides)
    for wheel in lock.wheels:
        if wheel.name in provides:
            name = provides[wheel.name]
            files[package_note(lock, name)] = (
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {wheel.version}\n"
                f"Summary: {wheel.name} has all of it.\n"
                f"Requires-Dist: {wheel.name}=={wheel.version}\n"
            )
    return files


def requirements(lock: Lock) -> Iterator[str]:
    """Yield the locked wheels as lines of a requirements file."""
    for wheel in lock.wheels:
        yield f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"


def constraints(cell: Cell, lock: Lock) -> Iterator[str]:
    """Yield `name==version` of packages that users' pip must keep: framework, pairs, CUDA.

    Other packages of the lock may be replaced in the user's environment; otherwise a package that
    needs an older `fsspec` could not be installed.
    """
    matches = (EXACT.match(requirement) for requirement in cell.requirements)
    named = {match[1].lower().replace("_", "-") for match in matches if match}
    fixed = (*CUDA_PACKAGES, *cell.framework.fixed_packages)
    provides = dict(cell.framework.provides)
    for wheel in lock.wheels:
        if wheel.name in named or wheel.name.startswith(fixed):
            yield f"{wheel.name}=={wheel.version}"
            if wheel.name in provides:
                yield f"{provides[wheel.name]}=={wheel.version}"


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
