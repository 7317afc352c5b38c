"""Oracle: the pages themselves; every snippet runs as printed and its asserts hold."""

import re
import shlex
from pathlib import Path

import pytest

from lazyrich.cli import app

PAGES = sorted((Path(__file__).parents[2] / "docs" / "tutorial").glob("[0-9]*.md"))


def test_there_are_three():
    assert [page.name[0] for page in PAGES] == ["1", "2", "3"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_snippets_run_as_printed(page, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line)
            assert program == "lazyrich"
            app(arguments, result_action="return_value")
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(snippets) > 2
    exec(compile("\n".join(snippets), page.name, "exec"), {"__name__": page.stem})
