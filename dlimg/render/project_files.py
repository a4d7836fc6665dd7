"""The files of a new project: a small matrix from dlimg's own, nox sessions, a workflow.

Templates have the text; the matrix has the newest version of each family with a locked image.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import jinja2
from packaging.version import Version

from dlimg.matrix.family_template import ANY, packages_of_kinds, written_additions
from dlimg.matrix.leaders import accelerator_kind, package_of
from dlimg.matrix.model import (
    AXES,
    NO_FACTS,
    VERSION,
    Family,
    IgnoredFinding,
    IndexChoice,
    Matrix,
    StackChoice,
)
from dlimg.matrix.text import flow_list, quoted
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
_KINDS: Final = (ANY, CPU, "cuda")

Ci = Literal["github", "gitlab"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFamily:
    """A family of the new matrix: its newest locked image for CUDA, and its newest for CPUs.

    Of an axis on which the two differ `exclude` takes other combinations out. `additions` are
    further keys of the entry as text. `facts` is empty for a family without any.
    """

    name: str
    framework: str
    platform: str
    facts: str
    axes: Mapping[str, tuple[str, ...]]
    exclude: tuple[str, ...]
    packages: Mapping[str, tuple[str, ...]]
    paired_packages: Mapping[str, tuple[str, ...]]
    additions: str
    cells: tuple[Cell, ...]

    @property
    def requirements(self) -> tuple[str, ...]:
        """All packages of the family, of any accelerator."""
        texts = (*self.packages.values(), *self.paired_packages.values())
        return tuple(chain.from_iterable(texts))

    @property
    def first(self) -> Cell:
        """The image whose Python and system are the defaults."""
        return self.cells[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStack:
    """A stack of the new matrix; the leader follows its family's version if that is there."""

    name: str
    cuda: str
    leader: str
    python: str
    exceptions: tuple[StackException, ...]


def new_family(
    matrix: Matrix, family: Family, cells: Sequence[Cell], text: str
) -> NewFamily | None:
    """Return the family with its newest runtime images among these cells, all of them locked.

    The image for CUDA is on the family's default Python and system; so is the one for CPUs, if
    there is one of that version. `text` is that of the matrix. None without any image.
    """
    plain = [
        cell
        for cell in cells
        if cell.family == family.name
        and cell.flavour is Flavour.RUNTIME
        and not (cell.stack and cell.stack.other_cudnn)
    ]
    usual = (family.defaults.get("python", ""), family.defaults.get("os", ""))
    on_cuda = [cell for cell in plain if cell.stack and (cell.python, cell.os.name) == usual]
    chosen = sorted(on_cuda, key=_newness, reverse=True)[:1]
    like = (chosen[0].version, *usual) if chosen else ("", *usual)
    on_cpu = [cell for cell in plain if not cell.is_cuda]
    chosen += sorted(on_cpu, key=partial(_likeness, like), reverse=True)[:1]
    if not chosen:
        return None
    kinds = {ANY, *(accelerator_kind(matrix, cell.accelerator) for cell in chosen)}
    axes = {axis: tuple(dict.fromkeys(_values(cell)[axis] for cell in chosen)) for axis in AXES}
    return NewFamily(
        name=family.name,
        framework=family.framework,
        platform=family.platform,
        facts="" if family.framework == NO_FACTS else family.framework,
        axes=axes,
        exclude=tuple(_excludes(chosen, axes)),
        packages=packages_of_kinds(family.packages, kinds),
        paired_packages=packages_of_kinds(family.paired_packages, kinds),
        additions=written_additions(text, family.name),
        cells=tuple(chosen),
    )


def _newness(cell: Cell) -> tuple[Version, Version]:
    return Version(cell.version), Version(cell.stack.cuda if cell.stack else "0")


def _likeness(like: tuple[str, str, str], cell: Cell) -> tuple[bool, Version, bool]:
    """Order images for CPUs: first the one that is as the image for CUDA, then the newest."""
    version, python, system = like
    is_usual = (cell.python, cell.os.name) == (python, system)
    return is_usual and cell.version == version, Version(cell.version), is_usual


def _values(cell: Cell) -> Mapping[str, str]:
    return {
        "version": cell.version,
        "accelerator": cell.accelerator,
        "python": cell.python,
        "os": cell.os.name,
        "flavour": cell.flavour.value,
    }


def _excludes(cells: Sequence[Cell], axes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what keeps each accelerator to its own image where the images differ elsewhere."""
    differing = [axis for axis, values in axes.items() if len(values) > 1 and axis != "accelerator"]
    for cell in cells if differing else ():
        values = _values(cell)
        stays = ", ".join(f"{axis}: {quoted(values[axis])}" for axis in differing)
        why = "what dlimg has locked; widen it, and `nox -s lock`"
        yield f'{{accelerator: {cell.accelerator}, except: {{{stays}}}, why: "{why}"}}'


def matrix_text(
    matrix: Matrix,
    families: Sequence[NewFamily],
    registry: str,
    ignored: Sequence[IgnoredFinding] = (),
) -> str:
    """Return the text of the new matrix, in which lint ignores these findings."""
    cells = [cell for family in families for cell in family.cells]
    systems = [matrix.operating_systems[name] for name in {cell.os.name: 0 for cell in cells}]
    packages = {package_of(text) for family in families for text in family.requirements}
    named = {
        index.name
        for cell in cells
        for index in cell.indexes
        if not packages.isdisjoint(index.packages)
    }
    return (
        _templates()
        .get_template("matrix.yaml.j2")
        .render(
            registry=registry,
            platform=matrix.platform,
            systems=systems,
            stacks=list(_stacks(matrix, families)),
            indexes=[_index(index) for index in matrix.indexes if index.name in named],
            ignored=ignored,
            required={
                name: [check.name for check in checks]
                for name, checks in matrix.required.items()
                if name in {*_KINDS, *(family.name for family in families)}
            },
            families=families,
            default=list(_default_selectors(families)),
        )
    )


def _index(index: IndexChoice) -> Mapping[str, object]:
    packages = {kind: sorted(names) for kind, names in index.packages.items()}
    return {"name": index.name, "url": index.url, "packages": packages}


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
        own = [cell for cell in family.cells if cell.accelerator == choice.name]
        if package_of(choice.leader) in names and any(
            choice.leader.replace(VERSION, cell.version) == stack.leader for cell in own
        ):
            return choice.leader
    return stack.leader


def _default_selectors(families: Sequence[NewFamily]) -> Iterator[str]:
    """Yield what the group `default` takes: images for CPUs, or else the family's only one."""
    for family in families:
        accelerators = family.axes["accelerator"]
        accelerator = CPU if CPU in accelerators else accelerators[0]
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
    environment.filters["flow"] = flow_list
    return environment
