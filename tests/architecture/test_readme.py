"""Oracle: the recorded results, the Makefile, and Python itself running the example."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def generator(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("generate")


def test_generated_blocks_are_what_the_results_say(generator):
    pages = [path.read_text(encoding="utf-8") for path in generator.PAGES]
    assert [generator.filled(page) for page in pages] == pages
    for name in generator.BLOCKS:
        n_pages = 2 if name == "cost" else 1  # both front pages say what it costs to try
        assert sum(f"<!-- generated: {name} -->\n" in page for page in pages) == n_pages
        assert f"<!-- generated: {name} -->\n<!-- end -->" not in "".join(pages)


def test_figure_pages_are_what_the_results_say(generator):
    folder = ROOT / "docs" / "figures"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert written == generator.claims_pages.pages(), "run `make readme`"


def test_the_page_on_methods_and_what_the_advice_cites_are_what_the_results_say(generator):
    page = generator.race_page
    assert page.PAGE.read_text(encoding="utf-8") == page.page()
    assert page.MEASURED.read_text(encoding="utf-8") == page.measured()


def test_the_page_on_calibration_is_what_the_results_say(generator):
    path = ROOT / "docs" / "how-to" / "diagnosis-calibration.md"
    assert path.read_text(encoding="utf-8") == generator.calibration_page.page()


def test_the_two_commands_exist_and_ci_calls_them():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command}" in README
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
        assert re.search(rf"^make {command}$", ci, re.MULTILINE)


def test_the_example_runs(tmp_path):
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    [shown] = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    assert digits_aside(run.stdout).startswith(digits_aside(shown))


def digits_aside(text):
    """Machines differ in them, and so in where lines break."""
    return re.sub(r"[\d\s]+", "", text)


def test_the_front_picture_is_of_the_records(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    front = importlib.import_module("front_picture")
    assert front.drawn_from() == front.digest(), "run `python docs/front_picture.py`"
    for page in (README, (ROOT / "docs" / "index.md").read_text(encoding="utf-8")):
        first, *others = re.findall(r"!\[.*?\]\((.*?)\)", page)
        assert first.endswith(f"images/{front.PICTURE.name}")
        assert not others


def test_one_version_everywhere():
    version = re.search(r'^version = "(.*)"', _text("pyproject.toml"), re.MULTILINE)[1]
    assert f"\nversion: {version}\n" in _text("CITATION.cff")
    date = re.search(r"\ndate-released: (\S+)", _text("CITATION.cff"))[1]
    first = re.search(r"^## (.*)$", _text("CHANGELOG.md"), re.MULTILINE)[1]
    assert first == f"{version} ({date})"
    assert f"\n## {version}, " in _text("docs/release-notes.md")


def _text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target
