"""Parsing of the matrix file; all of its errors are collected."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Final, TypeVar

from dlimg.document import patterns
from dlimg.document.patterns import COMPRESSION
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, YamlSequence, parse_yaml
from dlimg.errors import BadInput, Problem, nearest
from dlimg.matrix.accelerators import unknown_accelerator
from dlimg.matrix.additions import ADDITION_KEYS, FLAVOURS, read_additions
from dlimg.matrix.former_names import renamed_note, replace_old_keys
from dlimg.matrix.indexes import read_indexes
from dlimg.matrix.model import (
    AXES,
    CUDNN,
    LEADER,
    NO_CUDNN,
    SELECTABLE,
    USUAL_PACKAGES,
    VERSION,
    Family,
    IgnoredFinding,
    Matrix,
    OperatingSystemChoice,
    PromisedGpu,
    StackChoice,
    StatedVariable,
)
from dlimg.matrix.required_checks import read_required_checks
from dlimg.matrix.selectors import (
    read_excludes,
    read_groups,
    read_overrides,
    read_selector,
    values_by_axis,
)
from dlimg.matrix.user import read_user
from dlimg.model import CPU, DEFAULT_USER, EnvVar, ImageUser, StackException

KEYS: Final = (
    *("framework", "axes", "packages", "paired_packages", "leaders"),
    *("defaults", "env", "exclude", "aliases", "override", "platform", "user"),
    *ADDITION_KEYS,
)
# `os` has all operating systems where it is not named, `python` those of the distributions.
_NEEDED_AXES: Final = ("version", "accelerator", "flavour")
_VARIABLE_KEYS: Final = ("value", "why")
# Set by the layout in some image, or left to the user of a container; a test compares the two.
LAYOUT_NAMES: Final = frozenset(
    {
        *("PATH", "PIP_CONSTRAINT", "PIP_DISABLE_PIP_VERSION_CHECK", "PYTHONUNBUFFERED"),
        *("LANG", "TZ", "USER", "SHELL", "HOME", "LOGNAME", "CUDA_HOME"),
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "LD_LIBRARY_PATH"),
        *("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"),
    }
)
LAYOUT_PREFIX: Final = "DLIMG_"
# As `runtime_secrets` finds them in an image, where everyone who pulls it can read them.
_UNSAFE_NAME: Final = (
    r"(?i:.*(?:TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|NETRC"
    r"|(?:API|ACCESS|PRIVATE|SIGNING)[_-]?KEY).*|.*_AUTH)"
)
_UNSAFE_VALUE: Final = r"(?i:.*[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@.*)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    """The values of axes, and the line of each; `cudnn` are the choices on each accelerator.

    `arch` is the CPU architecture of the matrix, `user` its user.
    """

    values: Mapping[str, tuple[str, ...]]
    lines: Mapping[str, int]
    cudnn: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    arch: str = ""
    user: ImageUser = DEFAULT_USER


def _read_axes(form: Validator, node: Node | None, owner: str) -> _Axes:
    table = form.table(node, f"the axes of {owner}", known=AXES)
    values = {axis: form.texts(entry, f"{axis} of {owner}") for axis, entry in table.items()}
    lines = node.lines if isinstance(node, YamlMapping) else {}
    return _Axes(values={axis: values[axis] for axis in AXES if axis in values}, lines=lines)


def read_family(form: Validator, name: str, node: Node, shared: _Axes) -> Family:
    """Return the family of this entry. `shared` are the axes of the whole matrix."""
    subject = f"family {name}"
    table = form.table(node, subject, known=KEYS, needed=("framework", "axes", "packages"))
    axes, lines = _family_axes(form, node, table, subject, shared)
    defaults = form.table(table.get("defaults"), f"the defaults of {subject}", known=AXES)
    aliases = form.table(table.get("aliases"), f"the aliases of {subject}")
    for alias, entry in aliases.items():
        form.fits(entry.line, f"the alias of {subject}", alias, patterns.TAG)
    leaders = form.table(table.get("leaders"), f"the leaders of {subject}")
    paired = table.get("paired_packages")
    return Family(
        name=name,
        line=node.line,
        lines=lines,
        framework=form.text(table.get("framework"), "framework"),
        axes=axes,
        packages=read_kinds(
            form, table.get("packages"), f"the packages of {subject}", VERSION, FLAVOURS
        ),
        paired_packages=read_kinds(form, paired, f"the paired packages of {subject}"),
        leaders={
            stack: form.matching(value, f"{stack} in the leaders of {subject}", patterns.VERSION)
            for stack, value in leaders.items()
        },
        defaults={
            axis: form.choice(value, f"{axis} in the defaults of {subject}", axes.get(axis, ()))
            for axis, value in defaults.items()
        },
        env=read_variables(form, table.get("env"), axes, subject),
        exclude=read_excludes(form, table.get("exclude"), axes, subject),
        aliases={
            alias: read_selector(form, entry, axes, f"alias {alias} of {subject}", SELECTABLE)
            for alias, entry in aliases.items()
        },
        overrides=read_overrides(form, table.get("override"), axes, subject),
        platform=_family_platform(form, table.get("platform"), subject, shared.arch),
        additions=read_additions(form, table, axes, subject),
        user=read_user(form, table.get("user"), f"the user of {subject}", shared.user),
    )


def read_variables(
    form: Validator, node: Node | None, axes: Mapping[str, tuple[str, ...]], owner: str
) -> tuple[StatedVariable, ...]:
    """Return the environment variables that the matrix gives to a family's images."""
    variables = []
    for name, entry in form.table(node, f"env of {owner}").items():
        line = node.lines[name] if isinstance(node, YamlMapping) else entry.line
        subject = f"{name} in env of {owner}"
        _check_name(form, line, name, owner)
        table = form.table(entry, subject, needed=("value",))
        if isinstance(entry, YamlMapping) and "why" not in table:
            hint = "add `why:` with the reason: it changes what every user of the image sees"
            form.refuse(entry.line, f"{subject} does not say why", hint)
        value = form.text(table.get("value"), f"value of {subject}")
        if re.fullmatch(_UNSAFE_VALUE, value):
            hint = "everyone who pulls the image can read it; give it to `docker run` instead"
            form.refuse(entry.line, f"{subject} holds a password", hint)
        variable = EnvVar(name=name, value=value, why=form.prose(table.get("why"), "why"))
        match = read_selector(form, entry, axes, subject, (*SELECTABLE, *_VARIABLE_KEYS))
        variables.append(StatedVariable(variable=variable, match=match))
    return tuple(variables)


def _check_name(form: Validator, line: int, name: str, owner: str) -> None:
    if not form.fits(line, f"the name in env of {owner}", name, patterns.VARIABLE):
        return
    if name in LAYOUT_NAMES or name.startswith(LAYOUT_PREFIX):
        hint = "remove it; a container may be started with another value"
        form.refuse(line, f"{name} is set by the layout, not by env of {owner}", hint)
    elif re.fullmatch(_UNSAFE_NAME, name):
        hint = "everyone who pulls the image can read it; give it to `docker run` instead"
        form.refuse(line, f"{name} in env of {owner} has the name of a secret", hint)


def _family_platform(form: Validator, node: Node | None, subject: str, arch: str) -> str:
    """Return a family's own platform: another glibc than the matrix's, on the same processors."""
    name = form.matching(node, f"platform of {subject}", patterns.PLATFORM)
    if node is not None and name and not name.startswith(f"{arch}-"):
        form.refuse(
            node.line,
            f"the platform of {subject} is not for {arch}, as the matrix is",
            "a matrix has one architecture: make another matrix file for the other",
        )
    return name


def _family_axes(
    form: Validator, node: Node, table: Mapping[str, Node], subject: str, shared: _Axes
) -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, int]]:
    """Return a family's axes, with the shared ones if it has none, and the lines of its keys."""
    own = _read_axes(form, table.get("axes"), subject)
    if isinstance(table.get("axes"), YamlMapping):
        for axis in _NEEDED_AXES:
            if axis not in shared.values and axis not in own.values:
                form.refuse(table["axes"].line, f"the axes of {subject} needs the key {axis!r}")
    values = {axis: own.values.get(axis, shared.values.get(axis, ())) for axis in AXES}
    offered = (shared.cudnn.get(name, ()) for name in values["accelerator"])
    values[CUDNN] = tuple(dict.fromkeys(chain.from_iterable(offered)))
    lines = dict.fromkeys((*AXES, *KEYS), node.line) | dict(shared.lines)
    lines |= node.lines if isinstance(node, YamlMapping) else {}
    return MappingProxyType(values), lines | dict(own.lines)


def read_kinds(
    form: Validator,
    node: Node | None,
    subject: str,
    placeholder: str = "",
    others: Collection[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Return packages by accelerator kind: `any`, `cpu`, or `cuda` with a major (`cuda13`).

    `placeholder` is the only one allowed in them; `others` are further keys.
    """
    kinds = {}
    for kind, packages in form.table(node, subject, example="{any: [...]}").items():
        if kind not in others and not re.fullmatch(patterns.KIND.pattern, kind):
            message = f"unknown kind of accelerator {kind!r} in {subject}"
            form.refuse(packages.line, message, patterns.KIND.hint)
        kinds[kind] = form.texts(packages, f"{kind} of {subject}")
        for item in packages.nodes if isinstance(packages, YamlSequence) else ():
            if isinstance(item, YamlScalar):
                _check_requirement(form, item, f"{kind} of {subject}:", placeholder)
    return kinds


def _check_requirement(form: Validator, item: YamlScalar, subject: str, placeholder: str) -> None:
    braces = re.findall(r"\{[^{}]*\}?|\}", item.value)
    unknown = [text for text in braces if text != placeholder]
    for text in unknown:
        hint = f"only {placeholder} is filled in" if placeholder else "nothing is filled in here"
        form.refuse(item.line, f"{subject} unknown placeholder {text!r}", hint)
    if item.value.isprintable() and item.value.strip() and not unknown:
        requirement = item.value.replace(placeholder, "0") if placeholder else item.value
        if not re.fullmatch(patterns.REQUIREMENT.pattern, requirement):
            message = f"{subject} {item.value!r} is not {patterns.REQUIREMENT.called}"
            form.refuse(item.line, message, patterns.REQUIREMENT.hint)


def read_gpus(form: Validator, node: Node | None) -> tuple[PromisedGpu, ...]:
    """Return the GPUs under `gpus`, also those that the facts do not have."""
    names = form.texts(node, "gpus")
    lines = [item.line for item in node.nodes] if isinstance(node, YamlSequence) else []
    return tuple(
        PromisedGpu(line=line, name=name) for name, line in zip(names, lines, strict=False)
    )


def read_ignored(form: Validator, node: Node | None) -> tuple[IgnoredFinding, ...]:
    """Return the entries under `lint: ignore:`, each with its reason."""
    lint = form.table(node, "lint", known=("ignore",))
    ignored: list[IgnoredFinding] = []
    for item in form.items(lint.get("ignore"), "the ignore list of lint"):
        needed = ("id", "why")
        subject = "an entry of the ignore list of lint"
        table = form.table(item, subject, known=(*needed, "about"), needed=needed)
        entry = IgnoredFinding(
            line=item.line,
            id=form.matching(table.get("id"), "id", patterns.FINDING),
            about=form.text(table.get("about"), "about", "*"),
            why=form.prose(table.get("why"), "why"),
        )
        if any((entry.id, entry.about) == (other.id, other.about) for other in ignored):
            form.refuse(item.line, f"{entry.id} about {entry.about} is ignored twice")
        ignored.append(entry)
    return tuple(ignored)


_DEFAULT_LEVEL: Final = 3  # of zstd


def compression_name(option: str) -> str:
    """Return `gzip`, or `zstd` with its level: `zstd:9` is `zstd9`, `zstd` alone `zstd3`."""
    return f"zstd{_DEFAULT_LEVEL}" if option == "zstd" else option.replace(":", "")


def compression_option(name: str) -> str:
    """Return the value of `--compression` with this name: `zstd:9` for `zstd9`."""
    return name.replace("zstd", "zstd:") if name != "zstd" else name


def compression_from_option(option: str) -> str:
    """Return the name for a value of `--compression`. Raises BadInput for an unknown one."""
    if re.fullmatch(COMPRESSION.pattern, option):
        return compression_name(option)
    message = f"--compression {option!r} is not {COMPRESSION.called}"
    raise BadInput(message, hint=COMPRESSION.hint)


TOP: Final = (
    "registry",
    "source",
    "licenses",
    "platform",
    "compression",
    "user",
    "operating_systems",
    "stacks",
    "indexes",
    "flavours",
    "required_checks",
    "gpus",
    "lint",
    "axes",
    "exclude",
    "families",
    "groups",
)
PLATFORM: Final = "x86_64-manylinux_2_28"

Entry = TypeVar("Entry")


def parse_matrix(text: str, source: str) -> Matrix:
    """Return the matrix of this text, with every problem of the file, each at `source:line`.

    `resolve` raises them, together with its own. Raises BadInput for a text that is not YAML.
    """
    tree, repeated_keys = parse_yaml(text, source)
    form = Validator(source, repeated_keys)
    notices: list[Problem] = []

    def notify(line: int, message: str) -> None:
        hint = "the next release does not know the old name"
        notices.append(Problem(message=message, where=form.place(line), hint=hint))

    tree = replace_old_keys(tree, notify)
    top = form.table(tree, "the matrix", known=TOP, needed=("operating_systems", "families"))
    platform = form.matching(top.get("platform"), "platform", patterns.PLATFORM, PLATFORM)
    entries = _read_entries(form, top, platform.partition("-")[0])
    families = entries.families
    required = read_required_checks(form, top.get("required_checks"), tuple(families))
    for check in chain.from_iterable(required.values()):
        note = renamed_note(check.name)
        if note:
            notify(check.line, note)
    registry = form.matching(top.get("registry"), "registry", patterns.REGISTRY, "dlimg")
    compression = form.matching(top.get("compression"), "compression", patterns.COMPRESSION)
    return Matrix(
        source=source,
        registry=registry.rstrip("/"),
        platform=platform,
        compression=compression_name(compression),
        source_url=form.matching(top.get("source"), "source", patterns.URL),
        licenses=form.matching(top.get("licenses"), "licenses", patterns.LICENSES),
        operating_systems=entries.systems,
        stacks=entries.stacks,
        indexes=read_indexes(form, top.get("indexes"), _stack_names(top.get("stacks"))),
        flavours=_flavours(form, top.get("flavours")),
        families=_without(families, entries.unsound),
        required=required,
        gpus=read_gpus(form, top.get("gpus")),
        ignored=read_ignored(form, top.get("lint")),
        exclude=read_excludes(form, top.get("exclude"), values_by_axis(families), "the matrix"),
        groups=read_groups(form, top.get("groups"), families),
        unsound=frozenset(entries.unsound),
        notices=tuple(notices),
        problems=tuple(form.problems),  # last: the calls above may add to them
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entries:
    """Operating systems and stacks without problems, all families, and the names of bad ones."""

    systems: Mapping[str, OperatingSystemChoice]
    stacks: Mapping[str, StackChoice]
    families: Mapping[str, Family]
    unsound: set[str]


def _stack_names(node: Node | None) -> Collection[str]:
    """Return the names of all stacks, also of those that cannot be read."""
    return node.entries if isinstance(node, YamlMapping) else ()


def _read_entries(form: Validator, top: Mapping[str, Node], arch: str) -> _Entries:
    node = top.get("operating_systems")
    systems, bad_systems = _named_entries(form, node, "operating_systems", _system)
    stacks, bad_stacks = _named_entries(form, top.get("stacks"), "stacks", _stack)
    cudnn = {CPU: (NO_CUDNN,)} | {name: stack.cudnn for name, stack in stacks.items()}
    shared = _shared_axes(form, top.get("axes"), tuple(systems))
    user = read_user(form, top.get("user"), "the user of the matrix", DEFAULT_USER)
    axes = replace(shared, cudnn=cudnn, arch=arch, user=user)
    closed = {"os": systems, "accelerator": (*stacks, CPU), "flavour": FLAVOURS}
    read = partial(_family, axes, closed)
    families, unsound = _named_entries(form, top.get("families"), "families", read)
    if "families" in top and not families:
        form.refuse(top["families"].line, "families is empty", "describe at least one family")
    unsound |= {
        name
        for name, family in families.items()
        if not bad_systems.isdisjoint(family.axes["os"])
        or not bad_stacks.isdisjoint(family.axes["accelerator"])
    }
    return _Entries(
        systems=_without(systems, bad_systems),
        stacks=_without(stacks, bad_stacks),
        families=families,
        unsound=unsound,
    )


def _shared_axes(form: Validator, node: Node | None, systems: tuple[str, ...]) -> _Axes:
    axes = _read_axes(form, node, "the matrix")
    return _Axes(values={"os": systems} | dict(axes.values), lines=axes.lines)


def _named_entries(
    form: Validator,
    node: Node | None,
    section: str,
    read: Callable[[Validator, str, Node], Entry],
) -> tuple[dict[str, Entry], set[str]]:
    """Return the entries of a mapping whose keys are parts of tags, and the names of bad ones."""
    entries = {}
    unsound = set()
    for name, entry in form.table(node, section).items():
        before = len(form.problems)
        line = node.lines[name] if isinstance(node, YamlMapping) else entry.line
        form.fits(line, f"the name in {section}", name, patterns.NAME)
        entries[name] = read(form, name, entry)
        if len(form.problems) > before or (isinstance(entry, YamlMapping) and not entry.whole):
            unsound.add(name)
    return entries, unsound


def _without(entries: Mapping[str, Entry], names: Collection[str]) -> dict[str, Entry]:
    return {name: entry for name, entry in entries.items() if name not in names}


def _system(form: Validator, name: str, node: Node) -> OperatingSystemChoice:
    keys = ("distribution", "image")
    table = form.table(node, f"operating system {name}", known=keys, needed=keys)
    return OperatingSystemChoice(
        name=name,
        line=node.line,
        distribution=form.text(table.get("distribution"), "distribution"),
        image=form.matching(table.get("image"), "image", patterns.IMAGE),
    )


def _stack(form: Validator, name: str, node: Node) -> StackChoice:
    subject = f"stack {name}"
    keys = ("cuda", "cudnn", "leader", "python", "exceptions")
    table = form.table(node, subject, known=keys, needed=("cuda", "leader", "python"))
    if name == CPU:
        form.refuse(node.line, "a stack cannot be called cpu")
    return StackChoice(
        name=name,
        line=node.line,
        python_line=table.get("python", node).line,
        cuda=form.matching(table.get("cuda"), "cuda", patterns.CUDA),
        cudnn=_cudnn_choices(form, table.get("cudnn")),
        leader=_leader(form, table.get("leader")),
        python=form.matching(table.get("python"), "python", patterns.PYTHON),
        exceptions=tuple(
            _exception(form, item, f"an exception of {subject}")
            for item in form.items(table.get("exceptions"), f"the exceptions of {subject}")
        ),
    )


def _cudnn_choices(form: Validator, node: Node | None) -> tuple[str, ...]:
    """Return the versions of cuDNN on a stack, in the order of the list."""
    choices = form.one_or_more(node, "cudnn") or (LEADER,)
    for choice in choices:
        if node is not None and choice != LEADER:
            form.fits(node.line, "cudnn", choice, patterns.CUDNN)
    return choices


def _leader(form: Validator, node: Node | None) -> str:
    """Return the requirement of a leader; `{version}` in it stands for the leader's version."""
    leader = form.text(node, "leader")
    if node is not None and leader:
        requirement = leader.replace(VERSION, "0")
        if not form.fits(node.line, "leader", requirement, patterns.REQUIREMENT):
            return ""
    return leader


def _exception(form: Validator, node: Node, subject: str) -> StackException:
    keys = ("package", "why")
    table = form.table(node, subject, known=keys, needed=keys)
    package = form.matching(table.get("package"), "package", patterns.PACKAGE)
    return StackException(package=package, why=form.prose(table.get("why"), "why"))


def _flavours(form: Validator, node: Node | None) -> dict[str, Mapping[str, tuple[str, ...]]]:
    """Return the packages of each flavour; one that the matrix does not mention has the usual."""
    stated = {
        name: read_kinds(form, entry, f"flavour {name}")
        for name, entry in form.table(node, "flavours", known=FLAVOURS).items()
    }
    return {**USUAL_PACKAGES, **stated}


def _family(
    shared: _Axes, closed: Mapping[str, Collection[str]], form: Validator, name: str, node: Node
) -> Family:
    """Return the family; `closed` has the allowed values of axes, others have versions."""
    family = read_family(form, name, node, shared)
    for axis in AXES:
        line = family.lines[axis]
        for value in family.axes[axis]:
            if axis not in closed:
                shape = patterns.PYTHON_BUILD if axis == "python" else patterns.VERSION
                form.fits(line, f"{name}: {axis}", value, shape)
            elif axis == "accelerator" and value not in closed[axis]:
                message, hint = unknown_accelerator(value, [*closed[axis]], family.framework)
                form.refuse(line, f"{name}: {message}", hint)
            elif value not in closed[axis]:
                message = f"{name}: unknown {axis} {value!r}"
                form.refuse(line, message, nearest(value, closed[axis]))
    return family
