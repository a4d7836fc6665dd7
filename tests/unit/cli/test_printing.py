"""What is printed holds no command to a terminal, whoever wrote the text."""

import json

import pytest

from dlimg.cli.printing import log, print_json, print_table
from dlimg.context import Context
from dlimg.model import Evidence
from dlimg.report import evidence_text
from tests.support import samples

WICKED = "a\x1b[2Jb\x1b]0;title\x07c\x9b2Jd"


def is_harmless(text: str) -> bool:
    return not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in text.replace("\n", ""))


def test_messages_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    log(f"check {WICKED} is gone")
    printed = capsys.readouterr().err
    assert printed.startswith("check ab")
    assert is_harmless(printed)


def test_a_table_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [("x", WICKED)], Context.of({}, log))
    assert is_harmless(capsys.readouterr().out.replace("\t", ""))


def test_json_moves_no_cursor_and_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({WICKED: [WICKED, "\x7f", "Müller"]})
    printed = capsys.readouterr().out
    assert is_harmless(printed)
    assert "Müller" in printed
    assert json.loads(printed) == {"schema": 1, WICKED: [WICKED, "\x7f", "Müller"]}


@pytest.mark.parametrize("is_cuda", [True, False])
def test_evidence_moves_no_cursor(is_cuda: bool) -> None:  # noqa: FBT001
    evidence = Evidence(
        digest="sha256:1",
        cell=samples.cell().id,
        device=WICKED,
        day=WICKED,
        dlimg="0.1",
        engine="1",
        verdicts=(),
        vanished=(WICKED,),
    )
    assert is_harmless(evidence_text.tested_text(evidence, is_cuda=is_cuda))
    assert is_harmless(evidence_text.gpu_text(evidence))
