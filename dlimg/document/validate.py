"""Values taken out of a YAML tree, with a problem for each that is not as expected."""

import re
from collections.abc import Collection, Iterable, Mapping

from dlimg.document.patterns import Pattern
from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, YamlSequence
from dlimg.errors import Problem, nearest


class Validator:
    """Takes values out of the tree of one file; problems are collected, never raised.

    `problems` begins with those of reading the tree. `subject` is the name of a value in messages.
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
        subject: str,
        *,
        known: Collection[str] | None = None,
        needed: Collection[str] = (),
        example: str = "",
    ) -> Mapping[str, Node]:
        """Return the entries of a mapping; unknown, missing and unprintable keys are refused.

        The `example` is shown where the node is none. No key is missing where one that could not be
        merged may have it.
        """
        if node is None:
            return {}
        if not isinstance(node, YamlMapping):
            hint = f"write e.g. {example}" if example else ""
            self.refuse(node.line, f"{subject} must be a mapping of keys to values", hint)
            return {}
        for key in node.entries:
            if known is not None and key not in known:
                hint = nearest(key, known)
                self.refuse(node.lines[key], f"unknown key {key!r} in {subject}", hint)
            elif not key.isprintable():
                self.refuse(node.lines[key], f"the key {key!r} of {subject} cannot be printed")
        for key in needed:
            if key not in node.entries and not node.open:
                self.refuse(node.line, f"{subject} needs the key {key!r}")
        return node.entries

    def text(self, node: Node | None, subject: str, default: str = "") -> str:
        """Return one line that is not empty; `default` without the key."""
        value = self._scalar(node, subject)
        if node is None or value.isprintable():
            return value or default
        self._unprintable(node, subject, value)
        return default

    def prose(self, node: Node | None, subject: str) -> str:
        """Return a text of any number of lines as one line."""
        value = " ".join(self._scalar(node, subject).split())
        if node is None or value.isprintable():
            return value
        self._unprintable(node, subject, value)
        return ""

    def _scalar(self, node: Node | None, subject: str) -> str:
        if node is None:
            return ""
        if not isinstance(node, YamlScalar):
            self.refuse(node.line, f"{subject} must be one text")
            return ""
        value = node.value
        if not value or value.isspace() or (node.plain and value in {"~", "null"}):
            self.refuse(node.line, f"{subject} is empty", "give it a value, or remove the key")
            return ""
        return value

    def _unprintable(self, node: Node, subject: str, value: str) -> None:
        hint = "write it in one line, without control characters"
        self.refuse(node.line, f"{subject} {value!r} cannot be printed", hint)

    def matching(self, node: Node | None, subject: str, pattern: Pattern, default: str = "") -> str:
        """Return a text that matches the pattern."""
        value = self.text(node, subject)
        if node is None or not value or not self.fits(node.line, subject, value, pattern):
            return default
        return value

    def fits(self, line: int, subject: str, value: str, pattern: Pattern) -> bool:
        """Return whether a text matches the pattern; one that does not is refused."""
        if re.fullmatch(pattern.pattern, value):
            return True
        self.refuse(line, f"{subject} {value!r} is not {pattern.called}", pattern.hint)
        return False

    def texts(self, node: Node | None, subject: str) -> tuple[str, ...]:
        """Return the texts of a list that is not empty and has no repeats."""
        if node is None:
            return ()
        if not isinstance(node, YamlSequence):
            self.refuse(node.line, f"{subject} must be a list")
            return ()
        if not node.nodes:
            self.refuse(node.line, f"{subject} is an empty list", "name at least one, or remove it")
        texts: list[str] = []
        for item in node.nodes:
            value = self.text(item, f"an entry of {subject}")
            if value in texts:
                self.refuse(item.line, f"{value!r} is in {subject} twice", "keep one of the two")
            elif value:
                texts.append(value)
        return tuple(texts)

    def one_or_more(self, node: Node | None, subject: str) -> tuple[str, ...]:
        """Return one text, or a list of them, as a tuple."""
        if isinstance(node, YamlScalar):
            value = self.text(node, subject)
            return (value,) if value else ()
        return self.texts(node, subject)

    def items(self, node: Node | None, subject: str) -> tuple[Node, ...]:
        if node is None:
            return ()
        if not isinstance(node, YamlSequence):
            self.refuse(node.line, f"{subject} must be a list")
            return ()
        return node.nodes

    def choice(self, node: Node | None, subject: str, known: Collection[str]) -> str:
        """Return a text of a closed set; any text if the set, refused already, is empty."""
        value = self.text(node, subject)
        if node is not None and value and known and value not in known:
            self.refuse(node.line, f"unknown {subject} {value!r}", nearest(value, known))
            return ""
        return value
