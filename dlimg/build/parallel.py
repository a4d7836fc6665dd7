"""Tasks side by side, all of which have ended when this returns, however that comes."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from dlimg.engine.process import end_children

Name = TypeVar("Name")
Result = TypeVar("Result")


def run_all(
    tasks: Mapping[Name, Callable[[], Result]], jobs: int, stop: Callable[[], None] = lambda: None
) -> dict[Name, Result]:
    """What each task came to, by name; `jobs` of them at once.

    Where one raises, those that wait are never started, and children of this process are ended;
    `stop` ends what children do not do.
    """
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = {name: pool.submit(task) for name, task in tasks.items()}
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            # Again and again, because a task may have been about to start its process.
            while wait(futures.values(), timeout=0.1).not_done:
                end_children()
                stop()
            raise
