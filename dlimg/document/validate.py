"""Reading a YAML tree against what is expected, collecting every problem on the way."""

import re
from collections.abc import Collection, Iterable, Mapping

from dlimg.document.patterns import Pattern
from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, YamlSequence
from dlimg.errors import Problem, nearest


class Validator:
    """Takes values out of the tree of one file; whatever is wrong is noted, never raised.

    `problems` begins with those that reading the tree has found.
    """

    def __init__(self, source: str, problems: Iterable[Problem] = ()) -> None:
        self.source = source
        self.problems: list[Problem] = list(problems)

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
        """The entries of a mapping; unknown, missing and unprintable keys are refused."""
        if node is None:
            return {}
        if not isinstance(node, YamlMapping):
            self.refuse(node.line, f"{what} must be a mapping of keys to values")
            return {}
        for key in node.entries:
            if known is not None and key not in known:
                hint = nearest(key, known)
                self.refuse(node.lines[key], f"unknown key {key!r} in {what}", hint)
            elif not key.isprintable():
                self.refuse(node.lines[key], f"the key {key!r} of {what} cannot be printed")
        for key in needed:
            if key not in node.entries:
                self.refuse(node.line, f"{what} needs the key {key!r}")
        return node.entries

    def text(self, node: Node | None, what: str, default: str = "") -> str:
        """One line that is not empty; `default` when the key is not there at all."""
        value = self._written(node, what)
        if node is None or value.isprintable():
            return value or default
        self._unprintable(node, what, value)
        return default

    def prose(self, node: Node | None, what: str) -> str:
        """A text that may stand on several lines, as one line."""
        value = " ".join(self._written(node, what).split())
        if node is None or value.isprintable():
            return value
        self._unprintable(node, what, value)
        return ""

    def _written(self, node: Node | None, what: str) -> str:
        if node is None:
            return ""
        if not isinstance(node, YamlScalar):
            self.refuse(node.line, f"{what} must be one text")
            return ""
        value = node.value
        if not value or value.isspace() or (node.plain and value in {"~", "null"}):
            self.refuse(node.line, f"{what} is empty", "give it a value, or remove the key")
            return ""
        return value

    def _unprintable(self, node: Node, what: str, value: str) -> None:
        hint = "write it in one line, without control characters"
        self.refuse(node.line, f"{what} {value!r} cannot be printed", hint)

    def shaped(self, node: Node | None, what: str, shape: Pattern, default: str = "") -> str:
        """A text of this shape."""
        value = self.text(node, what)
        if node is None or not value or not self.fits(node.line, what, value, shape):
            return default
        return value

    def fits(self, line: int, what: str, value: str, shape: Pattern) -> bool:
        """Whether a text has this shape; one that has not is refused."""
        if re.fullmatch(shape.pattern, value):
            return True
        self.refuse(line, f"{what} {value!r} is not {shape.called}", shape.hint)
        return False

    def texts(self, node: Node | None, what: str) -> tuple[str, ...]:
        """The texts of a list that is not empty and says nothing twice."""
        if node is None:
            return ()
        if not isinstance(node, YamlSequence):
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
        if isinstance(node, YamlScalar):
            value = self.text(node, what)
            return (value,) if value else ()
        return self.texts(node, what)

    def items(self, node: Node | None, what: str) -> tuple[Node, ...]:
        if node is None:
            return ()
        if not isinstance(node, YamlSequence):
            self.refuse(node.line, f"{what} must be a list")
            return ()
        return node.nodes

    def choice(self, node: Node | None, what: str, known: Collection[str]) -> str:
        """A text out of a closed set; out of an empty one, which was refused already, any."""
        value = self.text(node, what)
        if node is not None and value and known and value not in known:
            self.refuse(node.line, f"unknown {what} {value!r}", nearest(value, known))
            return ""
        return value
