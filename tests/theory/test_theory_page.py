"""Oracle: the theory page against the room's public names and the tests that it cites."""

import re
from pathlib import Path

import lazyrich.theory

ROOT = Path(__file__).parents[2]
CODE = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "theory.md").read_text()))


def test_every_public_name_has_its_place_on_the_page():
    public = {
        name
        for name, thing in vars(lazyrich.theory).items()
        if getattr(thing, "__module__", "").startswith("lazyrich.theory")
    }
    assert len(public) > 30
    named = {word for code in CODE for word in re.findall(r"\w+", code)}
    assert public - named == set()


def test_every_cited_test_exists():
    written = {
        name
        for path in (ROOT / "tests" / "theory").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    cited = {code for code in CODE if code.startswith("test_")}
    assert len(cited) > 15
    assert cited - written == set()
    assert {name for name in written if name.startswith("test_erratum")} <= cited
