"""`why`: whether a combination, a cell or an old environment works, and what is nearest to it."""

import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from dlimg.choose import asked
from dlimg.choose.facts import Facts
from dlimg.choose.judge import Judge
from dlimg.choose.legacy import legacy_answer, legacy_named, legacy_of
from dlimg.choose.question import Question
from dlimg.choose.rules import rules
from dlimg.choose.why import Answer, answer
from dlimg.commands.given import refuse_empty, refuse_options
from dlimg.commands.printing import out, print_json
from dlimg.commands.reading import read_facts
from dlimg.errors import BadInput
from dlimg.report.why import answer_json, answer_text

# What every question needs; a framework's own facts are read when it is known which one.
_SUBJECTS: Final = ("cuda", "cudnn", "distributions", "drivers", "gpus", "pythons")
_ASKED: Final = ("cuda", "cudnn", "python", "os", "gpu", "driver", "arch")


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 where it works, 1 where it does not; nothing is changed, and no engine is asked."""
    del environment
    refuse_empty(arguments, _ASKED)
    text = " ".join(arguments.what).strip()
    if not text:
        raise BadInput("nothing was asked", hint="e.g. dlimg why torch==2.6.0 --cuda 13.0")
    name, found = _answered(text, arguments)
    if arguments.format == "json":
        print_json(answer_json(found))
    else:
        out(answer_text(found, name))
    return 0 if found.valid else 1


def _answered(text: str, arguments: Namespace) -> tuple[str, Answer]:
    """What it is called, where it has a name, and the answer."""
    today = datetime.now(tz=UTC).date()
    if _is_requirement(text):
        return _requirement(text, arguments, today)
    legacy = _legacy(text, arguments, today)
    if legacy is not None:
        return text, legacy
    if Path(arguments.matrix).exists():
        from dlimg.commands.why_cell import cell_answer  # noqa: PLC0415 - a matrix takes its time

        return cell_answer(text, arguments, today)
    asked.requirement_named(text)
    hint = "run in the project's folder, or write e.g. torch==2.6.0"
    raise BadInput(f"{text!r} is no cell that is known here", hint=hint)


def _is_requirement(text: str) -> bool:
    """Whether it is written as one: `torch==2.6.0`, `torch 2.6`; not `tensorflow-1.0`."""
    if re.search(r"[=<>~!]=", text):
        return True
    name = re.match(r"[a-z]+(?:-(?:gpu|cpu))?", text.lower())
    if not name or name[0] not in asked.FRAMEWORKS:
        return False
    rest = text[name.end() :]
    return bool(re.fullmatch(r"(?:\[[^\]]*\])?\s*(?:[=<>~!@,]+.*|v?[0-9][^-:/ ]*)?", rest))


def facts_for(framework: str, *others: str) -> Facts:
    return read_facts(*_SUBJECTS, framework, *others)


def _requirement(text: str, arguments: Namespace, today: date) -> tuple[str, Answer]:
    named = asked.requirement_named(text)
    facts = facts_for(named.framework)
    judge = Judge(facts, rules(today))
    try:
        question = asked_in(facts, text, arguments)
    except BadInput as error:
        legacy = legacy_of(read_facts("legacy"), named.framework, named.version)
        if legacy is None or named.version in facts.releases[named.framework]:
            raise error from None
        why = f"of {named.framework} {named.version} only the environment {legacy.name} is known"
        refuse_options(arguments, _ASKED, why)
        return legacy.name, legacy_answer(judge, legacy, today)
    return "", answer(judge, question, today)


def asked_in(facts: Facts, text: str, arguments: Namespace) -> Question:
    """The question in a requirement and the options. Raises BadInput with the nearest spelling."""
    named = asked.requirement_named(text)
    question = Question(
        framework=named.framework,
        package=named.package,
        version=asked.version_named(facts, named.framework, named.version),
        cuda=_cuda(facts, named.cuda, arguments.cuda or ""),
    )
    return _with_options(facts, question, arguments)


def _cuda(facts: Facts, said: str, asked_for: str) -> str:
    """The CUDA of the option or of the requirement itself; both must be the same."""
    found = [asked.cuda_named(facts, text) for text in (asked_for, said) if text]
    if len(found) == 2 and not found[0].startswith(found[1]):
        message = f"the requirement says CUDA {found[1]}, --cuda says {found[0]}"
        raise BadInput(message, hint="leave one of them out")
    return found[0] if found else ""


def _with_options(facts: Facts, question: Question, arguments: Namespace) -> Question:
    """The question with what the options say. Raises BadInput where they contradict each other."""
    given = replace(
        question,
        cudnn=asked.cudnn_named(arguments.cudnn) if arguments.cudnn else "",
        python=asked.python_named(facts, arguments.python) if arguments.python else "",
        system=asked.system_named(facts, arguments.os) if arguments.os else None,
        gpu=facts.gpu(arguments.gpu) if arguments.gpu else None,
        driver=asked.driver_named(arguments.driver) if arguments.driver else "",
        machine=asked.machine_named(arguments.arch) if arguments.arch else "",
    )
    if given.cuda == asked.CPU and given.on_gpu:
        message = "a build without CUDA has no use for a GPU, a driver or cuDNN"
        raise BadInput(message, hint="leave out `--cuda cpu`, or the others")
    return given


def _legacy(text: str, arguments: Namespace, today: date) -> Answer | None:
    old = read_facts("legacy")
    legacy = legacy_named(old, text)
    if legacy is None:
        return None
    refuse_options(arguments, _ASKED, "an old environment says all of it by itself")
    found = read_facts()
    return legacy_answer(Judge(found, rules(today)), legacy, today)
