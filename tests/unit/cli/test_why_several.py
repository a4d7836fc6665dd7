"""`dlimg why` about several requirements: facts alone, and with a stand-in for uv."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.compat.several import other_requirement, split_requirements
from dlimg.compat.several_answer import SeveralAnswer
from dlimg.errors import BadInput, NetworkFailure
from dlimg.host.process import ProcessResult
from dlimg.lock.solve import UvSolver
from dlimg.pipeline.why import WhyQuestion
from dlimg.pipeline.why_several import Resolver, answer_requirements, offline_resolver
from dlimg.report.why_several import several_json, several_text
from tests.support.lock_fakes import UNREACHABLE, pylock
from tests.support.why_tables import TODAY, facts

# Requirements, options, and the words of the conflict or rule; empty if they work.
FACTS_ALONE: list[tuple[str, dict[str, str], str]] = [
    ("torch==2.14.1 numpy", {"gpu": "L20"}, ""),
    ("torch==2.14.1 'jax[cuda13]==0.12.0.1'", {"python": "3.12", "gpu": "L20"}, ""),
    ("torch==2.8.0 torchvision==0.23.0", {}, ""),
    ("torch==2.8.0 torchvision==0.22.0", {}, "torchvision 0.23.0 is for it"),
    ("pytorch==2.6 torchaudio==2.5.0", {}, "torchaudio==2.5.0 is for another torch"),
    ("torch==2.6.0 'tensorflow[and-cuda]==2.18.0'", {}, "needs nvidia-cublas-cu12==12.4.5.8"),
    ("torch==2.6.0 numpy<2", {"gpu": "RTX 5090"}, "gpu-code"),
    ("torch==2.11.0 torchvision", {"gpu": "V100S"}, "gpu-cuda"),
    ("torch==2.8.0 torchvision==0.23.0", {"gpu": "GH200"}, "gpu-unused"),
    ("jax==0.12.0.1 torch==2.14.1", {"gpu": "T4"}, "gpu-unused"),
    ("torch==2.0.0 'jax[cuda13]==0.12.0.1'", {}, "python-wheel"),
    ("torch==2.14.1 'jax[cuda13]==0.12.0.1'", {"python": "3.10"}, "python-wheel"),
    ("torch==2.14.1 'jax[cuda13]==0.12.0.1'", {"driver": "550"}, "driver-cuda"),
    ("'tensorflow[and-cuda]==2.15.0' numpy", {"python": "3.11"}, "pinned-wheels"),
    ("tensorflow==2.15.0 numpy", {"python": "3.11"}, ""),
    ("torch==2.9.0 numpy", {"python": "3.13t"}, "python-source"),
    ("torch==2.6.0+cu126 torchvision==0.21.0", {"gpu": "V100"}, ""),
    ("torch==2.2.2 'numpy>=2'", {"python": "3.11"}, "numpy-release"),
    ("torch==2.2.2 numpy==2.1.0", {"python": "3.11"}, "numpy-release"),
    ("tensorflow==2.14.0 'numpy>=2,<2.3'", {"python": "3.11"}, "numpy-release"),
    ("torch==2.2.2 'numpy<2'", {"python": "3.11"}, ""),
    ("torch==2.2.2 'numpy>=1.26'", {"python": "3.11"}, ""),
    ("torch==2.3.0 'numpy>=2'", {"python": "3.11"}, ""),
    ("torch==2.6.0+cpu numpy", {"gpu": "T4"}, "gpu-unused"),
]


def ask(texts: str, options: Mapping[str, str], resolver: Resolver | None = None) -> SeveralAnswer:
    arguments = tuple(shlex.split(texts))
    question = WhyQuestion(text=" ".join(arguments), **options)
    return answer_requirements(question, arguments, TODAY, resolver or offline_resolver())


def spoken(answer: SeveralAnswer) -> str:
    rules = [reason.rule for each in answer.verdict.answers for reason in each.answer.reasons]
    return " ".join([*(conflict.message for conflict in answer.conflicts), *rules])


@pytest.mark.parametrize(("texts", "options", "text"), FACTS_ALONE)
def test_the_facts_alone(texts: str, options: dict[str, str], text: str) -> None:
    answer = ask(texts, options)
    assert answer.valid is (text == "")
    assert text in spoken(answer)
    assert answer.resolved.outcome == "not asked"
    assert "the facts alone" in several_text(answer)


@pytest.mark.parametrize(("texts", "options", "text"), [row for row in FACTS_ALONE if row[2]])
def test_what_is_offered_instead_works(texts: str, options: dict[str, str], text: str) -> None:
    del text
    answer = ask(texts, options)
    assert answer.nearest or "driver" in options, "something near it works"
    for suggestion in answer.nearest:
        python = {"python": suggestion.python} if options.get("python") else {}
        again = ask(shlex.join(suggestion.requirements), {**options, **python})
        assert again.valid, (suggestion, spoken(again))
        assert suggestion.changes


@pytest.mark.parametrize(
    ("subjects", "requirements"),
    [
        (["torch==2.6.0", "numpy<2"], ("torch==2.6.0", "numpy<2")),
        (["torch==2.6.0 numpy"], ("torch==2.6.0", "numpy")),
        (["jax[cuda13]", "torch"], ("jax[cuda13]", "torch")),
        (["torch", "2.6"], ()),
        (["torch == 2.6"], ()),
        (["torch", "==", "2.6"], ()),
        (["torch", "torchvision"], ()),
        (["torch==2.6.0"], ()),
        (["Colab", "2026.01"], ()),
        (["torch 2.6 cuda 12.4"], ()),
        (["torch==2.6.0", "numpy >= 1.26, < 2"], ("torch==2.6.0", "numpy>=1.26,<2")),
        (["jax [cuda12, k8s] == 0.4.38 numpy"], ("jax[cuda12,k8s]==0.4.38", "numpy")),
    ],
)
def test_words_that_are_several_requirements(
    subjects: list[str], requirements: tuple[str, ...]
) -> None:
    assert split_requirements(subjects) == requirements


VISION: Mapping[str, str] = {"0.28.0": "2.13.0", "0.29.0": "2.14.0", "0.29.1": "2.14.1"}


class VisionUv:
    """Stands for uv with an index that has torch and torchvision alone."""

    def __init__(self, *, says: str = "") -> None:
        self.says = says
        self.calls: list[tuple[str, ...]] = []
        self.platforms: list[str] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float | None = None,
    ) -> ProcessResult:
        del env, cwd, timeout
        self.calls.append(tuple((stdin or "").split()))
        self.platforms.append(argv[argv.index("--python-platform") + 1])
        if self.says:
            return ProcessResult(argv=tuple(argv), returncode=2, stdout="", stderr=self.says)
        fitting = [pair for pair in VISION.items() if _fits(pair, self.calls[-1])]
        if not fitting:
            report = (
                "error: No solution found when resolving dependencies\n  cause: Because "
                "torchvision==0.28.0 depends on torch==2.13.0 and you require torch==2.14.1"
            )
            return ProcessResult(argv=tuple(argv), returncode=1, stdout="", stderr=report)
        vision, torch = fitting[0] if "lowest-direct" in argv else fitting[-1]
        output = Path(argv[argv.index("--output-file") + 1])
        output.write_text(pylock({"torch": torch, "torchvision": vision}))
        return ProcessResult(argv=tuple(argv), returncode=0, stdout="", stderr="")

    def resolver(self) -> Resolver:
        solver = UvSolver(
            uv="uv",
            interpreter="python",
            environment={},
            folders=(),
            run=self,
            stop=lambda: None,
        )
        return Resolver(solver, lambda _: None)


def _fits(pair: tuple[str, str], requirements: tuple[str, ...]) -> bool:
    versions = dict(zip(("torchvision", "torch"), pair, strict=True))
    for text in requirements:
        name = "torchvision" if text.startswith("torchvision") else "torch"
        operator, bound = text[len(name) :][:1], text[len(name) :].lstrip("<>=")
        fits = {"=": versions[name] == bound, "<": versions[name] < bound}
        if operator and not fits.get(operator, versions[name] > bound):
            return False
    return True


def test_the_index_names_the_conflict_and_what_works_is_resolved_again() -> None:
    fake = VisionUv()
    answer = ask("torch==2.14.1 torchvision==0.28.0", {"gpu": "L20"}, fake.resolver())
    assert (answer.valid, answer.fails_at) == (False, "install")
    (conflict,) = answer.conflicts
    assert conflict.message == (
        "torchvision==0.28.0 needs torch==2.13.0, and torch==2.14.1 is asked for"
    )
    assert conflict.package == "torch"
    first, second = answer.nearest
    assert first.requirements == ("torch==2.14.1", "torchvision==0.29.1")
    assert second.requirements == ("torch==2.13.0", "torchvision==0.28.0")
    assert {first.resolution, second.resolution} == {"resolved"}
    assert {first.requirements, second.requirements} <= set(fake.calls)


@pytest.mark.parametrize(
    ("options", "platform"),
    [
        ({}, "x86_64-manylinux_2_40"),
        ({"os": "debian12"}, "x86_64-manylinux_2_36"),
        ({"os": "debian11", "python": "3.12"}, "x86_64-manylinux_2_31"),
        ({"os": "centos7", "python": "3.12"}, "x86_64-manylinux_2_17"),
        ({"gpu": "GH200"}, "aarch64-manylinux_2_40"),
    ],
)
def test_wheels_are_those_that_run_on_the_operating_system(
    options: dict[str, str], platform: str
) -> None:
    fake = VisionUv()
    ask("torch==2.14.1 torchvision==0.29.1", options, fake.resolver())
    assert fake.platforms[:1] == [platform]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("vllm==0.16.0", True),
        ("numpy<2", True),
        ("torchvision==0.28.0", True),
        ("torch==2.6.0", False),
        ("pytorch>=2.6", False),
        ("tf==2.15", False),
        ("torhc==2.6", False),
        ("tensorfow==2.15", False),
        ("vllm", False),
        ("jax-0.12.0.1-cpu-py3.13-debian13", False),
    ],
)
def test_one_package_without_facts_is_asked_of_the_index(text: str, *, asked: bool) -> None:
    assert other_requirement(facts(), text) == ((text,) if asked else ())


def test_a_package_without_facts_is_resolved() -> None:
    answer = ask("torchvision==0.29.1", {}, VisionUv().resolver())
    assert answer.valid
    assert [each.requirement.text for each in answer.verdict.answers] == ["torch==2.14.1"]


@pytest.mark.parametrize("texts", ["numpy<2", "vllm==0.16.0 numpy", "'torch>=2.4,<2.6' numpy"])
def test_nothing_is_answered_without_facts_and_index(texts: str) -> None:
    with pytest.raises(BadInput, match="and the package index was not asked"):
        ask(texts, {})
    with pytest.raises(NetworkFailure, match="and the package index did not answer"):
        ask(texts, {}, VisionUv(says=UNREACHABLE).resolver())


def test_what_the_index_resolves_outranks_the_facts() -> None:
    answer = ask("torch==2.14.1 torchvision==0.29.1", {}, VisionUv().resolver())
    assert answer.valid
    assert answer.resolved.packages == {"torch": "2.14.1", "torchvision": "0.29.1"}


def test_the_framework_that_a_package_brings_is_judged() -> None:
    answer = ask("torchvision==0.29.1 torch", {"gpu": "V100"}, VisionUv().resolver())
    assert answer.resolved.outcome == "resolved"
    assert not answer.valid
    assert "gpu-cuda" in spoken(answer)


def test_an_index_that_does_not_answer_leaves_the_facts() -> None:
    fake = VisionUv(says=UNREACHABLE)
    answer = ask("torch==2.14.1 torchvision==0.28.0", {}, fake.resolver())
    assert not answer.valid
    assert answer.resolved.outcome == "no answer"
    assert len(fake.calls) == 1, "it is asked once"
    assert "did not answer (the package index cannot be used" in several_text(answer)
    assert several_json(answer)["resolution"] == "no-answer"


def test_the_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["why", "torch==2.8.0", "torchvision==0.22.0", "--offline", "--format", "json"]
    assert main(argv) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert (document["valid"], document["fails_at"]) == (False, "install")
    assert document["requirements"] == ["torch==2.8.0", "torchvision==0.22.0"]
    (conflict,) = document["conflicts"]
    assert conflict["requirements"] == ["torchvision==0.22.0", "torch==2.8.0"]
    assert conflict["package"] == "torch"
    assert document["nearest"][0]["changes"] == ["torchvision==0.22.0 -> torchvision==0.23.0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torch==2.6.0", "torch==2.7.0"], "torch is named twice"),
        (["torch==2.6.7", "numpy<2"], "no facts about torch 2.6.7"),
        (["torch==2.6.0", "numpy<2", "--gpu", "MI300X"], "MI300X is an AMD GPU"),
        (["torch==2.6.0", "numpy==1==2"], "'numpy==1==2' is no requirement"),
        (['torch==2.6.0; python_version<"3.10"'], "has a marker, which is not read"),
        (["numpy<2", 'torch==2.6.0; python_version<"3.10"'], "has a marker, which is not read"),
        (["torch @ https://example.com/torch.whl"], "names an address, which is not asked"),
        (["jax[cuda12,cuda13]==0.12.0.1"], "asks for cuda12 and cuda13 at once"),
        (["jax[cuda12,cuda13]==0.12.0.1", "numpy"], "asks for cuda12 and cuda13 at once"),
    ],
)
def test_questions_that_cannot_be_read(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", *arguments, "--offline"]) == 2
    assert message in capsys.readouterr().err
