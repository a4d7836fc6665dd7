"""The table of images by kind of GPU and driver branch, as Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from dlimg.compat.pick_table import ABOUT_GPU, BRANCHES, GpuKind, PickTableEntry
from dlimg.model import Cell

_EXAMPLES: Final = 4
_HOSTS: Final = "gpu-host"


def pick_table_text(entries: Iterable[PickTableEntry]) -> str:
    """Return a table for each family, then the reasons where there is no image."""
    reasons: dict[str, int] = {}
    doubts: dict[str, int] = {}
    by_family: dict[str, list[PickTableEntry]] = {}
    for entry in entries:
        by_family.setdefault(entry.family, []).append(entry)
    parts = [_share_table(by_family)]
    for family, own in by_family.items():
        parts.append("\n".join(_family_lines(family, own, reasons, doubts)))
    parts.append("\n".join(_notes(reasons, doubts)))
    return "\n\n".join(parts) + "\n"


def _share_table(by_family: Mapping[str, Sequence[PickTableEntry]]) -> str:
    """Return how many pairs of a GPU and a branch have an image, by family."""
    lines = [
        "| family | GPUs x branches | with a tag | with an unconfirmed one | with none |",
        "|---|--:|--:|--:|--:|",
    ]
    for family, entries in by_family.items():
        pairs = sum(len(entry.kind.gpus) for entry in entries)
        sure = sum(len(entry.kind.gpus) for entry in entries if entry.cell and not entry.doubt)
        doubtful = sum(len(entry.kind.gpus) for entry in entries if entry.cell and entry.doubt)
        none = pairs - sure - doubtful
        lines.append(f"| {family} | {pairs} | {sure} | {doubtful} | {none} |")
    return "\n".join(lines)


def _family_lines(
    family: str,
    entries: Sequence[PickTableEntry],
    reasons: dict[str, int],
    doubts: dict[str, int],
) -> Iterator[str]:
    yield f"### {family}\n"
    yield f"| GPU | {' | '.join(BRANCHES)} |"
    yield f"|---|{'---|' * len(BRANCHES)}"
    rows: dict[GpuKind, list[PickTableEntry]] = {}
    for entry in entries:
        rows.setdefault(entry.kind, []).append(entry)
    for kind, row in rows.items():
        if all(_is_on_other_hosts(entry) for entry in row):
            continue
        cells = (_text(entry, reasons, doubts) for entry in row)
        yield f"| {_kind_text(kind)} | {' | '.join(cells)} |"


def _is_on_other_hosts(entry: PickTableEntry) -> bool:
    against = entry.reason or entry.doubt
    return against is not None and against.rule == _HOSTS


def _text(entry: PickTableEntry, reasons: dict[str, int], doubts: dict[str, int]) -> str:
    if entry.cell is None:
        message = entry.reason.message if entry.reason else "no image"
        return f"- ({reasons.setdefault(message, len(reasons) + 1)})"
    tag = _short_tag(entry.cell)
    if entry.doubt is None:
        return tag
    number = doubts.setdefault(entry.doubt.message, len(doubts) + 1)
    # No image has a part in that reason.
    return f"? ({number})" if entry.doubt.rule in ABOUT_GPU else f"{tag} ? ({number})"


def _short_tag(cell: Cell) -> str:
    """Return `2.7.1-cuda12.6`; with its cuDNN where that is not the leader's."""
    cudnn = cell.stack.cudnn_part if cell.stack else ""
    return f"{cell.version}-{cell.accelerator}{cudnn}"


def _kind_text(kind: GpuKind) -> str:
    """Return `Ada Lovelace (8.9): L4, RTX 4070, ...`: some GPUs of each class."""
    ranks: dict[str, int] = {}
    ranked = []
    for gpu in kind.gpus:
        ranks[gpu.kind] = ranks.get(gpu.kind, 0) + 1
        ranked.append((ranks[gpu.kind], len(gpu.name), gpu.name))
    names = ", ".join(name for _, _, name in sorted(ranked)[:_EXAMPLES])
    more = ", ..." if len(kind.gpus) > _EXAMPLES else ""
    return f"{kind.first.architecture} ({kind.first.capability}): {names}{more}"


def _notes(reasons: Mapping[str, int], doubts: Mapping[str, int]) -> Iterator[str]:
    yield "`-`: no image, and no build on the index that could be one:\n"
    yield from (f"{number}. {reason}" for reason, number in reasons.items())
    yield "\n`?`: an unconfirmed fact is against it, or against any image:\n"
    yield from (f"{number}. {doubt}" for doubt, number in doubts.items())
