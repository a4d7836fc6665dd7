"""What commands import, which is most of what they cost; and that pins are judged all the same."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

import pytest
from packaging.specifiers import SpecifierSet

from dlimg.choose.combination import Combination
from dlimg.choose.facts import Facts
from dlimg.choose.plain_pins import admits_plain
from dlimg.choose.reason import Reason
from dlimg.choose.rules import Rule, rules
from dlimg.cli import COMMANDS, main, parser

ROOT: Final = Path(__file__).parent.parent.parent
FACTS: Final = ROOT / "dlimg/facts/compiled"
HEAVY: Final = {
    "asyncio",
    "concurrent.futures",
    "docker",
    "jinja2",
    "packaging",
    "requests",
    "rich",
}
ADVICE: Final = HEAVY | {"dlimg.lock.lockfile", "shutil", "subprocess"}
PICKED: Final = HEAVY | {"dlimg.engine.nvml", "hashlib", "shutil", "subprocess", "tempfile"}
CELL: Final = "pytorch-2.15.0-cuda13.2-py3.13-debian13"


def modules(*words: str) -> set[str]:
    """What a fresh Python has imported after this command."""
    script = (
        "import sys\nfrom dlimg.cli import main\n"
        "try:\n main(sys.argv[1:])\nexcept SystemExit:\n pass\n"
        "print('imported:', *sys.modules)"
    )
    argv = [sys.executable, "-c", script, *words]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(ended.stdout.rpartition("imported:")[2].split())


@pytest.mark.parametrize(
    ("words", "never"),
    [
        (("--help",), HEAVY | {"dlimg.words", "dlimg.model", "yaml", "pathlib", "json"}),
        (("list",), HEAVY | {"shutil", "subprocess", "dlimg.choose.judge", "dlimg.choose.ends"}),
        (("list", "--dropped"), HEAVY | {"subprocess", "dlimg.choose.judge"}),
        (("render", "--check"), {"docker", "requests", "rich", "concurrent.futures.process"}),
        (("why", "torch==2.6.0", "--cuda", "12.4"), ADVICE | {"yaml", "dlimg.choose.resolve"}),
        (("why", "jax==0.12.0", "--gpu", "K80"), ADVICE | {"yaml", "dlimg.choose.resolve"}),
        (("why", CELL, "--gpu", "T4"), (HEAVY - {"packaging"}) | {"hashlib"}),
        (("pick", "--gpu", "RTX 4090", "--driver", "550.54.15"), PICKED),
        (("pick", "pytorch", "--gpu", "T4"), PICKED),
        (("pick", "--gpu", "GB10"), PICKED),
        (("facts", "gpus"), ADVICE | {"yaml", "dlimg.choose.resolve"}),
    ],
)
def test_a_command_does_not_import_what_it_does_not_need(
    words: tuple[str, ...], never: set[str]
) -> None:
    imported = modules(*words)
    assert "dlimg.cli" in imported
    assert not imported & never


@pytest.mark.parametrize("words", [["list"], ["why", "torch"], ["layers", "list"]])
def test_only_the_command_that_was_asked_for_gets_its_words(words: list[str]) -> None:
    top = parser()
    assert top.parse_args(words).command == words[0]
    [commands] = [each.choices for each in top._actions if isinstance(each.choices, dict)]  # noqa: SLF001
    assert [name for name, later in commands.items() if "_made" in vars(later)] == [words[0]]


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_has_words_and_a_module(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: dlimg {name}" in capsys.readouterr().out
    module = next(module for each, module, _ in COMMANDS if each == name)
    assert (ROOT / f"dlimg/commands/{module}.py").is_file()


def test_a_build_imports_no_builder_before_something_is_missing() -> None:
    script = "import sys, dlimg.commands.making; print(*sys.modules)"
    argv = [sys.executable, "-c", script]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(ended.stdout.split())
    assert "dlimg.build.builders" in imported
    later = {"build.buildkit", "build.layers", "publish.promote", "registry.session"}
    later |= {"smoke.containers", "layers.store", "layers.intake"}
    assert not imported & {f"dlimg.{name}" for name in later}


def test_keys_that_are_known_import_nothing_that_builds() -> None:
    script = "import sys, dlimg.build.packages; print(*sys.modules)"
    argv = [sys.executable, "-c", script]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(ended.stdout.split())
    later = {"build.hands", "build.keys", "layers.system", "layers.compiling", "engine.client"}
    assert not imported & {f"dlimg.{name}" for name in later}
    assert not imported & {"docker", "requests"}


def test_a_build_that_is_not_watched_draws_nothing() -> None:
    script = (
        "import sys, dlimg.commands.live as live; live.Board({}).__enter__(); print(*sys.modules)"
    )
    argv = [sys.executable, "-c", script]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"rich", "rich.console"} & set(ended.stdout.split())


@pytest.mark.parametrize(
    ("asked", "most"), [("jax==0.12.0 --gpu K80", 3000), ("tensorflow==1.15 --gpu B200", 3000)]
)
def test_a_hard_question_asks_few_rules(
    asked: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken = 0

    def counting(today: date) -> tuple[Rule, ...]:
        def counted(rule: Rule) -> Rule:
            def speak(facts: Facts, one: Combination) -> Reason | None:
                nonlocal spoken
                spoken += 1
                return rule.speak(facts, one)

            return replace(rule, speak=speak)

        return tuple(counted(rule) for rule in rules(today))

    monkeypatch.setattr("dlimg.commands.why.rules", counting)
    main(["why", *asked.split()])
    assert 50 < spoken <= most


def pins(value: object) -> Iterator[str]:
    """Every pin in a tree of facts."""
    if isinstance(value, list):
        for one in value:
            yield from pins(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _texts(one) if name == "pins" else pins(one)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)


KNOWN: Final = sorted(
    {pin for path in FACTS.glob("*.json") for pin in pins(json.loads(path.read_text()))}
)
RANGES: Final = [pin for pin in KNOWN if pin[0] in "<>=~!"]


def test_all_ranges_in_the_facts_are_plain() -> None:
    assert len(RANGES) > 30
    assert None not in {admits_plain(pin, "12.4") for pin in RANGES}


@pytest.mark.parametrize(
    "pin", [*RANGES, "==13.2.*", "!=12.*", "~=12.4", "~=12.4.1", "== 12.4", "<13,>=12,!=12.4.1"]
)
def test_plain_pins_are_judged_as_packaging_judges_them(pin: str) -> None:
    numbers = ["2.18", "3.8", "3.8.5", "3.9", "9", "9.1", "9.10.2.21", "10.9999", "11.2.3", "12"]
    numbers += ["12.0", "12.4", "12.4.0", "12.4.1", "12.5", "13.0", "13.1.1.3", "13.2", "13.2.7"]
    for version in numbers:
        assert admits_plain(pin, version) is (version in SpecifierSet(pin)), version


@pytest.mark.parametrize(
    ("pin", "version"), [(">=12.0rc1", "12.1"), ("===12", "12"), (">=12", "12.1b2"), ("~=1", "1")]
)
def test_what_is_not_plain_is_left_to_packaging(pin: str, version: str) -> None:
    assert admits_plain(pin, version) is None
