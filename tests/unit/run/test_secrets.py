"""Secrets: values by name, masks in streams, and warnings for those that others can read."""

from dataclasses import replace

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput, Negative
from dlimg.run.secrets import Masker, secret_values, values_to_mask, visible_secrets
from tests.support import run_engine
from tests.unit.run.test_record import RECORD


def test_a_secret_is_the_value_of_a_variable() -> None:
    assert secret_values(["A"], {"A": "x y", "B": "z"}) == {"A": "x y"}


@pytest.mark.parametrize("name", ["A=secret-value", "", "a b", "1A"])
def test_a_value_in_place_of_a_name_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(BadInput, match="by its name, never by its value") as error:
        secret_values([name], {})
    assert "secret-value" not in str(error.value)


def test_a_secret_that_is_not_set_is_refused() -> None:
    with pytest.raises(BadInput, match="the secret A is not set here"):
        secret_values(["A"], {"A": ""})


@pytest.mark.parametrize("size", range(1, 9))
def test_a_secret_is_masked_however_the_output_is_cut(size: int) -> None:
    text = b"key=s3cret-\xe4\xbd\xa0; s3cret s3cret-\xe4\xbd\xa0s3cret-\xe4\xbd\xa0 end s3cr"
    masker = Masker(["s3cret-你"])
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    shown = b"".join([masker(piece) for piece in pieces]) + masker.end()
    assert shown == b"key=***; s3cret ****** end s3cr"


def test_each_line_of_a_secret_is_masked_and_the_longest_first() -> None:
    masker = Masker(["-----BEGIN\nabcdefgh\nabcd", "abcd"])
    assert masker(b"abcdefgh then abcd\n") + masker.end() == b"*** then ***\n"


def test_output_without_secrets_is_not_held_back() -> None:
    assert Masker([])(b"abc") == b"abc"
    assert Masker(["secret"])(b"50%\r") == b"50%\r"


@pytest.mark.parametrize(
    "command",
    [
        ["wandb", "login", "--api-key=0123456789abcdef"],
        ["train", "--hf-token", "abc"],
        ["sh", "-c", "export HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz"],
        ["python", "x.py", "sk-abcdefghijklmnopqrstuvwxyz"],
        ["python", "x.py", "value-of-this-shell"],
        ["aws", "AKIAABCDEFGHIJKLMNOP"],
    ],
)
def test_a_secret_in_the_command_is_warned_of_and_not_repeated(command: list[str]) -> None:
    (warning,) = visible_secrets(command, {}, {"MY_API_KEY": "value-of-this-shell"})
    assert "--secret NAME" in warning
    assert "abcdef" not in warning
    assert "value-of" not in warning


@pytest.mark.parametrize(
    "command",
    [
        ["python", "train.py", "--epochs=3", "--keyboard=us", "--tokenizer", "bert"],
        ["python", "train.py", "--tokens", "1000"],
        ["sh", "-c", "echo $HF_TOKEN"],
        [],
    ],
)
def test_other_commands_are_not_warned_of(command: list[str]) -> None:
    assert list(visible_secrets(command, {"PATH": "/bin"}, {"HF_TOKEN": ""})) == []


def test_a_variable_with_the_name_of_a_secret_is_warned_of() -> None:
    (warning,) = visible_secrets([], {"WANDB_API_KEY": "x", "EPOCHS": "3"}, {})
    assert "WANDB_API_KEY" in warning


def test_output_with_a_secret_that_is_not_known_is_not_shown(context: Context) -> None:
    record = replace(RECORD, secrets=("A_KEY",))
    engine = run_engine.engine(run_engine.FakeApi(), context)
    with pytest.raises(Negative, match="A_KEY, whose value is not known any more"):
        values_to_mask(record, "ended", engine)
    known = replace(context, environment={"A_KEY": "value"})
    engine = run_engine.engine(run_engine.FakeApi(), known)
    assert values_to_mask(record, "ended", engine) == ["value"]
    assert values_to_mask(replace(record, secrets=()), "ended", engine) == []
