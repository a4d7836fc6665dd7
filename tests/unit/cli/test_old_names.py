"""Old names of commands and options: they work, and name the new ones on standard error."""

import argparse

import pytest

from dlimg.cli.commands import COMMANDS
from dlimg.cli.dispatch import command_module, parse

# The old words, the new ones, and what standard error names.
OLD = [
    ("test --bare jax", "test --on-host jax", "--on-host"),
    ("bench-gpu --bare jax", "bench-gpu --on-host jax", "--on-host"),
    ("size --having jax-*", "size --already-pulled jax-*", "--already-pulled"),
    (
        "size --having jax-* --having torch-*",
        "size --already-pulled jax-* --already-pulled torch-*",
        "--already-pulled",
    ),
    ("lint --index", "lint --online", "--online"),
    (
        "publish --to ghcr.io/team --require no-gpu",
        "publish --to ghcr.io/team --allow-untested-gpu",
        "--allow-untested-gpu",
    ),
    (
        "publish --to ghcr.io/team --require gpu",
        "publish --to ghcr.io/team",
        "the default",
    ),
    ("layers list", "store ls", "dlimg store"),
    ("layers verify", "store verify", "dlimg store"),
    ("layers prune --all", "store prune --all", "dlimg store"),
    ("layers export jax-* out", "store export jax-* out", "dlimg store"),
    ("--matrix other.yaml layers list", "--matrix other.yaml store ls", "dlimg store"),
]


def options(line: str) -> object:
    arguments = parse(line.split())
    return command_module(arguments.command).options_of(arguments)


@pytest.mark.parametrize(("old", "new", "named"), OLD)
def test_an_old_name_means_the_new_one(
    old: str, new: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = options(new)
    assert capsys.readouterr().err == ""
    assert options(old) == expected
    assert named in capsys.readouterr().err


def hidden_options(command: str) -> set[str]:
    parser = argparse.ArgumentParser()
    command_module(command).add_arguments(parser)
    return {
        option
        for action in parser._actions  # noqa: SLF001  # argparse has no other list of them
        if action.help == argparse.SUPPRESS
        for option in action.option_strings
    }


def test_only_old_and_refused_options_are_hidden() -> None:
    hidden = {option for command in COMMANDS for option in hidden_options(command)}
    refused = {"--no-engine"}
    assert hidden - refused == {"--bare", "--having", "--index", "--keep", "--require"}


@pytest.mark.parametrize("old", ["--bare", "--having", "--index", "--require", "--keep"])
def test_help_names_no_old_option(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("test", "bench-gpu", "size", "lint", "publish", "facts"):
        with pytest.raises(SystemExit):
            parse([command, "--help"])
        assert f"{old} " not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("buid", "did you mean 'build'?"),
        ("--matrix m.yaml bild", "did you mean 'build'?"),
        ("build --foo", "`dlimg build --help` shows what there is"),
        ("store verfy", "`dlimg store --help` shows what there is"),
    ],
)
def test_a_wrong_word_has_a_hint(line: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(line.split())
    assert ended.value.code == 2
    assert hint in capsys.readouterr().err


def test_every_command_has_a_module() -> None:
    for command in COMMANDS:
        module = command_module(command)
        assert {"add_arguments", "options_of", "run"} <= set(vars(module))
