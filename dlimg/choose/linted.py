"""What a matrix says to `dlimg lint`: the GPUs that it promises, the findings that it accepts."""

from dlimg.choose import shapes
from dlimg.choose.form import Form
from dlimg.choose.matrix import Accepted, PromisedGpu
from dlimg.choose.yamltext import Items, Node


def read_gpus(form: Form, node: Node | None) -> tuple[PromisedGpu, ...]:
    """The GPUs under `gpus`; whether there are any such only the facts can say."""
    names = form.texts(node, "gpus")
    lines = [item.line for item in node.nodes] if isinstance(node, Items) else []
    return tuple(
        PromisedGpu(line=line, name=name) for name, line in zip(names, lines, strict=False)
    )


def read_accepted(form: Form, node: Node | None) -> tuple[Accepted, ...]:
    """The entries under `lint`, each with its reason."""
    found: list[Accepted] = []
    for item in form.items(node, "lint"):
        needed = ("id", "why")
        table = form.table(item, "an entry of lint", known=(*needed, "about"), needed=needed)
        one = Accepted(
            line=item.line,
            id=form.shaped(table.get("id"), "id", shapes.FINDING),
            about=form.text(table.get("about"), "about", "*"),
            why=form.prose(table.get("why"), "why"),
        )
        if any((one.id, one.about) == (other.id, other.about) for other in found):
            form.refuse(item.line, f"{one.id} about {one.about} is accepted twice")
        found.append(one)
    return tuple(found)
