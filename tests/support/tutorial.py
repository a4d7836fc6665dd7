"""Pages of docs/tutorials as tests: their commands, files and cells, followed in the page's order.

A block `console` has commands behind `$ ` and what they print, where `...` stands for anything. A
line `^C` in it is typed once all before it was printed. A block with a title is a file. A block
`ipython` has cells of a notebook; `In [1]` begins in a new or restarted kernel.
"""

import codecs
import contextlib
import os
import pty
import re
import secrets
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, assert_never

from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ROOT / "docs/tutorials"
SECONDS: Final = 300
INTERRUPT: Final = "^C"
# All of the script is read before it runs, so that its commands have an empty input.
LOCAL_SHELL: Final = ("bash", "-c", 'eval "$(cat)"')
_INFO: Final = re.compile(
    r'(?P<language>\w+)(?: title="(?P<title>[^"]+)")?(?: exit=(?P<exit>\d+))?'
)
_PROMPT: Final = re.compile(r"In \[(?P<number>\d+)\]: (?P<text>.*)")
_DATA: Final = re.compile(r"dlimg data add (\S+)")
_CONTINUED: Final = re.compile(r" *\.\.\.: ?(?P<text>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of a page, what it prints, and its exit code."""

    line: int
    text: str
    output: str
    code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """A file that the reader writes."""

    line: int
    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookCell:
    """A cell that the reader types into a notebook, and what it prints."""

    line: int
    number: int
    text: str
    output: str


Step = Command | PageFile | NotebookCell


@dataclass(frozen=True, slots=True, kw_only=True)
class TutorialPage:
    """A page and its steps."""

    path: Path
    steps: tuple[Step, ...]

    @property
    def data_names(self) -> tuple[str, ...]:
        """The names of data that the page's commands store."""
        texts = (step.text for step in self.steps if isinstance(step, Command))
        return tuple(name for text in texts for name in _DATA.findall(text))


def page_of(test_file: str) -> TutorialPage:
    """The page that a module of tests follows, by the module's name."""
    name = Path(test_file).stem.removeprefix("test_").replace("_", "-")
    path = PAGES / f"{name}.md"
    return TutorialPage(path=path, steps=tuple(parse_page(path.read_text(encoding="utf-8"))))


def parse_page(text: str) -> Iterator[Step]:
    """The steps of a page; a block of another kind is an error, as nothing would run it."""
    for token in MarkdownIt("commonmark").parse(text):
        if token.type not in {"fence", "code_block"}:
            continue
        line = token.map[0] + 1 if token.map else 0
        info = _INFO.fullmatch(token.info) if token.type == "fence" else None
        if info is None:
            raise ValueError(f"line {line}: a block that no test runs: {token.info or 'indented'}")
        if info["title"]:
            yield PageFile(line=line, path=info["title"], text=token.content)
        elif info["language"] == "console":
            yield from _commands(token.content, line, int(info["exit"] or 0))
        elif info["language"] == "ipython":
            yield from _cells(token.content, line)
        else:
            raise ValueError(f"line {line}: {info['language']}: a file needs a title")


def _commands(text: str, line: int, code: int) -> Iterator[Command]:
    rows = text.splitlines()
    starts = [number for number, row in enumerate(rows) if row.startswith("$ ")]
    if not starts or starts[0] != 0:
        raise ValueError(f"line {line}: a block `console` begins with a command")
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        after = start + 1
        while after < end and rows[after].startswith("> "):
            after += 1
        typed = "\n".join(row[2:] for row in rows[start:after])
        output = "".join(f"{row}\n" for row in rows[after:end])
        # The exit code of a block is that of its last command.
        is_last = end == len(rows)
        yield Command(line=line + 1 + start, text=typed, output=output, code=code if is_last else 0)


def _cells(text: str, line: int) -> Iterator[NotebookCell]:
    rows = text.splitlines()
    prompts = [_PROMPT.fullmatch(row) for row in rows]
    starts = [number for number, prompt in enumerate(prompts) if prompt]
    if not starts or starts[0] != 0:
        raise ValueError(f"line {line}: a block `ipython` begins with `In [1]: `")
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        prompt, after = prompts[start], start + 1
        assert prompt
        typed = [prompt["text"]]
        while after < end and (more := _CONTINUED.fullmatch(rows[after])):
            typed.append(more["text"])
            after += 1
        yield NotebookCell(
            line=line + 1 + start,
            number=int(prompt["number"]),
            text="\n".join(typed),
            output="".join(f"{row}\n" for row in rows[after:end] if row.strip()),
        )


def output_pattern(expected: str) -> str:
    """A regular expression for an output in which `...` stands for anything.

    A line of its own stands for any number of lines, elsewhere it ends with the line.
    """
    return "".join(
        r"(?:.*\n)*?" if row.strip() == "..." else ".*?".join(map(re.escape, row.split("...")))
        for row in expected.splitlines(keepends=True)
    )


def plain(output: str) -> str:
    """An output without colours and without spaces at the end of lines."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output).replace("\r\n", "\n")
    rows = [row.rpartition("\r")[2].rstrip() for row in text.split("\n")]
    text = "\n".join(rows)
    return text if not text or text.endswith("\n") else f"{text}\n"


@dataclass(kw_only=True)
class Reader:
    """Somebody who follows a page in a folder, by a shell that keeps its folder and variables.

    `shell` runs the script on its standard input. `type_cell` runs a cell of a notebook, in a new
    kernel if the second argument is true. `look` is given what a command printed before a Ctrl-C.
    """

    folder: Path
    variables: Mapping[str, str]
    shell: Sequence[str] = LOCAL_SHELL
    type_cell: Callable[[str, bool], str] | None = None
    look: Callable[[str], object] = str
    state: str = field(default_factory=lambda: f"/tmp/tutorial-{secrets.token_hex(8)}")  # noqa: S108

    def walk(self, page: TutorialPage) -> Iterator[tuple[Step, str]]:
        """Follow each step, and yield it with what it printed."""
        try:
            for step in page.steps:
                yield step, self._follow(step, f"{page.path.name}:{step.line}")
        finally:
            self.execute(f"rm -f {self.state}\n")

    def follow(self, page: TutorialPage) -> None:
        """Follow all steps of a page."""
        for _ in self.walk(page):
            pass

    def _follow(self, step: Step, where: str) -> str:
        match step:
            case PageFile():
                is_at_home = step.path.startswith("~/")
                path = shlex.quote(step.path.removeprefix("~/"))
                path = f'"$HOME"/{path}' if is_at_home else path
                script = f"mkdir -p \"$(dirname {path})\" && cat >{path} <<'END-OF-FILE'\n"
                code, output = self.run(f"{script}{step.text}END-OF-FILE")
                assert (code, output) == (0, ""), f"{where}: {output}"
                return ""
            case NotebookCell():
                assert self.type_cell, f"{where}: nothing runs cells here"
                output = plain(self.type_cell(step.text, step.number == 1))
            case Command():
                before, interrupt, _ = step.output.partition(f"{INTERRUPT}\n")
                code, output = self.run(step.text, before if interrupt else "")
                assert code == step.code, f"{where}: {step.text}: ended with {code}:\n{output}"
            case _:
                assert_never(step)
        expected = step.output.replace(f"{INTERRUPT}\n", "")
        if re.fullmatch(output_pattern(expected), output) is None:
            message = f"{where}: {step.text}\nprints\n{output}\nand not\n{expected}"
            raise AssertionError(message)
        return output

    def run(self, command: str, until: str = "") -> tuple[int, str]:
        """Run a command in the shell's present folder; return its exit code and output."""
        state = self.state
        script = (
            f"[ ! -e {state} ] || . {state}\n{command}\n__code=$?\n"
            f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} >{state}\nexit $__code\n"
        )
        return self.execute(script, until)

    def execute(self, script: str, until: str = "") -> tuple[int, str]:
        """Run a script; interrupt it, as Ctrl-C does, once it has printed what `until` says."""
        with tempfile.TemporaryFile() as given, contextlib.ExitStack() as stack:
            given.write(script.encode())
            given.seek(0)
            # Tables and progress look as in the reader's terminal.
            terminal, inner = pty.openpty()
            stack.callback(os.close, terminal)
            child = subprocess.Popen(
                self.shell,
                cwd=self.folder,
                env=dict(self.variables),
                stdin=given,
                stdout=inner,
                stderr=inner,
                start_new_session=True,
            )
            os.close(inner)
            stack.enter_context(child)
            stack.callback(_kill, child.pid)
            watch = threading.Timer(SECONDS, _kill, (child.pid,))
            stack.callback(watch.cancel)
            watch.start()
            output = ""
            for text in _texts(terminal):
                output += text
                if until and re.fullmatch(output_pattern(until), plain(output)):
                    self.look(plain(output))
                    os.killpg(child.pid, signal.SIGINT)
                    until = ""
            return child.wait(), plain(output)


def _texts(terminal: int) -> Iterator[str]:
    """What comes out of a terminal, until its last program has ended."""
    read = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 65536):
            yield read(part)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
