"""The command line of runs: words and options, and what is refused without an engine."""

from pathlib import Path

import pytest

from dlimg.cli import dispatch
from dlimg.cli.main import main
from dlimg.cli.run import RunOptions, options_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an address at which no engine answers."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    return folder


def parsed(*arguments: str) -> RunOptions:
    return options_of(dispatch.parse(["run", *arguments]))


def test_words_behind_the_dashes_are_the_command() -> None:
    options = parsed("--cpu", "--", "python", "a b.py", "--gpu", "--", "$x")
    assert options.request.command == ("python", "a b.py", "--gpu", "--", "$x")
    assert options.request.gpu == "cpu"


def test_one_text_with_spaces_is_a_line_for_the_shell() -> None:
    assert parsed("python train.py").request.command == ("sh", "-c", "python train.py")
    assert parsed("--", "./run").request.command == ("./run",)


def test_options_of_data_ports_and_variables_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a:b").mkdir()
    monkeypatch.setenv("HERE", "$x 你好")
    arguments = (
        "--data",
        "../m:digits",
        "--data",
        "a:b",
        "-p",
        "80:8080",
        "-e",
        "HERE",
        "-e",
        "A=1=2",
    )
    request = parsed(*arguments, "--", "x").request
    assert [(data.source, data.name) for data in request.data] == [
        ("../m", "digits"),
        ("a:b", "a-b"),
    ]
    assert (request.ports[0].host, request.ports[0].container) == (80, 8080)
    assert request.variables == {"HERE": "$x 你好", "A": "1=2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "jupyter", "x"), "--mode jupyter and a command exclude each other"),
        (("-t", "-d"), "--terminal and --detach exclude each other"),
        (("--env", "", "x"), "--env: the value is empty"),
        (("-p", "x", "y"), "'x' is no port"),
        (("-e", "NOT_SET_HERE", "y"), "NOT_SET_HERE is not set here"),
        (("--data", ":x", "y"), "names no data"),
        (("-p", "127.0.0.999:80:80", "y"), "127.0.0.999 is no address"),
        (("-p", "8000:80", "-p", "8000:81", "y"), "port 8000 would lead to both"),
        (("",), "the command is empty"),
        ((" ",), "the command is empty"),
        (("--data", "a:x", "--data", "b:x", "y"), "a and b would both be /data/x"),
    ],
)
def test_options_that_cannot_be_are_refused(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_what_is_given_twice_counts_once() -> None:
    request = parsed("--data", "d", "--data", "d", "-p", "80", "-p", "80", "x").request
    assert (len(request.data), len(request.ports)) == (1, 1)


def test_an_unknown_mode_or_two_wishes_for_a_gpu_are_wrong_usage() -> None:
    for arguments in (("--mode", "jupiter"), ("--gpu", "--cpu")):
        with pytest.raises(SystemExit) as error:
            parsed(*arguments)
        assert error.value.code == 2


@pytest.mark.parametrize("arguments", [("run", "--", "true"), ("stop", "a"), ("data", "ls")])
def test_without_an_engine_the_address_and_a_hint_are_shown(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(list(arguments))
    shown = capsys.readouterr().err
    if arguments[0] == "stop":
        assert (code, "there is no run 'a'" in shown) == (2, True)
    else:
        assert (code, "no container engine answers" in shown) == (4, True)
        assert "hint:" in shown


def test_what_is_wrong_with_a_run_is_said_before_an_engine_is_looked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run"]) == 2
    assert "there is no command to run" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "ps", "up", "down", "doctor", "logs x", "rm x"])
def test_an_empty_machine_is_not_this_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main([*command.split(), "--on", ""])
    assert error.value.code == 2
    assert "argument --on: the value is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("run python train.py --epochs 3", "`dlimg run -- python train.py --epochs 3`"),
        ("run --cpu python train.py -x", "`dlimg run --cpu -- python train.py -x`"),
        ("run --name python python -x", "`dlimg run --name python -- python -x`"),
        ("exec job ls -l", "`dlimg exec job -- ls -l`"),
        ("run --evn jax", "did you mean `--env`?"),
        ("list --frmat json", "did you mean `--format`?"),
        ("run --epochs", "`dlimg run --help` shows what there is"),
    ],
)
def test_an_unknown_option_has_the_right_line_or_the_nearest_option(
    line: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(line.split())
    assert error.value.code == 2
    assert hint in capsys.readouterr().err


def test_runs_are_listed_without_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps"]) == 0
    assert "there are no runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("rm",),
        ("rm", "--ended", "x"),
        ("stop", "a", "--seconds", "-1"),
        ("stop", "a", "--seconds", "9" * 20),
        ("up",),
        ("data", "add", "x", ""),
    ],
)
def test_commands_of_runs_refuse_what_they_cannot_do(arguments: tuple[str, ...]) -> None:
    assert main(list(arguments)) == 2
