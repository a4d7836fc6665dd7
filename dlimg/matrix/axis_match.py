"""Reading values of some axes, which choose corners of a family."""

from collections.abc import Mapping

from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node
from dlimg.errors import nearest
from dlimg.matrix.model import AXES, CellSelector


def read_match(
    form: Validator,
    node: Node,
    axes: Mapping[str, tuple[str, ...]],
    what: str,
    known: tuple[str, ...],
) -> CellSelector:
    """Values of some axes; a value that its axis does not have is refused."""
    values = {}
    for axis, value in form.table(node, what, known=known).items():
        if axis not in axes and axis not in AXES:
            continue  # such as the `why` of an exclude
        allowed = form.one_or_more(value, f"{axis} of {what}")
        for one in allowed:
            # An axis that is empty or wrong has been refused already.
            if axes.get(axis) and one not in axes[axis]:
                hint = nearest(one, axes[axis])
                form.refuse(value.line, f"{what}: no {axis} is {one!r}", hint)
        values[axis] = allowed
    return CellSelector(line=node.line, values=values)
