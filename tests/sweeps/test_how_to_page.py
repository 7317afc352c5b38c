"""Oracle: the page itself; every snippet runs as printed and its asserts hold."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sweeps.md"


@pytest.mark.slow
def test_snippets_run_as_printed():
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 2
    exec(compile("\n".join(snippets), PAGE.name, "exec"), {"__name__": "page"})
