"""Oracle: the page itself: its snippets, run as printed, make a figure that is then judged."""

import re
import tomllib
from pathlib import Path

import pytest

from lazyrich.paper import FIGURES, Claim, judge

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-figure.md"


@pytest.mark.slow
def test_the_figure_can_be_reproduced(monkeypatch, unchecked):
    monkeypatch.setitem(FIGURES, "fig20", None)  # takes it out again afterwards
    text = PAGE.read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    page = {"__name__": "page"}
    exec(compile("\n".join(snippets), PAGE.name, "exec"), page)
    [entry] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    claim = Claim(**tomllib.loads(entry)["claim"][0])
    assert judge(claim, page["ratios"]).outcome == "holds"
