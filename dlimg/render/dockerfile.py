"""Rendering of a cell and its lock: templates have the text, this module the decisions."""

import difflib
from collections.abc import Iterable
from functools import cache
from types import TracebackType

import jinja2

from dlimg.errors import BadInput
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
from dlimg.render.layers_eligibility import layers_obstacle
from dlimg.render.layout import (
    COMMAND,
    COMMANDS,
    DPKG_SETTINGS,
    LAYOUT_FILES,
    cell_files,
    constraints,
    layout_links,
    packages_folder,
    requirements,
)
from dlimg.render.naming import cell_labels, former_tags, repository_name, tag


def load_templates(images: str) -> jinja2.Environment:
    """Return the templates under a folder such as `images`, read once, when first used."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(images),
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
        layers_obstacle=layers_obstacle(template_folder(cell, templates), templates),
    )


def render_dockerfile(cell: Cell, lock: Lock, environment: jinja2.Environment) -> str:
    """Return the text of the cell's Dockerfile.

    Raises BadInput, with the template's file and line, when a template is missing or malformed,
    uses an unknown variable, or sets something that neither the layout nor the matrix states.
    """
    text = _rendered(cell, lock, environment)
    check_settings(text, cell, image_config(cell, cell_labels(cell, lock)), environment)
    return text


def _rendered(cell: Cell, lock: Lock, environment: jinja2.Environment) -> str:
    known = template_context(cell, lock) | {"template_folder": template_folder(cell, environment)}
    try:
        folder = template_folder(cell, environment)
        return environment.get_template(f"{folder}/Dockerfile.j2").render(known)
    except jinja2.TemplateNotFound as error:
        folder = _folder(environment)
        hint = f"every family has a {folder}/FAMILY/Dockerfile.j2"
        raise BadInput(f"no template {folder}/{error.name}", where=cell.id, hint=hint) from None
    except jinja2.TemplateSyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        raise BadInput(f"not a template: {error.message}", where=where) from None
    except jinja2.TemplateRuntimeError as error:
        where = _place(error.__traceback__, _folder(environment))
        wrong = str(error.message)
        hint = _near(wrong, known)
        raise BadInput(f"{wrong}, for {cell.id}", where=where, hint=hint) from None


def template_folder(cell: Cell, environment: jinja2.Environment) -> str:
    """Return the folder of the cell's template: the family's, or else the framework's."""
    if cell.framework.folder and not _has_template(cell.family, environment):
        return cell.framework.folder
    return cell.family


@cache
def _has_template(folder: str, environment: jinja2.Environment) -> bool:
    try:
        environment.get_template(f"{folder}/Dockerfile.j2")
    except jinja2.TemplateNotFound as error:
        return error.name != f"{folder}/Dockerfile.j2"
    except jinja2.TemplateSyntaxError:
        return True
    return True


def template_context(cell: Cell, lock: Lock) -> dict[str, object]:
    """Return the variables of a template."""
    config = image_config(cell, cell_labels(cell, lock))
    return {
        "cell": cell,
        "cell_files": cell_files(cell, lock),
        "command_lines": list(command_lines(config)),
        "command_file": COMMAND,
        "commands_folder": COMMANDS,
        "constraints": tuple(constraints(cell, lock)),
        "cuda_home": cuda_home(cell),
        "dpkg_settings": DPKG_SETTINGS,
        "environment_lines": list(environment_lines(cell)),
        "epoch": EPOCH,
        "labels": [f"{name}={quoted(value)}" for name, value in config.labels.items()],
        "layout_files": list(LAYOUT_FILES),
        "layout_links": list(layout_links(cell.python, interpreter_path(cell))),
        "local_wheels": lock.local,
        "packages": " ".join(system_packages(cell)),
        "packages_folder": packages_folder(lock),
        "python": interpreter_path(cell),
        "requirements": tuple(requirements(lock)),
    }


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
    if cell.flavour in {Flavour.COMPILE, Flavour.DEVEL}:
        names.append("g++")
        if not cell.managed_python:
            names.append("libpython3-dev")
    if cell.flavour is Flavour.DEVEL:
        names.append("make")
    return sorted(names)


def _folder(environment: jinja2.Environment) -> str:
    loader = environment.loader
    return loader.searchpath[0] if isinstance(loader, jinja2.FileSystemLoader) else "images"


def _place(traceback: TracebackType | None, folder: str) -> str:
    """Return file and line of the innermost template in a traceback."""
    place = ""
    while traceback:
        file = traceback.tb_frame.f_code.co_filename
        if file.startswith(folder):
            place = f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _near(message: str, known: Iterable[str]) -> str:
    """Return the name nearest to the last quoted one in Jinja's message, as a hint."""
    quoted = message.split("'")[1::2]
    near = difflib.get_close_matches(quoted[-1] if quoted else "", [*known, *Cell.__slots__], n=1)
    return f"did you mean {near[0]}" if near else ""
