"""The table and the picture of the measurements of `layers_cost.py`.

`python bench/layers_plot.py DIR/layers_cost.json --svg FILE` prints Markdown, with the goal beside
each ratio, and draws seconds and bytes against the number of images. Needs matplotlib.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

Figures = Sequence[dict[str, Any]]

COLOURS = {"plain": "#b35806", "ours": "#2166ac"}
LABELS = {"plain": "RUN pip install", "ours": "layers"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("--svg", type=Path, help="draw the picture, too")
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text())
    print("\n".join(table(figures)))
    if arguments.svg:
        draw(figures, arguments.svg)


def table(figures: Figures) -> list[str]:
    """Return a Markdown table with a row for each image and step."""
    lines = ["| | image | `RUN pip install` | layers | less by |", "|---|---|--:|--:|--:|"]
    for cell in cells(figures):
        plain = at_registry(figures, "plain", cell)
        for label, ours in (
            ("from wheels on disk to a registry", seconds(figures, "ours", "pushed", cell)),
            (
                "the same, layers in the store",
                seconds(figures, "ours", "pushed from the store", cell),
            ),
        ):
            lines.append(row(label, cell, plain, ours))
        checked = seconds(figures, "both", "only checked", cell)
        lines.append(
            row(
                "until its checks are through, in the engine",
                cell,
                seconds(figures, "plain", "built", cell) + checked,
                seconds(figures, "ours", "checked", cell),
            )
        )
        for step in ("pulled", "started"):
            plain, ours = (seconds(figures, side, step, cell) for side in COLOURS)
            lines.append(row(step, cell, plain, ours))
        plain, ours = (number(figures, side, "pulled", cell, "bytes") / 1e6 for side in COLOURS)
        lines.append(row("to pull", cell, plain, ours, unit="MB"))
    last = cells(figures)[-1]
    plain, ours = (number(figures, side, "pushed", last, "bytes") / 1e6 for side in COLOURS)
    lines.append(row("all of them in a registry", "", plain, ours, unit="MB"))
    again = seconds(figures, "ours", "built again", "all of them")
    peak = max(figure["peak"] for figure in figures)
    lines += [
        "",
        f"Built again with nothing changed: {again:.1f} s. Our memory: {peak / 1e6:.0f} MB.",
    ]
    return lines


def row(label: str, cell: str, plain: float, ours: float, unit: str = "s") -> str:
    shown = ".0f" if unit == "MB" else ".1f"
    both = f"{plain:{shown}} {unit} | {ours:{shown}} {unit}"
    return f"| {label} | {cell} | {both} | {plain / max(ours, 0.01):.1f} |"


def cells(figures: Figures) -> list[str]:
    return [
        figure["cell"]
        for figure in figures
        if (figure["side"], figure["step"]) == ("plain", "built")
    ]


def number(figures: Figures, side: str, step: str, cell: str, name: str) -> float:
    (value,) = [
        figure[name]
        for figure in figures
        if (figure["side"], figure["step"], figure["cell"]) == (side, step, cell)
    ]
    return float(value)


def seconds(figures: Figures, side: str, step: str, cell: str) -> float:
    return number(figures, side, step, cell, "seconds")


def at_registry(figures: Figures, side: str, cell: str) -> float:
    """Return the seconds from wheels on disk until an image is in the registry."""
    steps = {"plain": ("built", "pushed"), "ours": ("pushed",)}[side]
    return sum(seconds(figures, side, step, cell) for step in steps)


def draw(figures: Figures, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "dlimg"  # the same figures, the same file
    names = cells(figures)
    picture, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    curve(
        left,
        names,
        lambda side: list(accumulate(at_registry(figures, side, cell) for cell in names)),
    )
    curve(
        right,
        names,
        lambda side: [number(figures, side, "pushed", cell, "bytes") / 1e9 for cell in names],
    )
    left.set_title("seconds, wheels on disk to registry")
    right.set_title("GB in the registry")
    left.legend(frameon=False)
    picture.tight_layout()
    picture.savefig(path, format="svg", metadata={"Date": None})


def curve(axes: Any, names: Sequence[str], values: Callable[[str], list[float]]) -> None:
    counts = range(len(names) + 1)
    for side, colour in COLOURS.items():
        axes.plot(counts, [0.0, *values(side)], marker="o", color=colour, label=LABELS[side])
    axes.set_xticks(counts)
    axes.set_xlabel("images")
    axes.set_ylim(bottom=0)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)


if __name__ == "__main__":
    main()
