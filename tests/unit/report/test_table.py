"""Tables on a terminal: aligned where they fit, a block for each row where they do not."""

import re

import pytest

from dlimg.report.table import table

HEADINGS = ("image", "base", "published", "checks")
WORDS = "failed: 17 of 18 passed, 1 failed; tested on NVIDIA H200, driver 580.159, 2026-11-21"
TAG = "dlimg/pytorch:2.15.0-cuda13.2-cudnn9.26-py3.13-debian13"
GPU = "NVIDIA H200, driver 580.159, 143771 MiB, compute capability 9.0"
ROWS = [(TAG, "bootstrap", "-", WORDS), ("dlimg/jax:0.12.0.1-cpu", "registry", "-", "built")]


def drawn(width: int, *, colour: bool = False) -> list[str]:
    return table(HEADINGS, ROWS, width=width, colour=colour).splitlines()


def test_rows_that_fit_take_one_line_each() -> None:
    lines = drawn(200)
    assert len(lines) == 1 + len(ROWS)
    assert lines[0].index("checks") == lines[1].index("failed") == lines[2].index("built")
    assert lines[1].startswith(f"{TAG}  bootstrap  -          failed: 17")


def test_words_are_wrapped_where_enough_room_is_left_for_them() -> None:
    lines = drawn(110)
    assert lines[0].split() == list(HEADINGS)
    assert lines[1].startswith(f"{TAG}  bootstrap  -          failed: 17 of 18 passed")
    column = lines[0].index("checks")
    output = lines[1][column:] + "".join(f" {line.strip()}" for line in lines[2:-1])
    assert output == WORDS


def test_a_narrow_terminal_gets_blocks_without_what_is_not_there() -> None:
    lines = drawn(80)
    assert lines[0] == TAG
    assert lines[1] == "  base: bootstrap"
    assert lines[2].startswith("  checks: failed: 17 of 18 passed, 1 failed; tested on")
    assert lines[-2:] == ["dlimg/jax:0.12.0.1-cpu", "  base: registry  checks: built"]
    assert "published" not in "".join(lines)


@pytest.mark.parametrize("width", [60, 80, 90, 100, 120, 160, 200])
def test_no_word_is_taken_apart_and_no_line_is_too_long(width: int) -> None:
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    cell_words = {word for row in ROWS for cell in row for word in cell.split()} - {"-"}
    assert cell_words <= set(" ".join(lines).split())


def test_a_name_wider_than_the_terminal_is_all_there() -> None:
    assert "".join(drawn(30)[:2]) == TAG


def test_without_rows_there_are_headings() -> None:
    assert table(HEADINGS, [], width=80, colour=False).split() == list(HEADINGS)


@pytest.mark.parametrize("width", [80, 200])
def test_colours_change_no_text(width: int) -> None:
    coloured = "\n".join(drawn(width, colour=True))
    assert "\x1b[1;31mfailed" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == " ".join(drawn(width)).split()


MEASURED = [
    ("host-pytorch-2.15.0-py3.13", "Xeon, 16 cores", "float32", "6.902", "175 GFLOP/s"),
    ("host-pytorch-2.15.0-py3.13", GPU, "float32", "0.02451", "49,290 GFLOP/s"),
    ("host-pytorch-2.15.0-py3.13", GPU, "copy", "-", "4,022 GB/s"),
]


def test_rows_with_much_in_common_share_a_block() -> None:
    text = table(("where", "on", "work", "ms", "speed"), MEASURED, width=80, colour=False)
    assert text.splitlines() == [
        "host-pytorch-2.15.0-py3.13",
        "  on: Xeon, 16 cores",
        "  work     ms     speed",
        "  float32  6.902  175 GFLOP/s",
        "host-pytorch-2.15.0-py3.13",
        f"  on: {GPU}",
        "  work     ms       speed",
        "  float32  0.02451  49,290 GFLOP/s",
        "  copy     -        4,022 GB/s",
    ]
