"""CPU time of rules: many rules over many cells, and `dlimg why` with the start of Python.

`python bench/rules_cost.py` needs nothing but dlimg's own environment. Every figure is the best of
five, in CPU time, so that other processes on the machine do not count.
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
from dlimg.pipeline.facts_files import read_facts  # noqa: E402
from tests.support.large_matrix import many_cells  # noqa: E402

ROUNDS = 5
QUESTIONS = (
    ["torch==2.6.0", "--cuda", "13.0", "--gpu", "T4", "--driver", "550.54.15"],
    ["torch==2.6.0", "--cuda", "12.4", "--gpu", "T4", "--driver", "550.54.15"],
    ["torch==1.13.1", "--gpu", "K80", "--driver", "550"],
    ["tensorflow-1.0"],
    ["pytorch-2.15.0-cuda13.2-py3.13-debian13", "--gpu", "V100"],
)


def time_rules(copies: int, cells: int) -> str:
    facts = read_facts()
    many = [
        CompatRule(id=f"{rule.id}-{number}", reads=rule.reads, check=rule.check)
        for number in range(copies)
        for rule in rules(date(2026, 11, 21))
    ]
    combinations = many_cells(facts, cells)
    best = min(_seconds(RuleEngine(facts, many), combinations) for _ in range(ROUNDS))
    return f"{len(many):5} rules over {len(combinations):6} cells: {best:.2f} s"


def _seconds(engine: RuleEngine, combinations: Sequence[Combination]) -> float:
    begun = time.process_time()
    for combination in combinations:
        engine.reasons(combination)
    return time.process_time() - begun


def time_why(arguments: list[str]) -> str:
    """Return CPU and wall time of a whole process."""
    times = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        argv = [sys.executable, "-m", "dlimg", "why", *arguments]
        subprocess.run(argv, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times.append((cpu, wall))
    cpu, wall = min(times)[0], min(wall for _, wall in times)
    return f"why {' '.join(arguments)}: {cpu:.2f} s CPU, {wall:.2f} s wall"


if __name__ == "__main__":
    print(time_rules(1, 10_000))
    print(time_rules(50, 10_000))
    for arguments in QUESTIONS:
        print(time_why(arguments))
