"""Eligibility for assembly from layers: a property of a template's blocks.

The layers builder runs the stage `system` of the layout's template, but not the instructions that
install the locked wheels: it writes their result itself. That result is known only for the blocks
of `images/_layout/Dockerfile.j2`, so a template with blocks of its own is built by BuildKit.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

import jinja2
from jinja2 import nodes

LAYOUT: Final = "_layout/Dockerfile.j2"

# The format of the layout's blocks that `dlimg.assembly.cell_layer` reproduces. Raise it together
# with `layout_format` in the template when an image built from them would hold other files;
# tests/engine/test_builders_agree.py compares the two builders.
LAYOUT_FORMAT: Final = 1


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
