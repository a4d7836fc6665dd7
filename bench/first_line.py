"""Seconds to the first line of output: `dlimg run` against `docker run`, with the image there.

    python bench/first_line.py IMAGE [TIMES]

Run it in a folder with a script, on a machine that does nothing else.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from dlimg.context import Context
from dlimg.run.lifecycle import running_engine

LINE = b"first\n"


def seconds(argv: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return the seconds until the command has written its first line."""
    began = time.monotonic()
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != LINE:
            raise SystemExit(f"another line came: {argv}")
        return time.monotonic() - began


def main() -> None:
    image, times = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 11
    engine = running_engine(Context.of(os.environ, print))
    dlimg = shutil.which("dlimg") or "dlimg"
    code = f"{os.getcwd()}:/code"  # noqa: PTH109
    docker = [str(engine.docker), "run", "--rm", "--init", "-v", code, image, "echo", "first"]
    cases = {
        "docker run": docker,
        "dlimg run --env IMAGE": [dlimg, "run", "--env", image, "--", "echo", "first"],
        "dlimg run": [dlimg, "run", "--", "echo", "first"],
    }
    measured: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(times):
        for name, argv in cases.items():
            measured[name].append(seconds(argv, engine.environment))
    for name, values in measured.items():
        print(f"{name:24} median {statistics.median(values):.2f} s, least {min(values):.2f} s")


if __name__ == "__main__":
    main()
