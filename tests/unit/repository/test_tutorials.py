"""The pages of docs/tutorials: each has its test, and no block is left out."""

import re
from pathlib import Path

import pytest

from tests.support.tutorial import (
    PAGES,
    Command,
    NotebookCell,
    PageFile,
    Reader,
    TutorialPage,
    output_pattern,
    parse_page,
    plain,
)

ROOT = Path(__file__).parents[3]
PATHS = sorted(set(PAGES.glob("*.md")) - {PAGES / "README.md"})


def test_each_page_has_a_test_of_its_name_and_each_test_a_page() -> None:
    tests = (ROOT / "tests/tutorials").glob("test_*.py")
    assert {path.stem.replace("-", "_") for path in PATHS} == {
        path.stem.removeprefix("test_") for path in tests
    }


def test_the_index_lists_every_page() -> None:
    rows = re.compile(r"^\| \[\S+\]\((\S+)\) \|", re.MULTILINE)
    assert sorted(rows.findall((PAGES / "README.md").read_text())) == [path.name for path in PATHS]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_command_and_block_of_a_page_is_a_step(path: Path) -> None:
    text = path.read_text()
    steps = list(parse_page(text))
    commands = [step for step in steps if isinstance(step, Command)]
    assert len(commands) == len(re.findall(r"^\$ ", text, re.MULTILINE)) > 3
    cells = [step for step in steps if isinstance(step, NotebookCell)]
    assert len(cells) == len(re.findall(r"^In \[\d+\]: ", text, re.MULTILINE))
    files = [step for step in steps if isinstance(step, PageFile)]
    assert len(files) == len(re.findall(r"^```\w+ title=", text, re.MULTILINE))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_file_is_named_in_the_text_too(path: Path) -> None:
    """GitHub shows no title above a block."""
    text = path.read_text()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for step in parse_page(text):
        if isinstance(step, PageFile):
            assert f"`{step.path}`" in prose


PAGE = """\
# A page

```python title="a b.py"
print(1)
```

```console
$ cat 'a b.py' \\
>     && echo ...
print(1)
...
$ false
```

```ipython
In [1]: for i in range(2):
   ...:     print(i)
0
1

In [2]: i
Out[2]: 1
```
"""


def test_a_page_is_parsed_into_steps() -> None:
    with pytest.raises(ValueError, match="line 3: a block that no test runs: bash -x"):
        list(parse_page("one\n\n```bash -x\nls\n```\n"))
    with pytest.raises(ValueError, match="line 3: a block that no test runs: indented"):
        list(parse_page("one\n\n    ls\n"))
    with pytest.raises(ValueError, match="line 1: python: a file needs a title"):
        list(parse_page("```python\n1\n```\n"))
    with pytest.raises(ValueError, match="line 1: a block `console` begins with a command"):
        list(parse_page("```console\nls\n```\n"))
    assert list(parse_page(PAGE)) == [
        PageFile(line=3, path="a b.py", text="print(1)\n"),
        Command(line=8, text="cat 'a b.py' \\\n    && echo ...", output="print(1)\n...\n"),
        Command(line=12, text="false", output=""),
        NotebookCell(line=16, number=1, text="for i in range(2):\n    print(i)", output="0\n1\n"),
        NotebookCell(line=21, number=2, text="i", output="Out[2]: 1\n"),
    ]


@pytest.mark.parametrize(
    ("expected", "output", "is_match"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("a ... c\n", "a b c\n", True),
        ("a ...\n", "a b\nc\n", False),
        ("...\nc\n", "a\nb\nc\n", True),
        ("...\nc\n", "c\n", True),
        ("...\nc\n", "a\nc\nd\n", False),
        ("(a)\n", "a\n", False),
        ("", "a\n", False),
    ],
)
def test_dots_stand_for_anything(expected: str, output: str, *, is_match: bool) -> None:
    assert bool(re.fullmatch(output_pattern(expected), output)) is is_match


def test_an_output_is_compared_without_colours_and_progress() -> None:
    assert plain("\x1b[1ma\x1b[0m  \r\n 10%\r100%\r\nlast") == "a\n100%\nlast\n"


def page(*steps: Command | PageFile | NotebookCell) -> TutorialPage:
    return TutorialPage(path=Path("page.md"), steps=steps)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(folder=tmp_path, variables={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})


def test_the_shell_keeps_its_folder_and_variables(reader: Reader) -> None:
    reader.follow(
        page(
            PageFile(line=1, path="~/a b/c.txt", text="it's $HOME\n"),
            Command(line=2, text="cd 'a b'", output=""),
            Command(line=3, text="export NAME=1", output=""),
            Command(line=4, text="cat c.txt; echo $NAME", output="it's $HOME\n1\n"),
            Command(line=5, text="exit 3", output="", code=3),
        )
    )


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Command(line=7, text="echo 1", output="2\n"), r"page.md:7: echo 1\nprints\n1\n"),
        (Command(line=7, text="false", output=""), "page.md:7: false: ended with 1"),
        (Command(line=7, text="true", output="", code=1), "page.md:7: true: ended with 0"),
        (NotebookCell(line=7, number=1, text="1", output=""), "nothing runs cells"),
    ],
)
def test_what_a_page_says_wrongly_is_named(
    reader: Reader, step: Command | NotebookCell, message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        reader.follow(page(step))


def test_ctrl_c_is_typed_after_the_output_before_it(reader: Reader) -> None:
    script = "trap 'echo saved; exit 0' INT; echo go; while :; do sleep 0.05; done"
    reader.follow(page(Command(line=1, text=f'sh -c "{script}"', output="go\n^C\nsaved\n")))
