"""The table and the picture of the measurements of `layers_cost.py`.

`python bench/layers_plot.py DIR/layers_cost.json --svg FILE` prints Markdown, with the goal beside
each ratio, and draws seconds and bytes against the number of images. Needs matplotlib.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
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
    """Return a Markdown table with a row for each image and step: medians, the least, the most."""
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
        built = seconds(figures, "plain", "built", cell)
        checked = seconds(figures, "both", "only checked", cell)
        until_checked = [sum(pair) for pair in zip(built, checked, strict=True)]
        ours = seconds(figures, "ours", "checked", cell)
        lines.append(row("until its checks have passed, in the engine", cell, until_checked, ours))
        lines.append(row("of which the checks, on both sides", cell, checked, checked))
        for step in ("pulled", "started"):
            plain, ours = (seconds(figures, side, step, cell) for side in COLOURS)
            lines.append(row(step, cell, plain, ours))
        plain, ours = (megabytes(figures, side, "pulled", cell) for side in COLOURS)
        lines.append(row("to pull", cell, plain, ours, unit="MB"))
    last = cells(figures)[-1]
    plain, ours = (megabytes(figures, side, "pushed", last) for side in COLOURS)
    lines.append(row("all of them in a registry", "", plain, ours, unit="MB"))
    again = median(seconds(figures, "ours", "built again", "all of them"))
    peak = max(figure["peak"] for figure in figures)
    runs = len({figure["run"] for figure in figures})
    spread = f"Medians of {runs} runs, the least and the most in brackets."
    nothing_new = f"Built again with nothing changed: {again:.1f} s."
    return [*lines, "", f"{spread} {nothing_new} Our memory: {peak / 1e6:.0f} MB."]


def row(
    label: str, cell: str, plain: Sequence[float], ours: Sequence[float], unit: str = "s"
) -> str:
    """Return a row; the ratio is that of the medians."""
    both = " | ".join(_spread(values, unit) for values in (plain, ours))
    return f"| {label} | {cell} | {both} | {median(plain) / max(median(ours), 0.01):.1f} |"


def _spread(values: Sequence[float], unit: str) -> str:
    shown = ".0f" if unit == "MB" else ".1f"
    text = f"{median(values):{shown}} {unit}"
    least, most = f"{min(values):{shown}}", f"{max(values):{shown}}"
    return f"{text} ({least} to {most})" if least != most else text


def cells(figures: Figures) -> list[str]:
    return list(
        dict.fromkeys(
            figure["cell"]
            for figure in figures
            if (figure["side"], figure["step"]) == ("plain", "built")
        )
    )


def numbers(figures: Figures, side: str, step: str, cell: str, name: str) -> list[float]:
    """Return this number of each run."""
    return [
        float(figure[name])
        for figure in figures
        if (figure["side"], figure["step"], figure["cell"]) == (side, step, cell)
    ]


def seconds(figures: Figures, side: str, step: str, cell: str) -> list[float]:
    return numbers(figures, side, step, cell, "seconds")


def megabytes(figures: Figures, side: str, step: str, cell: str) -> list[float]:
    return [number / 1e6 for number in numbers(figures, side, step, cell, "bytes")]


def at_registry(figures: Figures, side: str, cell: str) -> list[float]:
    """Return the seconds from wheels on disk until an image is in the registry, of each run."""
    steps = {"plain": ("built", "pushed"), "ours": ("pushed",)}[side]
    by_step = [seconds(figures, side, step, cell) for step in steps]
    return [sum(parts) for parts in zip(*by_step, strict=True)]


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
        lambda side: list(accumulate(median(at_registry(figures, side, cell)) for cell in names)),
    )
    curve(
        right,
        names,
        lambda side: [median(megabytes(figures, side, "pushed", cell)) / 1e3 for cell in names],
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
