"""Cells with their locks -> images: Dockerfile, labels, tag and aliases."""

import jinja2

from dlimg.choose.resolve import Resolution
from dlimg.draw.dockerfile import dockerfile
from dlimg.draw.labels import labels
from dlimg.draw.tags import repository, tag
from dlimg.model import Cell, Image, Lock


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
