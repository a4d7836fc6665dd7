"""System packages, ports, files and exceptions of a family: parsed, chosen for cells, refused."""

import json
from pathlib import Path

import jsonschema
import pytest

from dlimg.additions import Additions, CheckException, PathException, ProjectFile
from dlimg.document import patterns
from dlimg.errors import BadInput
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.pipeline.project_files import LARGEST, read_project_files
from tests.unit.matrix.test_matrix_file import FACTS, GOOD, SCHEMA, VALIDATOR, tree_of

START = "    exclude:\n"
ADDITIONS = """\
    apt: {any: [libgl1], cuda: [pciutils], cuda13: [numactl], compile: [git], debian13: [libxcb1]}
    ports: {any: [8000], cpu: [53/udp]}
    files:
      - {source: conf/a.toml, path: /etc/team/a.toml}
      - {source: run.sh, path: /usr/local/bin/run, mode: "0755", flavour: compile}
    build: [jieba, "openai-whisper==20250625"]
    check_exceptions:
      - {check: libraries_load, about: "bitsandbytes/*", why: at run time, accelerator: cpu}
    path_exceptions:
      - {path: nvidia/__init__.py, why: a licence}
"""


def with_lines(lines: str, text: str = GOOD) -> str:
    assert START in text
    return text.replace(START, lines + START, 1)


def additions(text: str) -> dict[str, Additions]:
    cells = resolve(parse_matrix(text, "matrix.yaml"), FACTS).cells
    return {cell.id: cell.additions for cell in cells}


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        resolve(parse_matrix(text, "matrix.yaml"), FACTS)
    return str(caught.value)


def test_each_cell_gets_what_its_axes_choose() -> None:
    cells = additions(with_lines(ADDITIONS))
    cpu, cuda = (cells[f"jax-0.12.0.1-{name}-py3.13-debian13"] for name in ("cpu", "cuda13.2"))
    compiling = cells["jax-0.12.0.1-cpu-py3.13-debian13-compile"]
    assert cpu.apt == ("libgl1", "libxcb1")
    assert cuda.apt == ("libgl1", "libxcb1", "numactl", "pciutils")
    assert compiling.apt == ("git", "libgl1", "libxcb1")
    assert (cpu.ports, cuda.ports) == (("53/udp", "8000/tcp"), ("8000/tcp",))
    settings = ProjectFile(source="conf/a.toml", path="/etc/team/a.toml", mode="644")
    script = ProjectFile(source="run.sh", path="/usr/local/bin/run", mode="755")
    assert (cpu.files, compiling.files) == ((settings,), (settings, script))
    assert {each.build for each in cells.values()} == {("jieba", "openai-whisper==20250625")}
    exception = CheckException(check="libraries_load", about="bitsandbytes/*", why="at run time")
    assert (cpu.check_exceptions, cuda.check_exceptions) == ((exception,), ())
    assert cpu.path_exceptions == (PathException(path="nvidia/__init__.py", why="a licence"),)


def test_without_additions_a_cell_has_none() -> None:
    assert set(additions(GOOD).values()) == {Additions()}


def test_a_family_adds_packages_for_a_flavour() -> None:
    text = GOOD.replace(
        '      cpu: ["jax', '      compile: [cython, "x=={version}"]\n      cpu: ["jax'
    )
    cells = {cell.id: cell for cell in resolve(parse_matrix(text, "matrix.yaml"), FACTS).cells}
    plain = cells["jax-0.12.0.1-cpu-py3.13-debian13"].requirements
    assert plain == ("jax==0.12.0.1", "pip")
    compiling = cells["jax-0.12.0.1-cpu-py3.13-debian13-compile"].requirements
    assert compiling == ("jax==0.12.0.1", "cython", "x==0.12.0.1", "pip")


FLAVOURS = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.2: {cuda: "13.2", leader: "jax[cuda13]==0.12.0.1", python: "3.13"}
families:
  jax:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cuda13.2, cpu]
      flavour: [runtime, compile, devel, workspace]
    packages: {cpu: ["jax=={version}"], cuda13: ["jax[cuda13]=={version}"]}
groups: {default: [{}]}
"""
JUPYTER = ("jupyterlab", "notebook")
NVCC = ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl")


@pytest.mark.parametrize(
    ("stated", "added"),
    [
        ("", {"workspace": JUPYTER, "devel": NVCC}),
        ("flavours: {workspace: {any: [marimo]}}\n", {"workspace": ("marimo",), "devel": NVCC}),
        ("flavours: {devel: {cpu: [cython]}}\n", {"workspace": JUPYTER, "devel": ()}),
    ],
)
def test_a_flavour_has_what_its_name_says_unless_the_matrix_says_otherwise(
    stated: str, added: dict[str, tuple[str, ...]]
) -> None:
    cells = resolve(parse_matrix(stated + FLAVOURS, "matrix.yaml"), FACTS).cells
    assert len(cells) == 8
    for cell in cells:
        own = "jax[cuda13]==0.12.0.1" if cell.is_cuda else "jax==0.12.0.1"
        extra = added.get(cell.flavour, ())
        if cell.flavour == "devel" and not cell.is_cuda:
            extra = ("cython",) if "cython" in stated else ()
        assert cell.requirements == (own, *extra, "pip"), cell.id


FILE = "files: [{{source: a, path: {}}}]"
BAD = [
    ("apt: [git]", ["apt of family jax must be a mapping", ":18", "write e.g. {any: [...]}"]),
    (
        "paired_packages: [x]",
        ["the paired packages of family jax must be a mapping", "{any: [...]}"],
    ),
    ("apt: {gpu: [git]}", ["'gpu' is no kind of accelerator, flavour or operating system"]),
    ("apt: {any: [git=1.0]}", ["'git=1.0' is not the name of a package", "the name alone"]),
    ("apt: {any: [Git]}", ["'Git' is not the name of a package of Debian"]),
    ("apt: {any: ['-y']}", ["'-y' is not the name of a package of Debian"]),
    ("apt: {any: []}", ["any of apt of family jax is an empty list"]),
    ("apt: {devel: [git]}", ["no cell gets `apt: devel`", "let it fit a cell", ":18"]),
    ("apt: {cuda12: [git]}", ["no cell gets `apt: cuda12`"]),
    ("build: jieba", ["build of family jax must be a list", ":18"]),
    ("build: []", ["build of family jax is an empty list"]),
    ("build: [jieba, jieba]", ["'jieba' is in build of family jax twice"]),
    ('build: ["jieba=={version}"]', ["'jieba=={version}' is not a requirement"]),
    ("build: [--no-binary]", ["'--no-binary' is not a requirement"]),
    ("ports: {any: [http]}", ["'http' is not a port", "e.g. 8080"]),
    ("ports: {any: [70000]}", ["70000 is no port", "1 to 65535"]),
    ("ports: {any: [80/sctp]}", ["'80/sctp' is not a port"]),
    ("ports: {workspace: [80]}", ["no cell gets `ports: workspace`"]),
    ("files: [{source: a}]", ["a file of family jax needs the key 'path'"]),
    ("files: [{source: ../a, path: /etc/a}]", ["../a is not in the project's folder"]),
    ("files: [{source: /etc/a, path: /etc/a}]", ["/etc/a is not in the project's folder"]),
    (FILE.format("etc/a"), ["'etc/a' is not a path in an image"]),
    (FILE.format("/etc/../home/a"), ["no file of a project can be at /etc/../home/a"]),
    *(
        (FILE.format(path), [f"no file of a project can be at {path}", "use a path below /etc/"])
        for path in (
            *("/home/user/a", "/code/a", "/run/a", "/root/a", "/usr/bin/a", "/opt/env/a"),
            *("/etc/dlimg/a", "/usr/local/bin/python3", "/usr/local/bin/dlimg-overlay", "/var/a"),
        )
    ),
    (
        "files: [{source: a, path: /etc/a, mode: '7777'}]",
        ["'7777' is not the mode of a file", "in quotes"],
    ),
    ("files: [{source: a, path: /etc/a, python: 3.12}]", ["no cell gets this", ":18"]),
    (
        "files: [{source: a, path: /etc/a}, {source: b, path: /etc/a}]",
        ["two files would be /etc/a in one image"],
    ),
    (
        "check_exceptions: [{check: libraries_load, about: a}]",
        ["an exception of family jax does not say why"],
    ),
    (
        "check_exceptions: [{check: pip_check, about: a, why: b}]",
        ["unknown check 'pip_check'", "libraries_load"],
    ),
    ("path_exceptions: [{why: b}]", ["an exception of family jax needs the key 'path'"]),
    ("path_exceptions: [{path: a, why: b, python: 3.12}]", ["no cell gets this"]),
]


@pytest.mark.parametrize(("line", "parts"), BAD)
def test_wrong_additions_are_refused(line: str, parts: list[str]) -> None:
    message = refusal(with_lines(f"    {line}\n"))
    for part in parts:
        assert part in message


def test_packages_of_a_flavour_without_cells_are_refused() -> None:
    text = GOOD.replace('      cpu: ["jax', '      devel: [cython]\n      cpu: ["jax')
    assert "family jax: no cell gets the packages of devel" in refusal(text)


def test_the_schema_takes_additions() -> None:
    VALIDATOR.validate(tree_of(with_lines(ADDITIONS)))
    for line, _ in BAD[:6]:
        if "gpu" in line:
            continue  # a schema does not know the operating systems
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(tree_of(with_lines(f"    {line}\n")))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("aptPackage", patterns.APT_PACKAGE),
        ("port", patterns.PORT),
        ("imagePath", patterns.IMAGE_PATH),
        ("fileMode", patterns.FILE_MODE),
    ],
)
def test_the_schema_has_the_patterns_of_additions(name: str, pattern: patterns.Pattern) -> None:
    assert SCHEMA["$defs"][name]["pattern"] == f"^(?:{pattern.pattern})$"
    json.dumps(SCHEMA)


def read(text: str, folder: Path) -> dict[str, bytes]:
    matrix = read_project_files(parse_matrix(text, "matrix.yaml"), folder)
    cells = resolve(matrix, FACTS).cells
    return {file.path: file.content for cell in cells for file in cell.additions.files}


def test_files_are_read_from_the_folder_of_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/a.toml").write_text("a = 1\n")
    (tmp_path / "run.sh").write_bytes(b"\0\xff")
    wanted = {"/etc/team/a.toml": b"a = 1\n", "/usr/local/bin/run": b"\0\xff"}
    assert read(with_lines(ADDITIONS), tmp_path) == wanted


def link_out(folder: Path) -> None:
    (folder / "a").symlink_to("/etc/passwd")


def too_large(folder: Path) -> None:
    (folder / "a").write_bytes(bytes(LARGEST + 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "there is no file a in the project's folder"),
        (lambda folder: (folder / "a").mkdir(), "there is no file a in the project's folder"),
        (link_out, "a leads out of the project's folder"),
        (too_large, f"a has more than {LARGEST} bytes"),
    ],
)
def test_a_file_that_cannot_be_copied_is_refused(
    make: object, message: str, tmp_path: Path
) -> None:
    assert callable(make)
    make(tmp_path)
    text = with_lines("    files: [{source: a, path: /etc/a}]\n")
    with pytest.raises(BadInput) as caught:
        read(text, tmp_path)
    assert message in str(caught.value)
    assert "matrix.yaml:18" in str(caught.value)
