"""Edits of a matrix as text: the difference, and sentences about what it changes."""

from collections.abc import Iterator
from difflib import unified_diff

from dlimg.pipeline.matrix_edit import MatrixEdit
from dlimg.report.plain import clean


def edit_diff(edit: MatrixEdit) -> str:
    """Return the difference between the two texts of a matrix; empty if they are equal."""
    lines = unified_diff(
        edit.before.splitlines(), edit.after.splitlines(), str(edit.path), str(edit.path), "", "", 1
    )
    return "".join(f"{clean(line.rstrip())}\n" for line in lines)


def edit_sentences(edit: MatrixEdit) -> Iterator[str]:
    """Yield what an edit adds, removes, moves, and what drops with its reason."""
    names = ", ".join(edit.groups)
    groups = f" (in the {'group' if len(edit.groups) == 1 else 'groups'} {names})" if names else ""
    for name in edit.new:
        yield f"adds {name}{groups}"
    for name in edit.removed:
        yield f"removes {name}"
    for reason, count in edit.dropped.items():
        yield f"drops {count} {'combination' if count == 1 else 'combinations'}: {reason}"
    if edit.moved:
        is_one = len(edit.moved) == 1
        cells = f"{edit.moved[0]} follows" if is_one else f"{len(edit.moved)} cells follow"
        keeps = "`leaders:` in the family keeps the old one"
        yield f"{cells} another leader of the stack now, so the locks change; {keeps}"
    for warning in edit.warnings:
        yield f"note: {warning}"
