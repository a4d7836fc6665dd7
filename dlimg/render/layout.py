"""Files of the layout's own, as data: which template or text each has, and where it lies."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from dlimg.model import Cell, Flavour, Lock
from dlimg.render.image_config import image_environment

LIBRARY: Final = "/opt/env/lib/python/site-packages"
PLAIN_MODE: Final = "644"
PROGRAM_MODE: Final = "755"

# Name prefixes of CUDA's packages: another version under the same framework breaks it.
CUDA_PACKAGES: Final = ("cuda-", "nvidia-")

# Where uv is told of packages that lie in another environment, see overlay.sh.
PACKAGES: Final = "/usr/local/lib/dlimg/packages"

# Where everybody's search path leads: a link to COMMAND for each command of the wheels.
COMMANDS: Final = "/usr/local/bin"
COMMAND: Final = "/usr/local/lib/dlimg/command"

EXACT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*==")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutFile:
    """A file of the system stage: a template under `images/_layout`, and its path in the image."""

    template: str
    path: str
    mode: str = PLAIN_MODE

    @property
    def name(self) -> str:
        """The name in the stage `files`, where no folders are."""
        return self.path.strip("/").replace("/", ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutLink:
    """A link of the system stage, and what it says."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFile:
    """A file of the final stage, made from the cell and its lock."""

    path: str
    text: str
    mode: str = PLAIN_MODE

    @property
    def name(self) -> str:
        """The name in the stage `lock`, where no folders are."""
        return self.path.strip("/").replace("/", ".")


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

# apt reads this one, so it has to be there before packages are installed.
DPKG_SETTINGS: Final = LayoutFile(template="dpkg.cfg", path="/etc/dpkg/dpkg.cfg.d/dlimg")

LAYOUT_FILES: Final = (
    LayoutFile(template="entrypoint.sh", path="/usr/local/bin/dlimg-entrypoint", mode=PROGRAM_MODE),
    LayoutFile(
        template="healthcheck.py", path="/usr/local/bin/dlimg-healthcheck", mode=PROGRAM_MODE
    ),
    LayoutFile(template="overlay.sh", path="/usr/local/bin/dlimg-overlay", mode=PROGRAM_MODE),
    LayoutFile(template="find-overlay.sh", path="/usr/local/lib/dlimg/find-overlay"),
    LayoutFile(template="command.sh", path=COMMAND, mode=PROGRAM_MODE),
    LayoutFile(template="profile.sh", path="/etc/profile.d/dlimg.sh"),
    LayoutFile(template="python3.sh", path="/usr/local/bin/python3", mode=PROGRAM_MODE),
    LayoutFile(template="pip.conf", path="/opt/env/pip.conf"),
    LayoutFile(template="start.pth", path=f"{LIBRARY}/dlimg_start.pth"),
    LayoutFile(template="start.py", path=f"{LIBRARY}/dlimg_start.py"),
)


def layout_links(python: str, interpreter: str) -> tuple[LayoutLink, ...]:
    """The links of the system stage, for a Python such as `3.13`."""
    return (
        LayoutLink(path="/usr/local/bin/python", target="python3"),
        LayoutLink(path=f"/usr/local/bin/python{python}", target="python3"),
        LayoutLink(path="/usr/local/lib/dlimg/python", target=interpreter),
    )


def cell_files(cell: Cell, lock: Lock) -> tuple[CellFile, ...]:
    """The files that the final stage puts beside the wheels."""
    variables = _lines(f"{name}={value}" for name, value in session_environment(cell).items())
    files = {
        "/etc/dlimg/requirements.txt": _lines(requirements(lock)),
        "/etc/dlimg/constraints.txt": _lines(constraints(cell, lock)),
        "/etc/dlimg/environment": variables,
        "/etc/environment": variables,
        "/etc/uv/uv.toml": _lines(uv_settings(cell, lock)),
        **provided_files(cell, lock),
    }
    written = tuple(CellFile(path=path, text=text) for path, text in files.items())
    return (*written, JUPYTER_SETTINGS) if cell.flavour is Flavour.WORKSPACE else written


# What a session sets itself, and what only the start of a container reads.
_OF_SESSIONS: Final = frozenset(
    {"USER", "SHELL", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
)


def session_environment(cell: Cell) -> Mapping[str, str]:
    """The image's variables, for sessions that begin without them: in ssh, cron, sudo.

    /etc/environment is PAM's, and hosts add to it; /etc/dlimg/environment is for Python's start
    and for login shells, where what a session has already stays.
    """
    variables = image_environment(cell).values()
    return {
        variable.name: variable.value for variable in variables if variable.name not in _OF_SESSIONS
    }


def uv_settings(cell: Cell, lock: Lock) -> Iterator[str]:
    """The lines of uv's own settings: the constraints of pip, for uv in any environment here."""
    yield "# The framework stays as it is; `uv --no-config` is for environments of your own."
    yield "constraint-dependencies = ["
    yield from (f'    "{constraint}",' for constraint in constraints(cell, lock))
    yield "]"


def packages_folder(lock: Lock) -> str:
    """A folder that is another for other wheels, so that an overlay tells of what is there."""
    return f"{PACKAGES}/{sha256(_lines(requirements(lock)).encode()).hexdigest()[:12]}"


def package_note(lock: Lock, name: str) -> str:
    """The path of what uv reads of a package, under the name in capitals.

    pip takes a package for one that is being edited where the file bears its very name.
    """
    capitals = re.sub(r"[-_.]+", "_", name).upper()
    return f"{packages_folder(lock)}/{capitals}/{capitals}.egg-info/PKG-INFO"


def provided_files(cell: Cell, lock: Lock) -> Mapping[str, str]:
    """Return notes, by path, of packages that another package stands for."""
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
    """The locked wheels as an installer reads them, one a line."""
    for wheel in lock.wheels:
        yield f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"


def constraints(cell: Cell, lock: Lock) -> Iterator[str]:
    """`name==version` of what users' pip must leave alone: the framework, its companions, CUDA.

    The rest of the lock may be replaced in front of the image's own, or little that wants an
    older `fsspec` could be installed at all.
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
