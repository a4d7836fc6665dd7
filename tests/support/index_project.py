"""A project of one CPU cell, with a package of the default index and one of a named index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlimg.context import Context
from dlimg.lock.lock_all import LockResult, lock_cells
from dlimg.lock.store import read_lock
from dlimg.model import Cell, Lock
from dlimg.pipeline.locks import locker_for
from dlimg.pipeline.project import Project, read_project
from tests.support.package_index import made_wheel

MATRIX = """\
operating_systems:
  debian12: {{distribution: Debian 12, image: "debian:bookworm-slim"}}
{indexes}
families:
  own:
    framework: none
    axes:
      version: ["1.0"]
      accelerator: [cpu]
      python: ["3.11"]
      os: [debian12]
      flavour: [runtime]
    packages:
      cpu: {packages}
"""
ROUTED = made_wheel("torchlike", "1.0+cpu", requires=["numlike"], mark="named")
DEFAULT = (
    made_wheel("numlike", "2.0", mark="default"),
    made_wheel("visionlike", "1.0", requires=["torchlike"]),
    made_wheel("pip", "26.3"),
)


@dataclass(frozen=True, kw_only=True)
class IndexProject:
    """The project's folder, with its own home, and the messages that its commands logged."""

    folder: Path
    default: str
    packages: str = '["torchlike=={version}+cpu", numlike]'
    variables: Mapping[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def write(self, indexes: str) -> Project:
        """Write the matrix with this text under `indexes`, and read it."""
        text = MATRIX.format(
            indexes=f"indexes: {indexes}" if indexes else "", packages=self.packages
        )
        (self.folder / "matrix.yaml").write_text(text)
        return self.project

    def route(self, url: str, names: str = "[torchlike]") -> Project:
        return self.write(f"{{cpu-index: {{url: {url}, packages: {{cpu: {names}}}}}}}")

    @property
    def project(self) -> Project:
        return read_project(str(self.folder / "matrix.yaml"))

    @property
    def cell(self) -> Cell:
        (cell,) = self.project.resolution.cells
        return cell

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def context(self) -> Context:
        environment = {
            "HOME": str(self.home),
            "XDG_CONFIG_DIRS": str(self.folder / "etc"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "UV_CACHE_DIR": str(self.folder / "uv"),
            "NO_PROXY": "127.0.0.1",
            **({"UV_DEFAULT_INDEX": self.default} if self.default else {}),
            **self.variables,
        }
        return Context.of(environment, self.messages.append)

    def lock(self, find_links: Sequence[str] = ()) -> LockResult:
        """Lock the cell; raises what `lock_cells` raises."""
        locker = locker_for(self.project, find_links, self.context)
        (result,) = lock_cells([self.cell], locker, log=self.messages.append)
        return result

    @property
    def locked(self) -> Lock:
        lock = read_lock(self.cell.id, self.folder / "locks")
        assert lock is not None
        return lock
