#!/usr/local/lib/dlimg/python -BIS
"""dlimg-check [--json] [NAME...]: runs the image's few checks and says how each ended.

Exit code 0: all passed; 1: one failed; 3: none failed, and one could not run, such as without a
GPU. The full set of checks runs from outside: `dlimg test`.
"""

import json
import os
import subprocess
import sys
import time

CHECKS = "/usr/local/lib/dlimg/checks"
PYTHON = "/usr/local/bin/python3"
SECONDS = 300
UNABLE = 77
PASSED = "passed"
FAILED = "failed"
SKIPPED = "not-run"
OPTIONS = ("--json",)


def run(path: str) -> dict[str, object]:
    """Run a check; return its name, verdict, last words and seconds."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [PYTHON, path],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        verdict, words = FAILED, f"it takes more than {SECONDS} s"
    else:
        verdict = {0: PASSED, UNABLE: SKIPPED}.get(done.returncode, FAILED)
        words = last(done.stderr if verdict == FAILED else done.stdout)
        if verdict == FAILED and done.returncode < 0:
            words = f"signal {-done.returncode}: {words}"
    name = path.rpartition("/")[2].removesuffix(".py")
    seconds = round(time.monotonic() - began, 1)
    return {"check": name, "verdict": verdict, "words": words, "seconds": seconds}


def last(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]


def wrong_usage(arguments: list[str], names: list[str]) -> str:
    """Return what is wrong with the arguments, or an empty text."""
    for argument in arguments:
        if argument.startswith("-") and argument not in OPTIONS:
            return f"{argument} is no option; there is --json"
        if not argument.startswith("-") and argument not in names:
            return f"no check is called {argument}; there are: {', '.join(names)}"
    return ""


def main() -> int:
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        return 0
    names = sorted(name.removesuffix(".py") for name in os.listdir(CHECKS))
    fault = wrong_usage(sys.argv[1:], names)
    if fault:
        print(f"dlimg-check: {fault}", file=sys.stderr)
        return 2
    chosen = [name for name in names if name in sys.argv[1:]]
    rows = []
    for name in chosen or names:
        row = run(f"{CHECKS}/{name}.py")
        rows.append(row)
        if "--json" not in sys.argv:
            text = f"{row['check']:<12} {row['verdict']:<8} {row['seconds']:>6} s  {row['words']}"
            print(text, flush=True)
    verdicts = {row["verdict"] for row in rows}
    code = 1 if FAILED in verdicts else 0 if verdicts == {PASSED} else 3
    if "--json" in sys.argv:
        print(json.dumps({"schema": 1, "checks": rows, "exit_code": code}, indent=2))
    return code


if __name__ == "__main__":
    sys.exit(main())
