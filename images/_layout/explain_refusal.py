#!/usr/local/lib/dlimg/python -IBS
"""Explain why pip and uv keep the versions of the image's framework and CUDA.

pip's start loads this as a module, and its own message names the refused packages. For uv, which
is no Python, a script runs this before it; then the command line and its files are read.
"""

import atexit
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CONSTRAINTS = Path("/etc/dlimg/constraints.txt")
IMAGE = Path("/etc/dlimg/image.json")
PIP = "/opt/env/lib/python/site-packages"
RESOLVER = "pip._internal.resolution.resolvelib.factory"
# In pip's message, which has a line for each requirement that was in the way.
CAUSE = re.compile(
    r"^ +(?:The user requested|(\S+ \S+) depends on) (?!\(constraint\))"
    r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?\s*([^;\n]*)",
    re.MULTILINE,
)
CONFLICT = "The conflict is caused by"
CANNOT = "Cannot install"
# Options with which uv does not read the image's constraints, and variables that do the same.
UNCONSTRAINED = ("--no-config", "--config-file", "--override", "--overrides")
UNCONSTRAINED_VARIABLES = ("UV_NO_CONFIG", "UV_CONFIG_FILE", "UV_OVERRIDE")


class Refusal(NamedTuple):
    """A requirement that the image's version of its package does not meet.

    `by` is the package that has it, or empty for one of the user's own.
    """

    name: str
    specifier: str
    by: str = ""


def main() -> None:
    tool, *arguments = sys.argv[1:]
    constraints = read_constraints()
    if tool != "uv" or is_unconstrained(arguments) or not constraints:
        return
    sys.path.append(PIP)
    refusals = list(dict.fromkeys(of_arguments(arguments, constraints)))
    for line in explanation(refusals, constraints, ["uv", *arguments]):
        print(line, file=sys.stderr, flush=True)


def watch_pip(arguments: Sequence[str]) -> None:
    """Print an explanation at the end of this process if pip refuses for the image's sake."""
    constraints = read_constraints()
    messages: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if CONFLICT in text or text.startswith(CANNOT):
            messages.append(text)
        return True

    def show() -> None:
        if not messages:
            return
        refusals = [refusal for text in messages for refusal in of_message(text, constraints)]
        # With `--quiet`, pip does not name the requirements.
        refusals = refusals or list(of_arguments(arguments, constraints))
        command = ["pip", *arguments]
        for line in explanation(list(dict.fromkeys(refusals)), constraints, command):
            print(line, file=sys.stderr, flush=True)

    logging.getLogger(RESOLVER).addFilter(note)
    atexit.register(show)


def read_constraints() -> dict[str, str]:
    """Return the versions that the image keeps, by package."""
    try:
        lines = CONSTRAINTS.read_text(encoding="utf-8").split()
    except OSError:
        return {}
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def is_unconstrained(arguments: Sequence[str]) -> bool:
    named = {argument.partition("=")[0] for argument in arguments}
    is_set = any(os.environ.get(name) for name in UNCONSTRAINED_VARIABLES)
    return is_set or not named.isdisjoint(UNCONSTRAINED)


def of_message(text: str, constraints: dict[str, str]) -> Iterator[Refusal]:
    """Yield the refusals that pip's message names."""
    for by, name, specifier in CAUSE.findall(text):
        if normal(name) in constraints and f"(constraint) {normal(name)}" in text.lower():
            yield Refusal(normal(name), specifier.strip(), by)


def of_arguments(arguments: Sequence[str], constraints: dict[str, str]) -> Iterator[Refusal]:
    """Yield the refusals of a command line: requirements, files of them, and projects."""
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        option, _, value = argument.partition("=")
        if option in ("-r", "--requirement", "--requirements"):
            yield from of_file(Path(value or (waiting.pop(0) if waiting else "")), constraints)
        elif argument.startswith("-r"):
            yield from of_file(Path(argument[2:]), constraints)
        elif not argument.startswith("-"):
            project = Path(argument, "pyproject.toml")
            if project.is_file():
                yield from of_project(project, constraints)
            else:
                yield from of_requirement(argument, constraints)


def of_file(path: Path, constraints: dict[str, str], depth: int = 0) -> Iterator[Refusal]:
    """Yield the refusals of a requirements file, and of those that it names."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.replace("\\\n", " ").splitlines():
        requirement = re.sub(r"(^|\s)#.*", "", line).partition(" --")[0].strip()
        match = re.match(r"(?:-r|--requirement)[ =]*(\S+)", requirement)
        if match and depth < 10:
            yield from of_file(path.parent / match[1], constraints, depth + 1)
        elif not requirement.startswith("-"):
            yield from of_requirement(requirement, constraints)


def of_project(path: Path, constraints: dict[str, str]) -> Iterator[Refusal]:
    import tomllib  # Python 3.10 has none, and its images go without this

    try:
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return
    for requirement in project.get("dependencies", []):
        for refusal in of_requirement(str(requirement), constraints):
            yield refusal._replace(by=str(project.get("name", path.parent)))


def of_requirement(text: str, constraints: dict[str, str]) -> Iterator[Refusal]:
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return
    name = normal(requirement.name)
    if name not in constraints or (requirement.marker and not requirement.marker.evaluate()):
        return
    if requirement.url:
        yield Refusal(name, f" @ {requirement.url}")
    elif not requirement.specifier.contains(constraints[name], prereleases=True):
        yield Refusal(name, str(requirement.specifier))


def explanation(
    refusals: Sequence[Refusal], constraints: dict[str, str], command: Sequence[str]
) -> Iterator[str]:
    """Yield the lines: what would happen, which image has that version, how to insist."""
    if not refusals:
        return
    framework = framework_package()
    yield ""
    for refusal in refusals:
        by = f" ({refusal.by} asks for it)" if refusal.by else ""
        yield (
            f"dlimg: {refusal.name}{refusal.specifier} is refused{by}: this image was built and "
            f"tested with {refusal.name} {constraints[refusal.name]}"
        )
    yield f"dlimg: it would be a second one, in front of the image's{with_cuda()}"
    for line in dict.fromkeys(pick_line(refusal, framework) for refusal in refusals):
        yield f"dlimg: an image with that version, where dlimg is installed: {line}"
    yield f"dlimg: to install it nevertheless: {insisting(command)}"
    yield (
        "dlimg: `dlimg-reset` takes that back; `dlimg-overlay --name NAME` makes an environment of "
        "its own for it"
    )


def with_cuda() -> str:
    has_cuda = any(Path(PIP).glob("nvidia*.dist-info"))
    more = ", with gigabytes of another CUDA" if has_cuda else ""
    return f"{more}, and what was compiled for the image's would break"


def pick_line(refusal: Refusal, framework: str) -> str:
    """Return the command that finds an image; of packages beside the framework, by that one."""
    # Names of one framework: `tensorflow-cpu` is in the image, and `tensorflow` was asked for.
    if framework in ("", refusal.name, f"{refusal.name}-cpu"):
        version = "" if "@" in refusal.specifier else refusal.specifier.replace(" ", "")
        return shlex.join(["dlimg", "pick", f"{refusal.name}{version}"])
    return shlex.join(["dlimg", "pick", framework])


def framework_package() -> str:
    """Return the package that the image is made for, or an empty text."""
    try:
        return normal(str(json.loads(IMAGE.read_text(encoding="utf-8")).get("package", "")))
    except (OSError, ValueError, AttributeError):
        return ""


def insisting(command: Sequence[str]) -> str:
    """Return the command line with which the tool does not keep the image's versions."""
    if command[0] == "uv":
        return shlex.join(["uv", "--no-config", *command[1:]])
    return f"PIP_CONSTRAINT=/dev/null {shlex.join(command)}"


if __name__ == "__main__":
    main()
