"""The summary of a GitHub job: nothing in it is taken for Markdown, and it is never too long."""

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from dlimg.report.github import LIMIT, github_summary
from dlimg.results import image_exit_code
from tests.support import image_results

MARKDOWN = MarkdownIt("commonmark").enable("table")


def test_the_github_summary_is_the_golden_one() -> None:
    golden = (image_results.GOLDEN / "summary.md").read_text(encoding="utf-8")
    assert github_summary(image_results.LINES) == golden, (
        "run `python -m tests.support.image_results` and review the change"
    )


def test_the_table_has_a_row_for_each_image() -> None:
    html = MARKDOWN.render(github_summary(image_results.LINES))
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    assert len(rows) == 1 + len(image_results.LINES)
    for row, one in zip(rows[1:], image_results.LINES, strict=True):
        cells = re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)
        assert len(cells) == 7
        assert one.name in cells[0]
        assert ("<strong>" in cells[1]) == bool(image_exit_code(one))


def test_output_is_folded_and_stays_text() -> None:
    html = MARKDOWN.render(github_summary(image_results.LINES))
    assert html.count("<details>") == html.count("</details>") == 3
    assert html.count("<pre>") == html.count("</pre>") == 3
    assert "&lt;/pre&gt;&lt;/details&gt; ]]&gt; &lt;b&gt;&amp;amp; | a `tick` *star*\n\nred" in html
    assert "<b>" not in html
    assert "<em>" not in html


@pytest.mark.parametrize(
    "text", ["a|b", "a\\|b", "\\", "*a* _b_ `c`", "<b>&amp;", "[a](b)", "a\nb"]
)
def test_a_text_in_a_line_is_that_text(text: str) -> None:
    verdict = replace(image_results.FLAKY, first_reason=text)
    one = image_results.line(
        image_results.built("1"), image_results.evidence(verdict, vanished=(text,))
    )
    html = MARKDOWN.render(github_summary([one]))
    shown = text.replace("\n", " ").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"the first: {shown}</li>" in html
    assert f"<code>{shown}</code></li>" in html


def test_reasons_are_told_once() -> None:
    text = github_summary(image_results.LINES)
    assert text.count("no GPU here") == 2  # of required checks, and of one that is not


@pytest.mark.parametrize(
    ("images", "length"),
    [(1, 3_000_000), (40, 100_000), pytest.param(2_500, 50_000, marks=pytest.mark.slow)],
)
def test_the_summary_is_never_longer_than_github_takes(images: int, length: int) -> None:
    failed = replace(image_results.FAILED, output="<" * length + "the end", reason="why " * 1000)
    lines = [
        image_results.line(image_results.built(f"1.{number}"), image_results.evidence(failed))
        for number in range(images)
    ]
    text = github_summary(lines)
    assert len(text.encode()) <= LIMIT
    assert "is cut" in text
    if images < 100:
        assert text.count("the end") == images
        assert text.count("</details>") == images
