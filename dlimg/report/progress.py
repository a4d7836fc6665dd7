"""One line that says how far a cell's build is."""

from dlimg.builders.progress import BuildProgress, short_step_name
from dlimg.units import seconds_text


def line(progress: BuildProgress, seconds: float) -> str:
    """`CELL  3/9  RUN ...  12.0 s`, or how it ended."""
    match progress.state:
        case "cached":
            return f"{progress.cell}  present, nothing to build"
        case "done":
            return f"{progress.cell}  built in {seconds_text(progress.seconds or seconds)}"
        case "failed":
            return f"{progress.cell}  failed after {seconds_text(progress.seconds or seconds)}"
        case "waiting":
            return f"{progress.cell}  waiting"
        case "running":
            step = f"{progress.number}/{progress.total}"
            return f"{progress.cell}  {step}  {short_step_name(progress.name)}  {seconds_text(seconds)}"


def is_news(progress: BuildProgress) -> bool:
    """Whether a log should have a line for it: an end, or a step that takes its time."""
    return progress.state != "running" or " RUN" in progress.name or "export" in progress.name


def style(progress: BuildProgress) -> str:
    """The colour of that line on a terminal."""
    return {"failed": "bold red", "done": "green", "cached": "green"}.get(progress.state, "")
