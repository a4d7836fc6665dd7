"""`dlimg list` on a terminal: cells in groups; in a pipe a line for each."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
LIST = [sys.executable, "-m", "dlimg", "list", "tensorflow-*cuda*"]
EVERYTHING = [sys.executable, "-m", "dlimg", "list"]


def on_a_terminal(columns: int, command: Sequence[str] = LIST) -> list[str]:
    """Return the lines that the command writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(command, stdout=theirs, cwd=ROOT, env=environment) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux ends a closed terminal so
                break
            if not part:
                break
            written += part
    os.close(ours)
    assert process.returncode == 0
    return written.decode().splitlines()


def test_cells_are_grouped_by_family_and_version() -> None:
    lines = on_a_terminal(columns=100)
    groups = [line for line in lines[1:] if not line.startswith("  ")]
    assert groups == ["tensorflow-2.21.0-", "tensorflow-2.14.1-"]
    assert any(line.startswith("  cuda11.8-py3.10-debian13 ") for line in lines)
    assert max(map(len, lines)) <= 100


def test_the_whole_matrix_fits_into_a_hundred_columns() -> None:
    lines = on_a_terminal(columns=100, command=EVERYTHING)
    assert lines[0].split() == ["cell", "moving", "tags", "locked"]
    assert max(map(len, lines)) <= 100
    assert "  cuda13.2-py3.12-debian13 (uv 3.12.16)" in {line[:39].rstrip() for line in lines}


def test_a_narrow_terminal_has_the_fields_of_a_cell_below_it() -> None:
    lines = on_a_terminal(columns=60, command=EVERYTHING)
    assert max(map(len, lines)) <= 60
    start = lines.index("pytorch-2.15.0-")
    assert lines[start + 1 : start + 3] == ["  cuda13.2-py3.11-debian12", "    locked: yes"]
    assert lines.count("  locked") == 0, "no cell has headings of its own"


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    lines = on_a_terminal(columns=50)
    text = "".join(line.strip() for line in lines)
    assert "cuda11.8-py3.10-debian13" in text
    assert "tensorflow-2.14.1-" in text


def test_a_pipe_has_a_line_with_the_whole_id_for_each_cell() -> None:
    ended = subprocess.run(LIST, capture_output=True, text=True, check=True, cwd=ROOT)
    headings, *lines = ended.stdout.splitlines()
    assert headings.startswith("cell\t")
    assert all(line.startswith("tensorflow-") and line.count("\t") == 3 for line in lines)
    assert not any(line.startswith("tensorflow-2.14.1-\t") for line in lines)
