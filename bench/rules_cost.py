"""Seconds that rules take: many rules over many cells, and `dlimg why` with the start of Python.

`python bench/rules_cost.py` needs nothing but dlimg's own environment. Every figure is the best of
five, in CPU time: what other processes do on the machine is not what is measured.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from dlimg.compat.combination import Combination  # noqa: E402
from dlimg.compat.rule_engine import (  # noqa: E402
    CompatRule,
    RuleEngine,
    rules,
)
from dlimg.pipeline.facts_files import read_facts
from tests.support.large_matrix import many_cells  # noqa: E402

ROUNDS = 5
ASKS = (
    ["torch==2.6.0", "--cuda", "13.0", "--gpu", "T4", "--driver", "550.54.15"],
    ["torch==2.6.0", "--cuda", "12.4", "--gpu", "T4", "--driver", "550.54.15"],
    ["torch==1.13.1", "--gpu", "K80", "--driver", "550"],
    ["tensorflow-1.0"],
    ["pytorch-2.15.0-cuda13.2-py3.13-debian13", "--gpu", "V100"],
)


def judged(copies: int, cells: int) -> str:
    facts = read_facts()
    many = [
        CompatRule(id=f"{rule.id}-{number}", reads=rule.reads, check=rule.check)
        for number in range(copies)
        for rule in rules(date(2026, 11, 21))
    ]
    asked = many_cells(facts, cells)
    best = min(_seconds(RuleEngine(facts, many), asked) for _ in range(ROUNDS))
    return f"{len(many):5} rules over {len(asked):6} cells: {best:.2f} s"


def _seconds(judge: RuleEngine, asked: Sequence[Combination]) -> float:
    begun = time.process_time()
    for one in asked:
        judge.reasons(one)
    return time.process_time() - begun


def whole(words: list[str]) -> str:
    """CPU and wall time of a whole process."""
    found = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        argv = [sys.executable, "-m", "dlimg", "why", *words]
        subprocess.run(argv, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((cpu, wall))
    cpu, wall = min(found)[0], min(each[1] for each in found)
    return f"why {' '.join(words)}: {cpu:.2f} s CPU, {wall:.2f} s wall"


if __name__ == "__main__":
    print(judged(1, 10_000))
    print(judged(50, 10_000))
    for words in ASKS:
        print(whole(words))
