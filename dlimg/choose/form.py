"""Reading a YAML tree against what is expected, collecting every problem on the way."""

from collections.abc import Collection, Iterable, Mapping

from dlimg.choose.yamltext import Items, Node, Table, Text
from dlimg.errors import Problem


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest right spelling, or with all that is allowed."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    choices = sorted(known)
    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"use one of {', '.join(choices)}" if choices else ""


class Form:
    """Takes values out of the tree of one file; whatever is wrong is noted, never raised."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def place(self, line: int) -> str:
        return f"{self.source}:{line}"

    def refuse(self, line: int, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message=message, where=self.place(line), hint=hint))

    def table(
        self,
        node: Node | None,
        what: str,
        *,
        known: Collection[str] | None = None,
        needed: Collection[str] = (),
    ) -> Mapping[str, Node]:
        """The entries of a mapping; unknown and missing keys are refused."""
        if node is None:
            return {}
        if not isinstance(node, Table):
            self.refuse(node.line, f"{what} must be a mapping of keys to values")
            return {}
        if known is not None:
            for key in node.entries:
                if key not in known:
                    hint = nearest(key, known)
                    self.refuse(node.lines[key], f"unknown key {key!r} in {what}", hint)
        for key in needed:
            if key not in node.entries:
                self.refuse(node.line, f"{what} needs the key {key!r}")
        return node.entries

    def text(self, node: Node | None, what: str, default: str = "") -> str:
        """A text that is not empty; `default` when the key is not there at all."""
        if node is None:
            return default
        if not isinstance(node, Text):
            self.refuse(node.line, f"{what} must be one text")
            return default
        if not node.value.strip() or (node.plain and node.value in {"~", "null"}):
            self.refuse(node.line, f"{what} is empty", "give it a value, or remove the key")
            return default
        return node.value

    def texts(self, node: Node | None, what: str) -> tuple[str, ...]:
        """The texts of a list that is not empty and says nothing twice."""
        if node is None:
            return ()
        if not isinstance(node, Items):
            self.refuse(node.line, f"{what} must be a list")
            return ()
        if not node.nodes:
            self.refuse(node.line, f"{what} is an empty list", "name at least one, or remove it")
        found: list[str] = []
        for item in node.nodes:
            value = self.text(item, f"an entry of {what}")
            if value in found:
                self.refuse(item.line, f"{value!r} stands twice in {what}", "keep one of the two")
            elif value:
                found.append(value)
        return tuple(found)

    def one_or_more(self, node: Node | None, what: str) -> tuple[str, ...]:
        """One text, or a list of them."""
        if isinstance(node, Text):
            value = self.text(node, what)
            return (value,) if value else ()
        return self.texts(node, what)

    def items(self, node: Node | None, what: str) -> tuple[Node, ...]:
        if node is None:
            return ()
        if not isinstance(node, Items):
            self.refuse(node.line, f"{what} must be a list")
            return ()
        return node.nodes

    def choice(self, node: Node | None, what: str, known: Collection[str]) -> str:
        """A text out of a closed set."""
        value = self.text(node, what)
        if node is not None and value and value not in known:
            self.refuse(node.line, f"unknown {what} {value!r}", nearest(value, known))
            return ""
        return value
