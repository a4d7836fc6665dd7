"""`dlimg.yaml`: each key, the nearest to a wrong one, and the command line above it."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

import dlimg
from dlimg.errors import BadInput
from dlimg.run.model import DataRequest, PortMapping, ProjectLayer, RunRequest
from dlimg.run.project_file import KEYS, parse_project, with_project

SCHEMA = json.loads(
    (Path(dlimg.__file__).parent / "project_files/new/schema.json").read_text(encoding="utf-8")
)
FOLDER = Path("hello")
WHOLE = """\
name: hello
image: tensorflow-2.21
gpu: true
command: python train.py --epochs "$EPOCHS"
packages: [tqdm, 'rich>=13,<15']
apt: ffmpeg
setup: |
  echo one
  echo two
data: {digits: ../mnist, model: 'other:3/output'}
output: results
env: {EPOCHS: 3, NAME: 你好 $x}
secrets: [WANDB_API_KEY]
ports: [6006, '9000:9001']
stop_time: 10m
idle_time: 2h
"""


def test_every_key_is_read() -> None:
    project = parse_project(WHOLE, FOLDER)
    assert (project.name, project.env, project.gpu) == ("hello", "tensorflow-2.21", "gpu")
    assert project.command == ("sh", "-c", 'python train.py --epochs "$EPOCHS"')
    assert project.layer == ProjectLayer(
        packages=("tqdm", "rich>=13,<15"), apt=("ffmpeg",), setup=("echo one", "echo two")
    )
    assert project.data == (
        DataRequest(source="../mnist", name="digits"),
        DataRequest(source="other:3/output", name="model"),
    )
    assert project.variables == {"EPOCHS": "3", "NAME": "你好 $x", "DLIMG_IDLE": "2h"}
    assert project.secrets == ("WANDB_API_KEY",)
    assert project.ports == (PortMapping(container=6006), PortMapping(container=9001, host=9000))
    assert (project.output, project.stop_seconds) == ("results", 600)


def test_env_with_one_text_is_the_image() -> None:
    assert parse_project("env: pytorch", FOLDER).env == "pytorch"
    with pytest.raises(BadInput, match="env and image both name the image"):
        parse_project("env: pytorch\nimage: jax\n", FOLDER)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("comand: x", "dlimg.yaml:1: unknown key 'comand'", "'command'"),
        ("a: 1\nmode: jupiter", "dlimg.yaml:2: unknown mode 'jupiter'", "'jupyter'"),
        ("gpu: yes please", "unknown gpu", "use one of"),
        ("mode: jupyter\ncommand: x", "mode and command exclude each other", "keep one"),
        ("packages: ['x @ https://a.b/c']", "is not a requirement", "addresses"),
        ("packages: [--index-url=x]", "is not a requirement", "write NAME"),
        ("apt: ['a; rm -rf /']", "is not a package of the distribution", "ffmpeg"),
        ("name: a b", "is not a name", "letters"),
        ("env: {1A: x}", "is not the name of a variable", "API_KEY"),
        ("env: {A: [1]}", "the variable A must be one text", ""),
        ("secrets: [A=1]", "is not the name of a variable", "API_KEY"),
        ("ports: [x]", "'x' is no port", "HOST:PORT"),
        ("stop_time: soon", "is not a time", "120s"),
        ("data: {a b: x}", "dlimg.yaml:1: 'a b' is no name", "letters"),
        ("data: {..: x}", "dlimg.yaml:1: '..' is no name", "letters"),
        ("data: {x: ''}", "dlimg.yaml:1: data x is empty", "remove the key"),
        ("data: {x: a, x: b}", "the key 'x' is a repeat", "keep one"),
        ("data: [':x']", "dlimg.yaml:1: ':x' names no data", "SRC:NAME"),
        ("a: 1\nports: 99999", "dlimg.yaml:2: '99999' is no port", "HOST:PORT"),
        ("ports: {a: 1}", "ports must be a list", ""),
        ("stop time: -1", "unknown key 'stop time'", "'stop_time'"),
        ("stop_time: -1", "is not a time", "120s"),
        ("gpu: True", "unknown gpu 'True'", "'true'"),
        ("\tname: x", "a tab is used for indentation", "spaces"),
        ("name: [1]", "name must be one text", ""),
        ("data: &a [x]\nports: *a", "'x' is no port", "HOST:PORT"),
        ("---\nname: a\n---\nname: b", "a second document begins", ""),
        ("[]", "must be a mapping", ""),
        ("a: [", "", ""),
    ],
)
def test_what_is_wrong_is_refused_with_its_line_and_what_is_right(
    text: str, message: str, hint: str
) -> None:
    with pytest.raises(BadInput) as error:
        parse_project(text, FOLDER)
    assert message in str(error.value)
    assert hint in str(error.value)
    assert "dlimg.yaml:" in str(error.value)


@pytest.mark.parametrize("text", ["data: {x: '', y: [a]}", "ports: 99999", "data: [':x']"])
def test_each_problem_is_said_once_and_in_the_words_of_the_file(text: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_project(text, FOLDER)
    problems = error.value.problems
    assert len({problem.message for problem in problems}) == len(problems)
    assert "--" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("command: |\n  python train.py\n", ("sh", "-c", "python train.py")),
        (
            "command: >\n  python train.py\n  --epochs 3\n",
            ("sh", "-c", "python train.py --epochs 3"),
        ),
        ("command: |\n  a\n\n  b c\n", ("sh", "-c", "set -e\na\n\nb c")),
    ],
)
def test_a_command_may_have_several_lines(text: str, command: tuple[str, ...]) -> None:
    assert parse_project(text, FOLDER).command == command


def test_data_may_have_a_number_as_name_and_an_address_as_source() -> None:
    data = parse_project("data: {1: x, words: 'hf:a/b@main'}", FOLDER).data
    assert [(entry.name, entry.source) for entry in data] == [("1", "x"), ("words", "hf:a/b@main")]


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(BadInput) as error:
        parse_project("nam: x\ngpu: maybe\n", FOLDER)
    assert len(error.value.problems) == 2


def test_the_command_line_is_above_the_project(tmp_path: Path) -> None:
    project = parse_project(WHOLE, FOLDER)
    plain = with_project(RunRequest(folder=tmp_path), project)
    assert (plain.name, plain.env, plain.gpu) == ("hello", "tensorflow-2.21", "gpu")
    assert plain.stop_seconds == 600
    assert plain.variables["DLIMG_IDLE"] == "2h"
    given = RunRequest(
        folder=tmp_path,
        command=("x",),
        name="n",
        env="jax",
        gpu="cpu",
        data=(DataRequest(source="/other", name="digits"),),
        variables={"EPOCHS": "9"},
    )
    above = with_project(given, project)
    assert (above.command, above.name, above.env, above.gpu) == (("x",), "n", "jax", "cpu")
    assert [data.source for data in above.data] == ["/other", "other:3/output"]
    assert above.variables["EPOCHS"] == "9"
    assert with_project(RunRequest(folder=tmp_path, terminal=True), project).command == ()
    notebook = with_project(RunRequest(folder=tmp_path, mode="jupyter"), project)
    assert (notebook.command, notebook.mode) == ((), "jupyter")


def test_the_schema_for_editors_knows_the_same_keys() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(KEYS)
    jsonschema.validate(yaml.safe_load(WHOLE), SCHEMA)


@pytest.mark.parametrize("text", ["comand: x", "gpu: maybe", "mode: x", "env: {1A: x}", "a"])
def test_the_schema_refuses_what_dlimg_refuses(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), SCHEMA)
