"""`dlimg.yaml`, the project file: parsed into the request of a run. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from dlimg.document.patterns import Pattern
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, YamlSequence, parse_yaml
from dlimg.errors import BadInput
from dlimg.model import EMPTY_MAPPING
from dlimg.run.model import (
    STOP_SECONDS,
    DataRequest,
    GpuChoice,
    Mode,
    PortMapping,
    ProjectLayer,
    RunRequest,
)
from dlimg.run.names import NAME, VARIABLE, check_name, parse_data, parse_port

Value = TypeVar("Value")
FILE: Final = "dlimg.yaml"
KEYS: Final = (
    *("name", "image", "env", "gpu", "command", "mode", "packages", "apt", "setup", "data"),
    *("output", "secrets", "ports", "stop_time", "idle_time"),
)
MODES: Final[tuple[Mode, ...]] = ("jupyter", "ssh", "both")
_GPU: Final[Mapping[str, GpuChoice]] = {"true": "gpu", "false": "cpu", "auto": "auto"}
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
_NAME: Final = Pattern(NAME, "a name", "use letters, digits, `.`, `_` and `-`")
_VARIABLE: Final = Pattern(VARIABLE, "the name of a variable", "e.g. WANDB_API_KEY")
_TIME: Final = Pattern(r"\d{1,6}[smh]?", "a time", "write e.g. 120s, 10m or 2h")
_REQUIREMENT: Final = Pattern(
    r"[A-Za-z0-9][\w.-]*(?:\[[\w.,\s-]+\])?\s*(?:[~=!<>]=?=?\s*[\w.*+!,<>=~ -]+)?",
    "a requirement",
    "write NAME, NAME==VERSION or NAME>=VERSION; addresses and options are not locked",
)
_PACKAGE: Final = Pattern(r"[a-z0-9][a-z0-9+.-]+", "a package of the distribution", "e.g. ffmpeg")


def parse_project(text: str, folder: Path) -> RunRequest:
    """Return the run that a project file describes. Raises BadInput with every problem in it."""
    node, problems = parse_yaml(text, FILE)
    validator = Validator(FILE, problems)
    table = validator.table(node, FILE, known=KEYS, example="gpu: auto")
    image, variables = _image_and_variables(table, validator)
    gpu = validator.choice(table.get("gpu"), "gpu", tuple(_GPU)) or "auto"
    idle_time = validator.matching(table.get("idle_time"), "idle_time", _TIME)
    idle = {"DLIMG_IDLE": idle_time} if idle_time else {}
    project = RunRequest(
        folder=folder,
        name=validator.matching(table.get("name"), "name", _NAME),
        env=image,
        gpu=_GPU[gpu],
        command=_command(table.get("command"), validator),
        mode=_mode(table.get("mode"), validator),
        layer=ProjectLayer(
            packages=_matching(table, "packages", _REQUIREMENT, validator),
            apt=_matching(table, "apt", _PACKAGE, validator),
            setup=_lines(table.get("setup"), validator),
        ),
        data=tuple(_data(table.get("data"), validator)),
        output=validator.text(table.get("output"), "output"),
        variables={**idle, **variables},
        secrets=_matching(table, "secrets", _VARIABLE, validator),
        ports=tuple(_ports(table.get("ports"), validator)),
        stop_seconds=_stop_seconds(validator.matching(table.get("stop_time"), "stop_time", _TIME)),
    )
    if project.command and project.mode != "command":
        line = table["mode"].line
        validator.refuse(line, "mode and command exclude each other", "keep one of the two")
    if validator.problems:
        raise BadInput.of(validator.problems)
    return project


def _image_and_variables(
    table: Mapping[str, Node], validator: Validator
) -> tuple[str, Mapping[str, str]]:
    """Return the image, of `image` or of `env` with one text, and the variables of `env`."""
    image = validator.text(table.get("image"), "image")
    env = table.get("env")
    if isinstance(env, YamlScalar):
        if image:
            validator.refuse(env.line, "env and image both name the image", "keep one of the two")
        return validator.text(env, "env"), EMPTY_MAPPING
    entries = validator.table(env, "env", example="env: {EPOCHS: 3}, or env: tensorflow-2.21")
    variables = {}
    for name, node in entries.items():
        if validator.fits(node.line, "variable", name, _VARIABLE):
            variables[name] = node.value if isinstance(node, YamlScalar) else ""
            if not isinstance(node, YamlScalar):
                validator.refuse(node.line, f"the variable {name} must be one text")
    return image, variables


def _command(node: Node | None, validator: Validator) -> tuple[str, ...]:
    """Return the arguments of a list, or lines for the shell, which ends at the first error."""
    if isinstance(node, YamlSequence):
        return tuple(validator.text(entry, "a word of command") for entry in node.nodes)
    if isinstance(node, YamlScalar):
        node = replace(node, value=node.value.rstrip("\n"))
        if "\n" in node.value:
            return ("sh", "-c", f"set -e\n{node.value}")
    text = validator.text(node, "command")
    if not text:
        return ()
    return ("sh", "-c", text) if re.search(r"[\s;&|$<>]", text) else (text,)


def _mode(node: Node | None, validator: Validator) -> Mode:
    text = validator.choice(node, "mode", MODES)
    return next((mode for mode in MODES if mode == text), "command")


def _matching(
    table: Mapping[str, Node], key: str, pattern: Pattern, validator: Validator
) -> tuple[str, ...]:
    node = table.get(key)
    texts = validator.one_or_more(node, key)
    line = node.line if node else 0
    return tuple(text for text in texts if validator.fits(line, f"{key}:", text, pattern))


def _lines(node: Node | None, validator: Validator) -> tuple[str, ...]:
    if isinstance(node, YamlScalar):
        return tuple(line for line in node.value.splitlines() if line.strip())
    return validator.texts(node, "setup")


def _data(node: Node | None, validator: Validator) -> list[DataRequest]:
    """Return the data of a list of `SRC[:NAME]`, or of a mapping of names to sources."""
    if isinstance(node, YamlMapping):
        sources = {name: validator.text(n, f"data {name}") for name, n in node.entries.items()}

        def request(name: str) -> DataRequest:
            check_name(name, "data")
            return DataRequest(source=sources[name], name=name)

        return _parsed([name for name in sources if sources[name]], request, node, validator)
    texts = validator.one_or_more(node, "data")
    return _parsed(texts, lambda text: parse_data(text, exists=False), node, validator)


def _ports(node: Node | None, validator: Validator) -> list[PortMapping]:
    return _parsed(validator.one_or_more(node, "ports"), parse_port, node, validator)


def _parsed(
    texts: Iterable[str], parse: Callable[[str], Value], node: Node | None, validator: Validator
) -> list[Value]:
    """Return the parsed texts; what is wrong with one is refused at the line of its key."""
    values = []
    for text in texts:
        try:
            values.append(parse(text))
        except BadInput as error:
            line = node.line if node else 0
            for problem in error.problems:
                validator.refuse(line, problem.message, problem.hint)
    return values


def _stop_seconds(text: str) -> int:
    if not text:
        return STOP_SECONDS
    number = text.rstrip("smh")
    return int(number) * _UNITS[text[len(number) :]]


def with_project(request: RunRequest, project: RunRequest) -> RunRequest:
    """Return the command line's request, with the project's values where it has none."""
    is_plain = request.mode == "command" and not request.command and not request.terminal
    names = {data.name for data in request.data}
    gpu = project.gpu if request.gpu == "auto" and not request.device else request.gpu
    return replace(
        request,
        name=request.name or project.name,
        env=request.env or project.env,
        gpu=gpu,
        command=request.command or (project.command if is_plain else ()),
        mode=project.mode if is_plain else request.mode,
        data=(*request.data, *(data for data in project.data if data.name not in names)),
        output=request.output or project.output,
        variables={**project.variables, **request.variables},
        secrets=tuple(dict.fromkeys((*project.secrets, *request.secrets))),
        ports=(*project.ports, *request.ports),
        stop_seconds=project.stop_seconds,
        layer=project.layer,
    )
