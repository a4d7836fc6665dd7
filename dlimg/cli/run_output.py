"""The output of a run on the terminal while it is followed, and its results at the end."""

from pathlib import Path

from dlimg.cli.printing import write_bytes
from dlimg.engine.client import Engine
from dlimg.pipeline.run_on import bring_back
from dlimg.report.run import detached_text, end_lines
from dlimg.run.code_state import files_and_bytes
from dlimg.run.follow import LogRequest, log_lines
from dlimg.run.launch import MaskedSink
from dlimg.run.lifecycle import status_of
from dlimg.run.model import RunRecord, RunState
from dlimg.run.secrets import values_to_mask


def show_log(record: RunRecord, state: RunState, request: LogRequest, engine: Engine) -> bool:
    """Show lines of a run's output with its secrets masked; return False after Ctrl-C."""
    masked = MaskedSink(write_bytes, values_to_mask(record, state, engine))
    try:
        for line in log_lines(record.container, request, engine):
            masked(line, "out")
    except KeyboardInterrupt:
        engine.context.log(detached_text(record))
        return False
    finally:
        masked.end()
    return True


def log_end(record: RunRecord, engine: Engine) -> RunRecord:
    """Bring back the results of a run and log how it ended; return its complete record."""
    context = engine.context
    bring_back(record, engine, context)
    status = status_of(record, engine, context)
    if status.state == "gone":
        context.log(f"{record.run}: its container is gone")
    else:
        for line in end_lines(status.record, files_and_bytes(Path(status.record.output))):
            context.log(line)
    return status.record
