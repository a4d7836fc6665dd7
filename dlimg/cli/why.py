"""`dlimg why`: whether a combination, a cell or an old environment works, and what else would."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dlimg.cli.arguments import add_format, refuse_empty
from dlimg.cli.printing import out, print_json
from dlimg.compat.several import other_requirement, split_requirements
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.matrix.select import former_pattern_note
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.why import OPTIONS, WhyQuestion, addition_for, answer_question
from dlimg.pipeline.why_several import answer_requirements, offline_resolver, uv_resolver
from dlimg.report.why import answer_json, answer_text
from dlimg.report.why_several import several_json, several_text

_EXAMPLES = {
    "cuda": "12.4, cu124 or cpu",
    "cudnn": "9 or 9.1.0",
    "python": "3.13",
    "os": "ubuntu24.04",
    "gpu": "T4, 'RTX 4090' or sm_89",
    "driver": "550.54.15, or 550 for its newest",
    "arch": "x86_64 or aarch64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyOptions:
    """The options of `why`; `requirements` are several, or none if one thing was asked."""

    question: WhyQuestion
    requirements: tuple[str, ...]
    offline: bool
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "subject",
        nargs="+",
        metavar="SUBJECT",
        help="a requirement (torch==2.6.0) or several, a cell or tag of the matrix, or an "
        "environment of an old tutorial (tensorflow-1.0)",
    )
    for name, example in _EXAMPLES.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=f"e.g. {example}")
    parser.add_argument(
        "--offline",
        action="store_true",
        help="do not ask the package index about several requirements",
    )
    add_format(parser)


def options_of(arguments: Namespace) -> WhyOptions:
    refuse_empty(arguments, OPTIONS)
    text = " ".join(arguments.subject).strip()
    if not text:
        raise BadInput("nothing was asked", hint="e.g. dlimg why torch==2.6.0 --cuda 13.0")
    values = {name: getattr(arguments, name) or "" for name in OPTIONS}
    question = WhyQuestion(text=text, matrix=arguments.matrix, **values)
    return WhyOptions(
        question=question,
        requirements=split_requirements(arguments.subject),
        offline=arguments.offline,
        format=arguments.format,
    )


def run(options: WhyOptions, context: Context) -> int:
    """Return 0 if it works, else 1."""
    requirements = options.requirements or other_requirement(read_facts(), options.question.text)
    if requirements:
        return _run_several(options, requirements, context)
    today = datetime.now(tz=UTC).date()
    name, answer = answer_question(options.question, today, context.log)
    addition = addition_for(options.question, answer, today) if not name else None
    command = addition.command if addition else ""
    note = former_pattern_note(options.question.text)
    if note:
        context.log(note)
    if options.format == "json":
        print_json(answer_json(answer, command))
    else:
        out(answer_text(answer, name))
        out(f"\nTo have it in the matrix:\n  {command}\n" if command else "")
    return 0 if answer.valid else 1


def _run_several(options: WhyOptions, requirements: Sequence[str], context: Context) -> int:
    today = datetime.now(tz=UTC).date()
    resolver = offline_resolver() if options.offline else uv_resolver(context)
    answer = answer_requirements(options.question, requirements, today, resolver)
    if options.format == "json":
        print_json(several_json(answer))
    else:
        out(several_text(answer))
    return 0 if answer.valid else 1
