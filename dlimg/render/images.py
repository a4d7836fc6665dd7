"""Cells with their locks -> images: Dockerfile, labels, tag and aliases."""

import jinja2

from dlimg.matrix.resolve import Resolution
from dlimg.model import Cell, Image, Lock
from dlimg.render.dockerfile import dockerfile
from dlimg.render.naming import labels, repository, tag


def image(cell: Cell, lock: Lock, resolution: Resolution, templates: jinja2.Environment) -> Image:
    """The image of a cell. Raises BadInput where a template cannot be rendered."""
    return Image(
        cell=cell,
        lock=lock,
        dockerfile=dockerfile(cell, lock, templates),
        labels=labels(cell, lock),
        repository=repository(resolution.registry, cell),
        tag=tag(cell, lock),
        aliases=resolution.aliases.get(cell.id, ()),
    )
