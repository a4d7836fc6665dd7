"""The files of a new project: a small matrix from dlimg's own, nox sessions, a workflow.

Templates have the text; the matrix has the newest version of each family with a locked image.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import jinja2
from packaging.version import Version

from dlimg.matrix.leaders import accelerator_kind, package_of
from dlimg.matrix.model import NO_FACTS, VERSION, Family, Matrix, StackChoice
from dlimg.model import CPU, Cell, Flavour, Stack, StackException

TEMPLATES: Final = Path(__file__).parent.parent / "project_files"
# As in this repository's own workflows, by commit.
ACTIONS: Final[Mapping[str, str]] = {
    "checkout": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "setup_python": "actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0",
    "upload_artifact": "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0",
}
CI_FILES: Final[Mapping[str, tuple[str, str]]] = {
    "github": (".github/workflows/images.yml", "github.yml.j2"),
    "gitlab": (".gitlab-ci.yml", "gitlab-ci.yml.j2"),
}
_ANY: Final = "any"
_KINDS: Final = (_ANY, CPU, "cuda")

Ci = Literal["github", "gitlab"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFamily:
    """A family of the new matrix: one version, and the accelerators that it is locked for."""

    name: str
    framework: str
    platform: str
    facts: str
    version: str
    accelerators: tuple[str, ...]
    python: str
    os: str
    packages: Mapping[str, tuple[str, ...]]
    paired_packages: Mapping[str, tuple[str, ...]]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStack:
    """A stack of the new matrix; the leader follows its family's version if that is there."""

    name: str
    cuda: str
    leader: str
    python: str
    exceptions: tuple[StackException, ...]


def new_family(matrix: Matrix, family: Family, cells: Sequence[Cell]) -> NewFamily | None:
    """Return the family with its newest version among these cells, all of them locked.

    A version that runs on CPUs, too, is preferred. None without a runtime image on the family's
    default Python and system.
    """
    python, system = family.defaults.get("python", ""), family.defaults.get("os", "")
    plain = [
        cell
        for cell in cells
        if (cell.family, cell.python, cell.os.name) == (family.name, python, system)
        and cell.flavour is Flavour.RUNTIME
        and not (cell.stack and cell.stack.other_cudnn)
    ]
    versions = sorted({cell.version for cell in plain}, key=Version, reverse=True)
    on_cpu = {cell.version for cell in plain if not cell.is_cuda}
    version = next((version for version in versions if version in on_cpu), next(iter(versions), ""))
    of_version = [cell for cell in plain if cell.version == version]
    on_cuda = {Version(cell.stack.cuda): cell for cell in of_version if cell.stack}
    chosen = [on_cuda[max(on_cuda)]] if on_cuda else []
    chosen += [cell for cell in of_version if not cell.is_cuda]
    if not chosen:
        return None
    kinds = {_ANY, *(accelerator_kind(matrix, cell.accelerator) for cell in chosen)}
    return NewFamily(
        name=family.name,
        framework=family.framework,
        platform=family.platform,
        facts=family.name if family.framework == NO_FACTS else family.framework,
        version=version,
        accelerators=tuple(cell.accelerator for cell in chosen),
        python=python,
        os=system,
        packages=_of_kinds(family.packages, kinds),
        paired_packages=_of_kinds(family.paired_packages, kinds),
        cells=tuple(chosen),
    )


def _of_kinds(
    packages: Mapping[str, tuple[str, ...]], kinds: set[str]
) -> Mapping[str, tuple[str, ...]]:
    return {kind: names for kind, names in packages.items() if kind in kinds and names}


def matrix_text(matrix: Matrix, families: Sequence[NewFamily], registry: str) -> str:
    """Return the text of the new matrix."""
    systems = [matrix.operating_systems[name] for name in {family.os: 0 for family in families}]
    return (
        _templates()
        .get_template("matrix.yaml.j2")
        .render(
            registry=registry,
            platform=matrix.platform,
            systems=systems,
            stacks=list(_stacks(matrix, families)),
            required={
                name: [check.name for check in checks]
                for name, checks in matrix.required.items()
                if name in {*_KINDS, *(family.name for family in families)}
            },
            families=families,
            default=list(_default_selectors(families)),
        )
    )


def _stacks(matrix: Matrix, families: Sequence[NewFamily]) -> Iterator[NewStack]:
    stacks = {
        cell.stack.name: cell.stack for family in families for cell in family.cells if cell.stack
    }
    for name, stack in stacks.items():
        choice = matrix.stacks[name]
        yield NewStack(
            name=name,
            cuda=stack.cuda,
            leader=_leader(choice, stack, families),
            python=stack.python,
            exceptions=stack.exceptions,
        )


def _leader(choice: StackChoice, stack: Stack, families: Sequence[NewFamily]) -> str:
    """Return the leader, with `{version}` if a family of the new matrix gives it this version."""
    for family in families:
        names = {package_of(name) for names in family.packages.values() for name in names}
        leads = package_of(choice.leader) in names and choice.name in family.accelerators
        if leads and choice.leader.replace(VERSION, family.version) == stack.leader:
            return choice.leader
    return stack.leader


def _default_selectors(families: Sequence[NewFamily]) -> Iterator[str]:
    """Yield what the group `default` takes: images for CPUs, or else the family's only one."""
    for family in families:
        accelerator = CPU if CPU in family.accelerators else family.accelerators[0]
        yield f"{{family: {family.name}, accelerator: {accelerator}}}"


def project_texts(
    families: Sequence[NewFamily], title: str, ci: Ci, version: str
) -> Mapping[str, str]:
    """Return the texts of the other files by path; `version` is dlimg's."""
    names = [family.name for family in families]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    templates = _templates()
    return {
        "noxfile.py": templates.get_template("noxfile.py.j2").render(),
        "README.md": templates.get_template("README.md.j2").render(
            title=title, names=listed, version=version
        ),
        ".gitignore": templates.get_template("gitignore.j2").render(),
        ".gitattributes": templates.get_template("gitattributes.j2").render(),
        CI_FILES[ci][0]: workflow_text(ci),
    }


def workflow_text(ci: Ci) -> str:
    """Return the workflow of a new project."""
    return _templates().get_template(CI_FILES[ci][1]).render(actions=ACTIONS)


def dlimg_lock_text(dependencies: str, requirement: str, sha256: str) -> str:
    """Return the lock of dlimg for a project: its dependencies' lock, and itself with its hash."""
    body = re.sub(r"^#[^\n]*\n", "", dependencies, flags=re.MULTILINE)
    return (
        "# dlimg and all that it needs, with hashes: `nox` installs nothing else.\n"
        f"{requirement} \\\n    --hash=sha256:{sha256}\n{body}"
    )


def registry_name(title: str) -> str:
    """Return a valid registry namespace made from a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "images"


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701  # YAML, Python and Markdown, not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tojson"] = json.dumps
    environment.filters["flow"] = lambda names: f"[{', '.join(names)}]"
    return environment
