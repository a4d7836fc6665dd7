"""The line that shows how far a build is."""

from dlimg.builders.progress import BuildProgress, short_step_name
from dlimg.units import seconds_text


def line(progress: BuildProgress, seconds: float) -> str:
    """Return `CELL  3/9  RUN ...  12.0 s`, or how the build ended."""
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
            step = f"{progress.number}/{progress.total}  {short_step_name(progress.name)}"
            return f"{progress.cell}  {step}  {seconds_text(seconds)}"


def is_news(progress: BuildProgress) -> bool:
    """Return whether a log has a line for it: an end, or a step that takes time."""
    return progress.state != "running" or " RUN" in progress.name or "export" in progress.name


def style(progress: BuildProgress) -> str:
    """Return the colour of the line on a terminal."""
    return {"failed": "bold red", "done": "green", "cached": "green"}.get(progress.state, "")
