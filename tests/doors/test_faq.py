"""Oracle: the page itself; snippets run as printed, every answer is short and shows where."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "faq.md").read_text(encoding="utf-8")
ANSWERS = dict(re.findall(r"\n### (.*?)\n(.*?)(?=\n##|\Z)", PAGE, re.DOTALL))


def test_snippets_run_as_printed(require_extra, unchecked, monkeypatch, tmp_path):
    require_extra("torch")
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(snippets) > 5
    exec(compile("\n".join(snippets), "faq.md", "exec"), {"__name__": "faq"})


def test_there_are_enough():
    assert len(ANSWERS) >= 12


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_short_and_links_to_what_shows_it(question):
    text = re.sub(r"```.*?```", "", ANSWERS[question], flags=re.DOTALL)
    assert re.search(r"\]\((?!https?:)[^)]+\.(md|html)", text), "no page, function or measurement"
    text = re.sub(r"\*\(.*?\)\*", "", text, flags=re.DOTALL)  # where it was asked
    sentences = re.findall(r"[.?](?=\s+[A-Z`\[(]|\s*$)", text.strip())
    assert 2 <= len(sentences) <= 5, len(sentences)
