"""The matrix file: what it may say, and what is said about one that is wrong."""

import json
import re
from itertools import product
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.version import InvalidVersion, Version

from dlimg.document import patterns, yaml_tree
from dlimg.errors import BadInput
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.pipeline.facts_files import read_facts

ROOT = Path(__file__).parents[3]
FACTS = read_facts()
SCHEMA = json.loads((ROOT / "dlimg/matrix/matrix.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

GOOD = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.2: {cuda: 13.2, leader: torch==2.15.0, python: 3.13}
families:
  jax:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cpu, cuda13.2]
      python: [3.11, 3.12, 3.13]
      os: [debian13]
      flavour: [runtime, compile]
    packages:
      cpu: ["jax=={version}"]
      cuda13: ["jax[cuda13]=={version}"]
    defaults: {python: 3.13, os: debian13}
    exclude:
      - {python: 3.12, why: the distribution has its own}
    aliases:
      latest: {accelerator: cuda13.2, flavour: runtime}
groups:
  default:
    - {family: jax, accelerator: cpu, flavour: runtime}
"""


def tree_of(text: str) -> object:
    """The tree as dlimg reads it: all text."""
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes nothing but text


def cells_of(text: str) -> Resolution:
    return resolve(parse_matrix(text, "matrix.yaml"), FACTS)


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        cells_of(text)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_valid_matrix_becomes_cells() -> None:
    resolution = cells_of(GOOD)
    assert [cell.id for cell in resolution.cells] == [
        "jax-0.12.0.1-cpu-py3.13-debian13",
        "jax-0.12.0.1-cpu-py3.13-debian13-compile",
        "jax-0.12.0.1-cuda13.2-py3.13-debian13",
        "jax-0.12.0.1-cuda13.2-py3.13-debian13-compile",
    ]
    assert resolution.cells[2].requirements == ("jax[cuda13]==0.12.0.1", "pip")
    assert resolution.aliases["jax-0.12.0.1-cuda13.2-py3.13-debian13"] == (
        "latest",
        "0.12.0.1-cuda13.2",
    )
    assert resolution.groups["default"] == ("jax-0.12.0.1-cpu-py3.13-debian13",)


def test_variables_and_labels_of_the_matrix() -> None:
    env = """env:
      XLA_FLAGS: {value: "--xla_cpu_use_fusion=$x", why: "a sentence\n        on two lines"}
      LD_PRELOAD: {value: /usr/lib/libjemalloc.so.2, why: memory, accelerator: cpu}
    exclude:"""
    top = "source: https://example.com/images\nlicenses: Apache-2.0 AND (MIT OR X)\n"
    cells = cells_of(top + GOOD.replace("exclude:", env)).cells
    names = [[(entry.name, entry.value, entry.why) for entry in cell.env] for cell in cells]
    flags = ("XLA_FLAGS", "--xla_cpu_use_fusion=$x", "a sentence on two lines")
    assert names[0] == [flags, ("LD_PRELOAD", "/usr/lib/libjemalloc.so.2", "memory")]
    assert names[2] == [flags]
    assert {cell.source for cell in cells} == {"https://example.com/images"}
    assert {cell.licenses for cell in cells} == {"Apache-2.0 AND (MIT OR X)"}
    assert not any(cell.env or cell.source or cell.licenses for cell in cells_of(GOOD).cells)
    VALIDATOR.validate(tree_of(top + GOOD.replace("exclude:", env)))


def test_lint_settings_are_read() -> None:
    more = """\
gpus: [T4, sm_90]
lint:
  - {id: os-end-of-life, about: debian12, why: one more year}
  - {id: no-facts, why: theirs}
"""
    matrix = parse_matrix(GOOD + more, "matrix.yaml")
    assert not matrix.problems
    assert [(entry.name, entry.line) for entry in matrix.gpus] == [("T4", 25), ("sm_90", 25)]
    parts = [(entry.id, entry.about, entry.why, entry.line) for entry in matrix.ignored]
    assert parts == [
        ("os-end-of-life", "debian12", "one more year", 27),
        ("no-facts", "*", "theirs", 28),
    ]


def test_dropped_cells_have_a_reason_and_a_source() -> None:
    dropped = {entry.id: entry for entry in cells_of(GOOD).dropped}
    fact = dropped["jax-0.12.0.1-cpu-py3.11-debian13"]
    assert fact.reason.startswith("jax 0.12.0.1 has no wheel for Python 3.11")
    assert fact.source == "PyPI metadata of jax 0.12.0.1"
    wish = dropped["jax-0.12.0.1-cpu-py3.12-debian13"]
    assert (wish.reason, wish.source) == ("the distribution has its own", "matrix.yaml:19")


@pytest.mark.parametrize("written", ["3.10", "'3.10'", '"3.10"'])
def test_versions_are_text(written: str) -> None:
    text = GOOD.replace("python: [3.11, 3.12, 3.13]", f"python: [{written}, 3.12, 3.13]")
    assert "jax-0.12.0.1-cpu-py3.10-debian13" in {entry.id for entry in cells_of(text).dropped}


# What is written instead of what, and what must be said about it: message, place, hint.
NO_ENV = "exclude:"
BAD = [
    (NO_ENV, "env: [A]\n    exclude:", ["env of family jax must be a mapping", ":18"]),
    (NO_ENV, "env: {A: b}\n    exclude:", ["A in env of family jax must be a mapping", ":18"]),
    (
        NO_ENV,
        "env: {A: {value: b}}\n    exclude:",
        ["A in env of family jax does not say why", "every user of the image", ":18"],
    ),
    (
        NO_ENV,
        "env: {A: {why: b}}\n    exclude:",
        ["A in env of family jax needs the key 'value'", ":18"],
    ),
    (
        NO_ENV,
        "env: {A: {value: '', why: b}}\n    exclude:",
        ["value of A in env of family jax is empty", ":18"],
    ),
    (
        NO_ENV,
        'env: {A: {value: "a\\nb", why: b}}\n    exclude:',
        ["value of A in env of family jax 'a\\nb' cannot be printed", ":18"],
    ),
    (
        NO_ENV,
        "env: {A: {valeu: x, value: b, why: b}}\n    exclude:",
        ["unknown key 'valeu'", "mean 'value'", ":18"],
    ),
    (
        NO_ENV,
        "env: {A-B: {value: b, why: b}}\n    exclude:",
        ["'A-B' is not the name of a variable", "e.g. XLA_FLAGS", ":18"],
    ),
    (
        NO_ENV,
        "env: {A: {value: b, why: b, flavour: devel}}\n    exclude:",
        ["A in env of family jax: no flavour is 'devel'", ":18"],
    ),
    (
        NO_ENV,
        "env: {A: {value: b, why: b, python: 3.12}}\n    exclude:",
        ["family jax: no cell gets A of env", ":18"],
    ),
    *(
        (
            NO_ENV,
            f"env: {{{name}: {{value: b, why: b}}}}\n    exclude:",
            [f"{name} is set by the layout, not by env of family jax", "remove it", ":18"],
        )
        for name in ("PATH", "HOME", "PIP_CONSTRAINT", "DLIMG_QUIET", "SHELL", "LD_LIBRARY_PATH")
    ),
    *(
        (
            NO_ENV,
            f"env: {{{name}: {{value: b, why: b}}}}\n    exclude:",
            [f"{name} in env of family jax has the name of a secret", "docker run", ":18"],
        )
        for name in ("HF_TOKEN", "DB_PASSWORD", "aws_secret_access_key", "API_KEY", "PROXY_AUTH")
    ),
    (
        NO_ENV,
        "env: {PIP_INDEX_URL: {value: 'https://a:b@c.d/simple', why: b}}\n    exclude:",
        ["PIP_INDEX_URL in env of family jax holds a password", "docker run", ":18"],
    ),
    ("groups:", "source: ssh://x\ngroups:", ["'ssh://x' is not an address", ":22"]),
    ("groups:", "source: https://a:b@x/y\ngroups:", ["is not an address", "password", ":22"]),
    ("groups:", "licenses: 'A  B'\ngroups:", ["is not an SPDX license expression", ":22"]),
    ("groups:", "gpus: T4\ngroups:", ["gpus must be a list", ":22"]),
    ("groups:", "gpus: [T4, T4]\ngroups:", ["'T4' is in gpus twice", ":22"]),
    (
        "groups:",
        "lint: [{id: x}]\ngroups:",
        ["an entry of the ignore list of lint needs the key 'why'", ":22"],
    ),
    ("groups:", "lint: [{id: X, why: y}]\ngroups:", ["'X' is not the id of a finding", ":22"]),
    ("groups:", "lint: [{id: x, whyy: y}]\ngroups:", ["unknown key 'whyy'", "mean 'why'", ":22"]),
    (
        "groups:",
        "lint:\n  - {id: x, why: y}\n  - {id: x, why: z}\ngroups:",
        ["x about * is ignored twice", ":24"],
    ),
    ("version: [0.12.0.1]", "version: []", ["version of family jax is an empty list", ":9"]),
    ("version: [0.12.0.1]", "version: 0.12.0.1", ["must be a list", ":9"]),
    ("version: [0.12.0.1]", "version: [0.12.0.1, 0.12.0.1]", ["twice", ":9"]),
    ("version: [0.12.0.1]", "version: [newest]", ["'newest' is not a version", ":9"]),
    ("      os: [debian13]", "      os: [debian31]", ["unknown os", "mean 'debian13'", ":12"]),
    ("python: [3.11, 3.12", "python: [3.11.2, 3.12", ["is not a minor", ":11", "3.13"]),
    ("runtime, compile]", "runtime, compiler]", ["unknown flavour", "'compile'", ":13"]),
    ("    framework: jax\n", "", ["needs the key 'framework'"]),
    ("    packages:", "    package:", ["unknown key 'package'", "mean 'packages'", ":14"]),
    ("groups:", "group:", ["unknown key 'group'", "mean 'groups'", ":22"]),
    (
        "why: the distribution has its own",
        "os: debian13",
        ["does not say why", ":19", "add `why:`"],
    ),
    ("python: 3.12, why", "why", ["names no axis"]),
    ("{python: 3.12, why", "{python: 3.14, why", ["no python is '3.14'", ":19"]),
    ("{python: 3.12, why", "{python: 3.11, why", ["exclude matches nothing", ":19", "facts rule"]),
    ("{accelerator: cuda13.2, f", "{accelerator: cuda13.3, f", ["no accelerator is", ":21"]),
    ("cuda13.2, flavour: runtime}\n", "cuda13.2}\n", ["'latest' matches 2 cells", ":21"]),
    ("latest: {acc", "latest: {python: 3.12, acc", ["'latest' matches no cell", ":21"]),
    ("latest: {", "la test: {", ["'la test' is not a tag", ":21"]),
    ("family: jax, accelerator: cpu", "family: jaxx", ["no family is 'jaxx'", "'jax'", ":24"]),
    ("family: jax, accelerator: cpu", "python: 3.12", ["group default: this matches no cell"]),
    ("leader: torch==2.15.0, ", "", ["needs the key 'leader'", ":4"]),
    ("cuda: 13.2", "cuda: 13", ["'13' is not a minor version", ":4"]),
    ("accelerator: [cpu, cuda13.2]", "accelerator: [cpu]", ["no accelerator is 'cuda13.2'"]),
    ("      cuda13: [", "      cuda12: [", ["no packages for cuda13", ":7"]),
    ("      cuda13: [", "      gpu: [", ["unknown kind of accelerator 'gpu'", ":16"]),
    ("  jax:\n", "  Jax!:\n", ["'Jax!' is not fit to be part of a tag", ":6"]),
    ("Debian 13", "Debain 13", ["no facts about the distribution", "'Debian 13'", ":2"]),
    ("    axes:", "\taxes:", ["a tab is used", ":8"]),
    ("families:", "families: [", ["not valid YAML"]),
    (
        "    framework: jax\n",
        "    framework: jax\n    framework: jax\n",
        ["is a repeat", ":8", "line 7"],
    ),
    ("    framework: jax", "    framework:", ["framework is empty", ":7"]),
    ("    framework: jax", "    framework: [jax]", ["must be one text", ":7"]),
    ("      - {python: 3.12", "      - [python", ["not valid YAML"]),
    ("operating_systems:", "operating_systems: &a\n  x: *a", ["contains itself"]),
    (
        "    os: [debian13]",
        "    os: *systems",
        ["no anchor before this is called 'systems'", ":12"],
    ),
    ("groups:", "---\ngroups:", ["a second document begins", ":22"]),
    ("framework: jax", "framework: jaxx", ["the framework 'jaxx'", "mean 'jax'", "none", ":7"]),
    ("framework: jax", "framework: zzz", ["the framework 'zzz'", "use one of jax, ten", ":7"]),
    ("    framework: jax", "    framework: ~", ["framework is empty", ":7"]),
    ("jax=={version}", "jax=={versoin}", ["unknown placeholder '{versoin}'", "{version}", ":15"]),
    ("jax=={version}", "jax=={version", ["unknown placeholder '{version'", ":15"]),
    ("jax=={version}", "=={version}", ["'=={version}' is not a requirement", ":15"]),
    ("jax=={version}", "jax @ https://x/jax.whl", ["is not a requirement", ":15"]),
    (
        "groups:",
        "flavours: {devel: {any: ['a=={version}']}}\ngroups:",
        ["nothing is filled", ":22"],
    ),
    (
        "python: 3.13}\nfam",
        "python: 3.99}\nfam",
        ["neither a distribution nor uv has Python 3.99", ":4"],
    ),
    ("python: 3.13}\nfam", "python: py3}\nfam", ["'py3' is not a minor version", ":4"]),
    ("version: [0.12.0.1]", "version: [1.0..1]", ["'1.0..1' is not a version", ":9", "3.0rc1"]),
    ("version: [0.12.0.1]", "version: [2024_1]", ["'2024_1' is not a version", ":9"]),
    ("version: [0.12.0.1]", f"version: [1.{'0' * 29}]", ["is not a version", ":9"]),
    ("  jax:\n", f"  {'j' * 31}:\n", ["is not fit to be part of a tag", ":6", "30 at most"]),
    (
        "families:",
        "platform: hurz\nfamilies:",
        ["'hurz' is not a platform", ":5", "manylinux_2_28"],
    ),
    ("families:", "platform: x86_64-manylinux_2_x\nfamilies:", ["is not a platform of w", ":5"]),
    ("families:", "platform: arm64\nfamilies:", ["aarch64-manylinux_2_28 for ARM hosts", ":5"]),
    ("[0.12.0.1]", "[0.12]", ["jax: version 0.12 is the release 0.12.0", "write 0.12.0,", ":9"]),
    ("[0.12.0.1]", "['0.12.0.1.0']", ["is the release 0.12.0.1", "write 0.12.0.1,", ":9"]),
    ("[0.12.0.1]", "[0.12.0.1, 0.12.00]", ["version 0.12.00 is the release 0.12.0", ":9"]),
    ("families:", "compression: lzma\nfamilies:", ["is not a compression of layers", ":5"]),
    ("families:", "compression: zstd:20\nfamilies:", ["is not a compression of layers", ":5"]),
    ("families:", "compression: [gzip]\nfamilies:", ["compression must be one text", ":5"]),
    ("families:", "registry: Dl Img/../x\nfamilies:", ["is not a place for images", ":5"]),
    ("families:", "registry: https://x.example/y\nfamilies:", ["is not a place for images", ":5"]),
    ("debian:trixie-slim", "debian:trixie-slim\\nRUN evil", ["image", "cannot be printed", ":2"]),
    ("debian:trixie-slim", "Debian:trixie", ["is not the name of an image", ":2", "digest"]),
    ("debian:trixie-slim", f"debian@sha256:{'0' * 64}", ["is not the name of an image", ":2"]),
    ("leader: torch==2.15.0", 'leader: "x==1\\nRUN y"', ["leader", "cannot be printed", ":4"]),
    ("leader: torch==2.15.0", "cudnn: 9 x, leader: x==1", ["is not a version of cuDNN", ":4"]),
    ("the distribution has its own", '"a\\eb"', ["why", "cannot be printed", ":19"]),
    ("  default:\n", '  "de\\eflt":\n', ["the key 'de\\x1bflt' of groups cannot be", ":23"]),
    ("    - {family: jax, accelerator: cpu, flavour: runtime}", "    []", ["an empty list", ":24"]),
    (
        "families:",
        "required_checks: {runtim: [a]}\nfamilies:",
        ["'runtim' in required_checks", "mean 'runtime'", ":5"],
    ),
    ("families:", "required_checks: {jax: []}\nfamilies:", ["jax of required_checks is an em"]),
    ("families:", "required_checks: {any: a}\nfamilies:", ["must be a list", ":5"]),
    ("families:", "required_checks: {any: [a, a]}\nfamilies:", ["'a' is in", ":5"]),
    ("families:", "required_checks: {any: [a/b]}\nfamilies:", ["'a/b' is not the name of a", ":5"]),
    ("families:", "required_checks: {devel: [a]}\nfamilies:", ["no cell is devel", ":5"]),
    (
        "latest: {acc",
        "0.12.0.1-cpu: {acc",
        ["is the short tag of jax-0.12.0.1-cpu-py3.13-d", ":21"],
    ),
]


@pytest.mark.parametrize(("right", "wrong", "parts"), BAD)
def test_an_invalid_matrix_is_refused(right: str, wrong: str, parts: list[str]) -> None:
    assert right in GOOD
    message = refusal(GOOD.replace(right, wrong, 1))
    for part in parts:
        assert part in message
    assert "matrix.yaml:" in message


class RefusingLoader(yaml.BaseLoader):
    """A parser with a limit of its own, which it says in the words of libyaml 0.2.6."""

    def check_event(self, *_: object) -> bool:
        mark = yaml.Mark("matrix.yaml", 0, 0, 0, None, 0)
        raise yaml.scanner.ScannerError(
            "while increasing flow level", mark, "exceeded maximum nesting depth", mark
        )


# One of them refuses deep nesting before dlimg sees any; the others leave it to dlimg.
LOADERS = [yaml_tree.LOADER, yaml.BaseLoader, RefusingLoader]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 100_000,
        "a: " + "[" * 5_000 + "]" * 5_000,
        "a: " + "{a: " * 5_000,
        "- " * 5_000,
        "\n".join(" " * depth + "a:" for depth in range(1_000)),
        GOOD.replace("cpu, flavour", f"{'[' * 60}{']' * 60}, flavour"),
        "a: [\n" + " [" * 5_000,
    ],
)
def test_nesting_has_an_end(
    text: str, loader: type[yaml.BaseLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_tree, "LOADER", loader)
    message = refusal(text)
    assert "nested deeper than 50 levels" in message
    assert "matrix.yaml:" in message


def test_a_limit_that_is_met_in_a_line_with_tabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_tree, "LOADER", RefusingLoader)
    assert "nested deeper than 50 levels" in refusal("\ta: " + "[" * 5_000)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a:\n\tb: 1\n", 2),
        ("\tpytorch:\n", 1),
        ("a: 1\n\tb: 2\n", 2),
        ("a:\n  b: 1\n  \tc: 2\n", 3),
        ("- a\r\n\t- b\r\n", 2),
    ],
)
def test_tabs_are_named_as_such(text: str, line: int) -> None:
    assert refusal(text).startswith(f"matrix.yaml:{line}: a tab is used for indentation")


def test_a_tab_elsewhere_is_no_indentation() -> None:
    assert len(cells_of(GOOD.replace("[cpu, cuda13.2]", "[cpu,\n\tcuda13.2]")).cells) == 4
    assert "not valid YAML" in refusal("a: [1,\tb: }")


# What may stand there instead, and how many cells there are then.
FINE = [
    ("families:", "registry: ghcr.io/team/images/\nfamilies:", 4),
    ("families:", "compression: zstd:9\nfamilies:", 4),
    ("families:", "registry: 127.0.0.1:5000\nfamilies:", 4),
    ("families:", "registry: '[::1]:5000/team'\nfamilies:", 4),
    ("families:", "platform: x86_64-manylinux_2_31\nfamilies:", 4),
    ("debian:trixie-slim", "mirror.example:5000/library/debian", 4),
    ("the distribution has its own", '"it has\n        its own"', 4),
    ("jax=={version}", "jax [cpu] >= {version}, < 99 ; python_version > '3'", 4),
    ("version: [0.12.0.1]", "version: [0.12.0.1, 3.0rc1.post2.dev3]", 8 + 4),
    ("latest: {acc", "0.12.0.1-cuda13.2: {acc", 4),
    ("families:", "required_checks: {any: [pip_check, 'runtime_*'], jax: [x]}\nfamilies:", 4),
]


@pytest.mark.parametrize(("right", "other", "count"), FINE)
def test_unusual_but_valid_matrices(right: str, other: str, count: int) -> None:
    assert right in GOOD
    text = GOOD.replace(right, other, 1).replace(
        "flavour: runtime}\ng", "version: 0.12.0.1, flavour: runtime}\ng"
    )
    assert len(cells_of(text).cells) == count
    VALIDATOR.validate(tree_of(text))


def test_required_checks_go_by_what_a_cell_is() -> None:
    listed = """\
required_checks:
  any: [tag_matches_image, "runtime_*"]
  cpu: [on_cpu]
  cuda: [on_gpu, tag_matches_image]
  compile: [compiled]
  jax: [of_jax]
families:"""
    resolution = cells_of(GOOD.replace("families:", listed))
    of_all = ("tag_matches_image", "runtime_*")
    assert [cell.required_checks for cell in resolution.cells] == [
        (*of_all, "on_cpu", "of_jax"),
        (*of_all, "on_cpu", "compiled", "of_jax"),
        (*of_all, "on_gpu", "of_jax"),
        (*of_all, "on_gpu", "compiled", "of_jax"),
    ]
    assert resolution.required_places["tag_matches_image"] == "matrix.yaml:6"
    assert resolution.required_places["of_jax"] == "matrix.yaml:10"
    assert {cell.required_checks for cell in cells_of(GOOD).cells} == {()}


def test_versions_are_those_of_pep_440() -> None:
    """Whatever the pattern takes, packaging takes; what it leaves out, a tag cannot hold."""
    parts = (
        ("1", "1.0", "01.2.3", "1.", ".1", "1..0", "v1", "1!1"),
        ("", "a1", ".rc", "_beta_2", "c.3", "rc1rc1", "alpha", "preview1", "-a1", "x"),
        ("", ".post1", "post", "_r4", "rev", "-1", "_1", ".post.1"),
        ("", ".dev", "dev3", "_dev_4", ".dev1.dev1", "+cpu", " "),
    )
    for text in map("".join, product(*parts)):
        try:
            Version(text)
        except InvalidVersion:
            valid = False
        else:
            unfit = text.startswith("v") or set(text) & set("!-+ ")
            valid = not unfit
        assert bool(re.fullmatch(patterns.VERSION.pattern, text)) is valid, text


def test_a_release_without_facts_says_so() -> None:
    text = GOOD.replace("[0.12.0.1]", "[0.12.0.1, 0.99.0]").replace(
        "{accelerator: c", "{version: 0.12.0.1, accelerator: c"
    )
    resolution = {cell.version: cell.notes for cell in cells_of(text).cells}
    assert resolution == {
        "0.12.0.1": (),
        "0.99.0": ("no facts about jax 0.99.0: nothing was checked",),
    }


def test_a_family_without_facts_says_so() -> None:
    text = GOOD.replace("framework: jax", "framework: none").replace(
        "{python: 3.12, w", "{python: [3.11, 3.12], w"
    )
    assert {cell.notes for cell in cells_of(text).cells} == {
        ("no facts about jax 0.12.0.1: nothing was checked",)
    }


@pytest.mark.parametrize("rest", ["", "=={version}", "[cpu]=={version}", " >= {version}", "; x"])
def test_the_framework_is_what_the_first_package_names(rest: str) -> None:
    text = GOOD.replace('cpu: ["jax=={version}"]', f'cpu: ["jax{rest}", numpy]')
    assert {cell.package for cell in cells_of(text).cells} == {"jax"}


def test_no_two_cells_have_one_name() -> None:
    text = GOOD.replace(
        "stacks:\n", "stacks:\n  cpu-compile: {cuda: 12.9, leader: x==1, python: 3.13}\n"
    )
    text = text.replace("[cpu, cuda13.2]", "[cpu, cuda13.2, cpu-compile]").replace(
        "cuda13: [", "cuda12: [jax]\n      cuda13: ["
    )
    assert "two cells have the short tag 0.12.0.1-cpu-compile" in refusal(text)
    family = GOOD[GOOD.index("  jax:\n") : GOOD.index("groups:")]
    stack = "  0.12.0.1-cpu: {cuda: 12.9, leader: x==1, python: 3.13}\n"
    other = family.replace("  jax:\n", "  jax-0.12.0.1:\n")
    text = GOOD.replace("groups:", f"{other}groups:").replace("stacks:\n", f"stacks:\n{stack}")
    text = text.replace("[cpu, cuda13.2]", "[cpu, cuda13.2, 0.12.0.1-cpu]", 1).replace(
        "cuda13: [", "cuda12: [jax]\n      cuda13: [", 1
    )
    assert "two cells are called jax-0.12.0.1-0.12.0.1-cpu-py3.13-debian13\n" in refusal(text)


def test_problems_of_all_stages_are_reported_together() -> None:
    """Repeated keys, shapes, unknown names, and what is dead in the families that are sound."""
    family = GOOD[GOOD.index("  jax:\n") : GOOD.index("groups:")]
    shape = family.replace("  jax:\n", "  shape:\n").replace("[3.11, 3.12", "[newest, 3.12")
    framework = family.replace("  jax:\n", "  framework:\n").replace("rk: jax", "rk: jaxx")
    repeat = family.replace("  jax:\n", "  repeat:\n").replace(
        "{python: 3.13, os", "{python: 3.13, python: 3.11, os"
    )
    text = GOOD.replace("groups:", f"{shape}{framework}{repeat}groups:").replace(
        "{python: 3.12, why", "{python: 3.11, why", 1
    )
    text = text.replace("latest: {accelerator: cuda13.2, f", "latest: {f", 1)
    text += "    - {family: jax, python: 3.12, flavour: devel}\n"
    text += "  more:\n    - {family: jax, python: 3.11}\n    - {python: 3.11}\n"
    lines = [line for line in refusal(text).splitlines() if not line.startswith("  hint")]
    assert [line.partition(": ")[2] for line in lines] == [
        "the key 'python' is a repeat",
        "shape: python 'newest' is not a minor version",
        "group default: no flavour is 'devel'",
        "family framework: no facts about the framework 'jaxx'",
        "family jax: this exclude matches nothing",
        "family jax: the alias 'latest' matches 4 cells",
        "group more: this matches no cell",
    ]


def test_all_problems_are_reported_at_once() -> None:
    text = GOOD.replace("groups:", "group:").replace("[0.12.0.1]", "[]").replace("why:", "wy:")
    lines = refusal(text)
    for part in ("unknown key 'group'", "is an empty list", "does not say why", "unknown key 'wy'"):
        assert part in lines


def test_an_unused_stack() -> None:
    text = GOOD.replace("stacks:", "stacks:\n  cuda12.9: {cuda: 12.9, leader: x==1, python: 3.13}")
    assert "no cell uses the stack cuda12.9" in refusal(text)


def test_the_empty_file() -> None:
    assert "needs the key 'families'" in refusal("")


def test_the_schema_knows_the_committed_matrix() -> None:
    tree = tree_of((ROOT / "matrix.yaml").read_text())
    VALIDATOR.validate(tree)


SHAPES = [
    row
    for row in BAD
    if any(
        word in " ".join(row[2])
        for word in (
            "empty list",
            "must be",
            "is not a ",
            "is not the name",
            "is not fit",
            "be printed",
            "placeholder",
            "unknown key",
            "needs the key",
            "say why",
        )
    )
]


@pytest.mark.parametrize(("right", "wrong", "parts"), SHAPES)
def test_the_schema_refuses_the_shapes_that_dlimg_refuses(
    right: str, wrong: str, parts: list[str]
) -> None:
    assert parts
    tree = tree_of(GOOD.replace(right, wrong, 1))
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(tree)


@pytest.mark.parametrize(
    "name",
    [
        "registry",
        "platform",
        "compression",
        "image",
        "name",
        "version",
        "package",
        "check",
        "finding",
        "variable",
        "url",
        "licenses",
    ],
)
def test_the_schema_has_the_patterns_of_dlimg(name: str) -> None:
    shape = getattr(patterns, name.upper())
    pattern = shape.pattern.replace(r"\Z", "$")
    assert SCHEMA["$defs"][name]["pattern"] == f"^(?:{pattern})$"


def test_the_schema_takes_what_dlimg_takes() -> None:
    jsonschema.validate(tree_of(GOOD), SCHEMA)
