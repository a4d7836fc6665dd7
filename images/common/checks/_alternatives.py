"""Checks of update-alternatives: its database, and the links to the chosen programs."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import _dpkg
from _claims import Claims, Image, file, joined, link

DATABASE = "var/lib/dpkg/alternatives"
CHOSEN = "/etc/alternatives"


class Choice(NamedTuple):
    """One of several programs for a name; `others` are its companions, such as a manual page."""

    program: str
    priority: int
    others: dict[str, str]


class Group(NamedTuple):
    """The programs for one name; `links` are the paths of links to the chosen one, by name."""

    is_automatic: bool
    links: dict[str, str]
    choices: tuple[Choice, ...]


def claims(image: Image) -> Claims:
    """Return claims for the database, its links, and the links that lead to those."""
    by_path: Claims = {}
    for name in image.names(DATABASE):
        path = f"{DATABASE}/{name}"
        try:
            group = parse(name, image.text(path))
        except (ValueError, IndexError):
            by_path[path] = file(lambda: "cannot be read as update-alternatives writes it")
            continue
        fault = joined(faults(image, group))
        by_path[path] = file(partial(str, fault))
        best = max(group.choices, key=lambda choice: choice.priority)
        for label, place in group.links.items():
            target = best.program if label == name else best.others.get(label, "")
            if target:
                by_path[f"etc/alternatives/{label}"] = link(target)
                by_path[image.real(place)] = link(f"{CHOSEN}/{label}")
    return by_path


def faults(image: Image, group: Group) -> Iterator[str]:
    """Yield choices made by hand, and programs that no package installed."""
    if not group.is_automatic:
        yield "a person has chosen here"
    for choice in group.choices:
        if not image.is_packaged(choice.program):
            yield f"names {choice.program}, which no package brought"
        for place in choice.others.values():
            if not (image.is_packaged(place) or place.strip("/").startswith(_dpkg.LEFT_OUT)):
                yield f"names {place}, which no package brought"


def parse(name: str, text: str) -> Group:
    """Parse the database's text: its state, links by name, then each choice with its priority."""
    lines = text.split("\n")
    state, place, *rest = lines
    end = rest.index("")
    links = {name: place, **dict(zip(rest[:end:2], rest[1:end:2], strict=True))}
    labels = list(links)[1:]
    choices = []
    body = rest[end + 1 :]
    while body and body[0]:
        program, priority, *others = body[: 2 + len(labels)]
        choices.append(Choice(program, int(priority), dict(zip(labels, others, strict=True))))
        body = body[2 + len(labels) :]
    return Group(state == "auto", links, tuple(choices[:]) or _none(name))


def _none(name: str) -> tuple[Choice, ...]:
    raise ValueError(f"{name} has no choice")
