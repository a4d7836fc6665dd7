"""Dockerfiles: rendered from templates, for a cell and its lock.

Templates have the text, Python the decisions. The layers builder can replace BuildKit only for
templates without blocks of their own (`layers_obstacle`): it runs the stage `system` of the
layout's template, and writes the result of the other instructions itself.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Final

import jinja2
from jinja2 import nodes

from dlimg.errors import BadInput
from dlimg.image_files import ImageFiles
from dlimg.matrix.resolve import Resolution
from dlimg.model import EPOCH, Cell, Flavour, Image, Lock
from dlimg.render.config_check import check_settings
from dlimg.render.image_config import (
    command_lines,
    cuda_home,
    environment_lines,
    image_config,
    quoted,
)
from dlimg.render.layout import (
    COMMAND,
    COMMANDS,
    DPKG_SETTINGS,
    HOME_FOLDERS,
    cell_files,
    constraints,
    layout_files,
    layout_links,
    packages_folder,
    requirements,
)
from dlimg.render.naming import cell_labels, former_tags, repository_name, tag

# To live in: by ssh and in terminals, with code from elsewhere. sshd's account is made by sysusers,
# which would else bring all of systemd.
WORKSPACE_PACKAGES: Final = (
    *("curl", "git", "less", "nano", "openssh-server", "rsync", "systemd-standalone-sysusers"),
    "tmux",
)

LAYOUT_FOLDER: Final = "_layout"
LAYOUT: Final = f"{LAYOUT_FOLDER}/Dockerfile.j2"

# The blocks of the system stage that a family's template may fill.
SYSTEM_BLOCKS: Final = ("system_commands",)

# The format of the layout's blocks that `dlimg.assembly.cell_layer` reproduces. Raise it together
# with `layout_format` in the template when an image built from them would hold other files;
# tests/engine/test_builders_agree.py compares the two builders.
LAYOUT_FORMAT: Final = 2


def load_templates(images: ImageFiles) -> jinja2.Environment:
    """Return the templates among these files, read once, when first used."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(images.folders),
        autoescape=False,  # noqa: S701  # the result is a Dockerfile, not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


def render_image(
    cell: Cell, lock: Lock, resolution: Resolution, templates: jinja2.Environment
) -> Image:
    """Return the image of a cell. Raises BadInput if a template cannot be rendered."""
    return Image(
        cell=cell,
        lock=lock,
        dockerfile=render_dockerfile(cell, lock, templates),
        labels=cell_labels(cell, lock),
        repository=repository_name(resolution.registry, cell),
        tag=tag(cell, lock),
        aliases=(*resolution.aliases.get(cell.id, ()), *former_tags(cell, lock)),
        layers_obstacle=layers_obstacle(template_folder(cell, templates), templates)
        or shared_obstacle(lock),
    )


def _refuse_routed_owners(cell: Cell, lock: Lock) -> None:
    """Refuse a shared path whose owner is from another index: it is installed a second time."""
    routed = {wheel.name for wheel in lock.wheels if wheel.index}
    for shared in lock.shared_paths:
        if shared.owner in routed:
            raise BadInput(
                f"{shared.owner} and {', '.join(shared.replaced)} fill {shared.path}, and "
                f"{shared.owner} comes from an index of its own",
                where=cell.id,
                hint="they cannot be in one image: change or exclude one of them",
            )


def shared_obstacle(lock: Lock) -> str:
    """Return why shared paths keep an image from being assembled, or an empty text.

    Of wheels, the layers builder keeps the Python files apart, and no others.
    """
    others = [shared.path for shared in lock.shared_paths if not shared.path.endswith(".py")]
    return f"several wheels fill {others[0]}" if others else ""


def render_dockerfile(cell: Cell, lock: Lock, templates: jinja2.Environment) -> str:
    """Return the text of the cell's Dockerfile.

    Raises BadInput, with the template's file and line, when a template is missing or malformed,
    uses an unknown variable, or sets something that neither the layout nor the matrix states.
    """
    _refuse_routed_owners(cell, lock)
    text = _rendered(cell, lock, templates)
    check_settings(text, cell, image_config(cell, cell_labels(cell, lock)), templates)
    return text


def _rendered(cell: Cell, lock: Lock, templates: jinja2.Environment) -> str:
    values = template_context(cell, lock) | {"template_folder": template_folder(cell, templates)}
    try:
        folder = template_folder(cell, templates)
        return templates.get_template(f"{folder}/Dockerfile.j2").render(values)
    except jinja2.TemplateNotFound as error:
        hint = "`dlimg list --templates` shows the templates that there are"
        raise BadInput(f"no template images/{error.name}", where=cell.id, hint=hint) from None
    except jinja2.TemplateSyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        raise BadInput(f"not a template: {error.message}", where=where) from None
    except jinja2.TemplateRuntimeError as error:
        where = _place(error.__traceback__, _folders(templates))
        wrong = str(error.message)
        hint = _near(wrong, values)
        raise BadInput(f"{wrong}, for {cell.id}", where=where, hint=hint) from None


def template_folder(cell: Cell, templates: jinja2.Environment) -> str:
    """Return the folder of the cell's template: the family's, the framework's, or the layout."""
    names = (cell.family, cell.framework.folder)
    return next((name for name in names if name and _has_template(name, templates)), LAYOUT_FOLDER)


@cache
def _has_template(folder: str, templates: jinja2.Environment) -> bool:
    try:
        templates.get_template(f"{folder}/Dockerfile.j2")
    except jinja2.TemplateNotFound as error:
        return error.name != f"{folder}/Dockerfile.j2"
    except jinja2.TemplateSyntaxError:
        return True
    return True


def template_context(cell: Cell, lock: Lock) -> dict[str, object]:
    """Return the variables of a template."""
    config = image_config(cell, cell_labels(cell, lock))
    routed = [wheel.name for wheel in lock.wheels if wheel.index]
    return {
        "cell": cell,
        "cell_files": cell_files(cell, lock),
        "command_lines": list(command_lines(config)),
        "command_file": COMMAND,
        "commands_folder": COMMANDS,
        "constraints": tuple(constraints(cell, lock)),
        "cuda_home": cuda_home(cell),
        "default_wheels": len(routed) < len(lock.wheels),
        "dpkg_settings": DPKG_SETTINGS,
        "environment_lines": list(environment_lines(cell)),
        "epoch": EPOCH,
        "home_folders": HOME_FOLDERS,
        "labels": [f"{name}={quoted(value)}" for name, value in config.labels.items()],
        "layout_files": list(layout_files(cell.flavour)),
        "layout_links": list(layout_links(cell.python, interpreter_path(cell))),
        "local_wheels": lock.local,
        "shared_paths": lock.shared_paths,
        # The first by name comes last, and its files stay.
        "shared_owners": sorted({shared.owner for shared in lock.shared_paths}, reverse=True),
        "packages": " ".join(system_packages(cell)),
        "packages_folder": packages_folder(lock),
        "python": interpreter_path(cell),
        "requirements": tuple(requirements(lock)),
        "routed_pattern": _line_pattern(routed),
        "routes": list(index_routes(cell, lock)),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRoute:
    """The wheels of a lock that come from one index; `pattern` finds their lines in the lock."""

    name: str
    url: str
    files: tuple[str, ...]
    pattern: str


def index_routes(cell: Cell, lock: Lock) -> Iterator[IndexRoute]:
    """Yield the indexes of the matrix that a lock's wheels come from.

    Raises BadInput for an index that the matrix does not have.
    """
    indexes = {index.name: index for index in cell.indexes}
    for name in sorted({wheel.index for wheel in lock.wheels} - {""}):
        if name not in indexes:
            message = f"the lock names the index {name}, which the matrix does not have"
            hint = f"add it under `indexes`, or run `dlimg lock {cell.id}`"
            raise BadInput(message, where=cell.id, hint=hint)
        wheels = [wheel for wheel in lock.wheels if wheel.index == name]
        yield IndexRoute(
            name=name,
            url=indexes[name].url,
            files=tuple(wheel.file for wheel in wheels),
            pattern=_line_pattern(wheel.name for wheel in wheels),
        )


def _line_pattern(names: Iterable[str]) -> str:
    """Return a regular expression for the lines of these packages in a requirements file."""
    return f"^({'|'.join(names)})=="


def interpreter_path(cell: Cell) -> str:
    """Return the path of the Python that the image's environment is made from."""
    folder = "/opt/python/current/bin" if cell.managed_python else "/usr/bin"
    return f"{folder}/python{cell.python}"


def system_packages(cell: Cell) -> list[str]:
    """Return the distribution's packages that the cell needs."""
    names = ["ca-certificates", "tini"]
    if not cell.managed_python:
        # Debian and Ubuntu take these out of Python: `venv` has no pip, `dbm` no GNU without them.
        names += ["python3", "python3-gdbm", f"python{cell.python}-venv"]
    if cell.flavour is not Flavour.RUNTIME:
        names.append("g++")
        if not cell.managed_python:
            names.append("libpython3-dev")
    if cell.flavour is Flavour.DEVEL:
        names.append("make")
    if cell.flavour is Flavour.WORKSPACE:
        names += WORKSPACE_PACKAGES
    return sorted({*names, *cell.additions.apt})


def _folders(templates: jinja2.Environment) -> tuple[str, ...]:
    loader = templates.loader
    return tuple(loader.searchpath) if isinstance(loader, jinja2.FileSystemLoader) else ()


def _place(traceback: TracebackType | None, folders: tuple[str, ...]) -> str:
    """Return file and line of the innermost template in a traceback."""
    position = ""
    while traceback:
        file = traceback.tb_frame.f_code.co_filename
        if file.startswith(folders):
            position = f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return position


def _near(message: str, names: Iterable[str]) -> str:
    """Return the name nearest to the last quoted one in Jinja's message, as a hint."""
    quoted = message.split("'")[1::2]
    near = difflib.get_close_matches(quoted[-1] if quoted else "", [*names, *Cell.__slots__], n=1)
    return f"did you mean {near[0]}" if near else ""


@cache
def layers_obstacle(family: str, templates: jinja2.Environment) -> str:
    """Return why images of this family cannot be assembled, or an empty text.

    Raises jinja2.TemplateNotFound and jinja2.TemplateSyntaxError.
    """
    name = f"{family}/Dockerfile.j2"
    chain = {name}
    while name != LAYOUT:
        template = _parse(name, templates)
        parents = [node.template for node in template.find_all(nodes.Extends)]
        reason = next(_own_content(template, name), "")
        if reason:
            return reason
        if len(parents) != 1 or not isinstance(parents[0], nodes.Const):
            return f"its template {name} does not extend {LAYOUT}"
        name = str(parents[0].value)
        if name in chain:
            return f"its template {name} extends itself"
        chain.add(name)
    number = layout_format(templates)
    if number != LAYOUT_FORMAT:
        stated = "no layout_format" if number is None else f"layout_format {number}"
        return f"{LAYOUT} states {stated}, this dlimg assembles format {LAYOUT_FORMAT}"
    return ""


def layout_format(templates: jinja2.Environment) -> int | None:
    """Return the number that the layout's template states, or None."""
    for node in _parse(LAYOUT, templates).find_all(nodes.Assign):
        target, value = node.target, node.node
        if isinstance(target, nodes.Name) and target.name == "layout_format":
            return value.value if isinstance(value, nodes.Const) else None
    return None


def _parse(name: str, templates: jinja2.Environment) -> nodes.Template:
    if templates.loader is None:
        raise jinja2.TemplateNotFound(name)
    source, filename, _ = templates.loader.get_source(templates, name)
    return templates.parse(source, name, filename)


def _own_content(template: nodes.Template, name: str) -> Iterator[str]:
    """Yield what a template has besides `extends`, comments and empty blocks."""
    for node in template.body:
        match node:
            case nodes.Extends():
                pass
            case nodes.Output() if _is_blank([node]):
                pass
            case nodes.Block(name="framework") if _is_blank(node.body):
                pass  # as in the layout
            case nodes.Block() if node.name in SYSTEM_BLOCKS:
                pass  # commands of the system stage, which the layers builder runs
            case nodes.Block():
                yield f"its template {name} has its own block `{node.name}`"
            case _:
                yield f"its template {name} has instructions of its own (line {node.lineno})"


def _is_blank(body: list[nodes.Node]) -> bool:
    return all(
        isinstance(node, nodes.Output)
        and all(
            isinstance(part, nodes.TemplateData) and not part.data.strip() for part in node.nodes
        )
        for node in body
    )
