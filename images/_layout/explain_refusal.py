#!/usr/local/lib/dlimg/python -IBS
"""Explain why pip and uv keep the versions of the image's framework and CUDA.

pip's start loads this as a module, and its own message names the refused packages. For uv, which
is no Python, a script runs this: `after` it has failed, `before` a command for which uv reads no
constraints, and for a `project`, which has an environment without the image's packages.
"""

import atexit
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = "pyproject.toml"
CONSTRAINTS = Path("/etc/dlimg/constraints.txt")
IMAGE = Path("/etc/dlimg/image.json")
PIP = "/opt/env/lib/python/site-packages"
RESOLVER = "pip._internal.resolution.resolvelib.factory"
# In pip's message, which has a line for each requirement that was in the way.
CAUSE = re.compile(
    r"^ +(?:The user requested|(\S+ \S+) depends on) (?!\(constraint\))"
    r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?[ \t]*([^;\n]*)",
    re.MULTILINE,
)
# The same of a wheel or a folder: `six 1.16.0 (from /tmp/six-1.16.0-py3-none-any.whl)`.
FROM_FILE = re.compile(r" ?\b(\d\S*) \(from .*")
WHEEL = re.compile(r"(?:.*/)?([A-Za-z0-9_.]+)-(\d[^-/]*)-[^/ ]+\.whl")
# The same of constraints: pip joins those of several files for one package.
CONSTRAINED = re.compile(r"^ +The user requested \(constraint\) (\S+?)([=<>!~]\S*)", re.MULTILINE)
# In uv's message: `jax<0.5`, and before it perhaps `flax==0.1 depends on`.
UV_CAUSE = r"(?:(\S+) depends? on )?(?<![\w.-])%s(?:\[[^]]*\])?((?:[=<>!~][^\s,]+,?)+)"
SECONDS = 30
FILE_OPTIONS = ("-r", "--requirement", "--requirements")
# Options whose value is no requirement. What is wrong with constraints, the tool says itself.
VALUE_OPTIONS = (
    *("--directory", "--project", "--python", "-p", "--target", "-t", "--prefix"),
    *("-c", "--constraint", "--constraints", "-b", "--build-constraints", "-o", "--output-file"),
)
STDIN = "/dev/stdin"
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


def main() -> int:
    """Print what is to be said of a command of uv; return 1 where it has to be refused."""
    when, *command = sys.argv[1:]
    constraints = read_constraints()
    arguments = command[1:]
    if is_unconstrained(arguments) or not constraints:
        return 0
    sys.path.append(PIP)
    if when == "project":
        lines = list(project_note(arguments, constraints))
        is_refused = False
    else:
        refusals = list(of_arguments(arguments, constraints))
        if when == "after" and not refusals:
            refusals = list(of_uv(arguments, constraints))
        lines = list(explanation(list(dict.fromkeys(refusals)), constraints, command))
        is_refused = bool(lines)
    for line in lines:
        print(line, file=sys.stderr, flush=True)
    return int(is_refused)


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
        # With `--quiet`, pip names only the requirements that it cannot install.
        refusals = refusals or list(of_arguments(arguments, constraints))
        refusals = refusals or list(of_names(messages, constraints))
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
        is_known = normal(name) in constraints and f"(constraint) {normal(name)}" in text.lower()
        if is_known and specifier.strip():
            yield Refusal(normal(name), FROM_FILE.sub(r"==\1", specifier.strip()), by)
    for name, specifiers in CONSTRAINED.findall(text):
        version = constraints.get(normal(name), "")
        others = [part for part in specifiers.split(",") if part != f"=={version}"]
        if version and others:
            yield Refusal(normal(name), ",".join(others))


def of_names(messages: Sequence[str], constraints: dict[str, str]) -> Iterator[Refusal]:
    """Yield the refusals of pip's short message: `Cannot install a==1 and b==2 because ...`.

    It does not name constraints; a package without a version is refused for the sake of one.
    """
    for text in messages:
        names = text.removeprefix(CANNOT).partition(" because ")[0]
        for requirement in re.split(r", | and ", names):
            name, specifier = parsed(FROM_FILE.sub(r"==\1", requirement.strip()))
            if name in constraints and not (specifier and is_met(specifier, constraints[name])):
                yield Refusal(name, specifier)


def of_uv(arguments: Sequence[str], constraints: dict[str, str]) -> Iterator[Refusal]:
    """Yield the refusals of uv's own message: its command fails once more, from its cache alone."""
    more = ["--offline", *(["--dry-run"] if "install" in arguments else [])]
    command = [
        os.environ["DLIMG_UV"],
        *arguments,
        *(word for word in more if word not in arguments),
    ]
    # Requirements from standard input, and from pipes, are in files that are open.
    given = STDIN if Path(STDIN).is_file() else os.devnull
    try:
        with open(given, "rb") as stdin:
            ended = subprocess.run(
                command,
                capture_output=True,
                stdin=stdin,
                close_fds=False,
                timeout=SECONDS,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired):
        return
    yield from of_uv_message(ended.stderr.decode(errors="replace"), constraints)


def of_uv_message(text: str, constraints: dict[str, str]) -> Iterator[Refusal]:
    """Yield the refusals that uv's message names: of packages whose version it takes as given."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    for name, version in constraints.items():
        given = f"=={version}"
        if f"{name}{given}" not in text:
            continue
        for by, specifier in re.findall(UV_CAUSE % re.escape(name), text):
            if not is_met(specifier.rstrip(",."), version):
                yield Refusal(name, specifier.rstrip(",."), by)


def of_arguments(arguments: Sequence[str], constraints: dict[str, str]) -> Iterator[Refusal]:
    """Yield the refusals of a command line: requirements, files of them, and projects."""
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        option, _, value = argument.partition("=")
        if option in FILE_OPTIONS:
            yield from of_file(Path(value or (waiting.pop(0) if waiting else "")), constraints)
        elif option in VALUE_OPTIONS and not value:
            del waiting[:1]
        elif argument.startswith("-r") or argument == "-":
            yield from of_file(Path(argument.removeprefix("-r")), constraints)
        elif not argument.startswith("-"):
            project = Path(argument, PROJECT)
            if project.is_file():
                yield from of_project(project, constraints)
            elif (
                Path(argument).name == PROJECT
                or argument.endswith((".txt", ".in"))
                or (argument.startswith("/dev/"))
            ):
                # `uv pip sync` and `uv pip compile` take files.
                yield from of_file(Path(argument), constraints)
            else:
                yield from of_requirement(argument, constraints)


def of_file(path: Path, constraints: dict[str, str], depth: int = 0) -> Iterator[Refusal]:
    """Yield the refusals of a requirements file, and of those that it names."""
    if path.name == PROJECT:
        yield from of_project(path, constraints)
        return
    path = Path(STDIN) if str(path) == "-" else path
    if not path.is_file():  # a pipe has been read, or waits for the tool
        return
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
    name, requirements = read_project(path)
    for requirement in requirements:
        for refusal in of_requirement(requirement, constraints):
            yield refusal._replace(by=name)


def read_project(path: Path) -> tuple[str, list[str]]:
    """Return the name and the dependencies of a project; none where they cannot be read."""
    try:
        import tomllib  # Python 3.10 has none, and its images go without this

        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except (ImportError, OSError, ValueError):
        return "", []
    return str(project.get("name", path.parent)), [*map(str, project.get("dependencies", []))]


def project_note(arguments: Sequence[str], constraints: dict[str, str]) -> Iterator[str]:
    """Yield lines for a project of uv that gets packages of its own for those of the image.

    Once they are in its environment, there is nothing to say any more.
    """
    folder = project_folder(arguments)
    environment = folder / (os.environ.get("UV_PROJECT_ENVIRONMENT") or ".venv")
    requirements = [] if "--no-project" in arguments else read_project(folder / PROJECT)[1]
    versions = dict(parsed(text) for text in (*requirements, *arguments[1:]))
    for name, version in constraints.items():
        packages = f"lib/*/site-packages/{name.replace('-', '_')}-*"
        if name not in versions or any(environment.glob(packages)):
            continue
        specifier = versions[name]
        yield (
            f"dlimg: uv gives this project an environment of its own, {environment}: {name}"
            f"{specifier} goes there, and not the image's {name} {version}"
        )
        if not is_met(specifier, version):
            line = pick_line(Refusal(name, specifier), framework_package())
            yield f"dlimg: an image with that version, where dlimg is installed: {line}"
        yield (
            "dlimg: with the image's: `uv pip install -r pyproject.toml`, and `python` instead of "
            "`uv run python`"
        )
        return


def project_folder(arguments: Sequence[str]) -> Path:
    """Return the folder of the project that uv takes: it looks for it upwards."""
    start = Path.cwd()
    for at, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in ("--directory", "--project"):
            start = Path(start, value or "".join(arguments[at + 1 : at + 2]))
    return next((path for path in (start, *start.parents) if (path / PROJECT).is_file()), start)


def of_requirement(text: str, constraints: dict[str, str]) -> Iterator[Refusal]:
    name, specifier = parsed(WHEEL.sub(r"\1==\2", text) if WHEEL.fullmatch(text) else text)
    if name in constraints and not is_met(specifier, constraints[name]):
        yield Refusal(name, specifier)


def parsed(text: str) -> tuple[str, str]:
    """Return a requirement's package and specifier, which is ` @ URL` for an address.

    The package is empty for other texts, and for what is not for this machine.
    """
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return "", ""
    if requirement.marker and not requirement.marker.evaluate():
        return "", ""
    address = f" @ {requirement.url}" if requirement.url else ""
    return normal(requirement.name), address or str(requirement.specifier)


def is_met(specifier: str, version: str) -> bool:
    from pip._vendor.packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return False


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
    is_uv = command[0] == "uv"
    words = ["uv", "--no-config", *command[1:]] if is_uv else command
    line = re.sub(r"/dev/fd/\d+", "<(...)", shlex.join(words))
    return line if is_uv else f"PIP_CONSTRAINT=/dev/null {line}"


if __name__ == "__main__":
    sys.exit(main())
