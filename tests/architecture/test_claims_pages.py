"""Oracle: claims made by hand, whose counts, order and words are known."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("claims_pages")


def claim(name, median, threshold, verdict):
    return {
        "name": name,
        "sentence": "it is so",
        "where": "§1",
        "statistic": "|a|/b",
        "values": [median] * 3,
        "median": median,
        "interval": [median, median],
        "threshold": threshold,
        "verdict": verdict,
    }


def figure(*claims, **other):
    provenance = dict.fromkeys(
        ("lazyrich", "commit", "jax", "numpy", "python", "machine", "device"), "x"
    )
    return {
        "preset": "quick",
        "seeds": [0, 1, 2],
        "settings": "D=50, α=1",
        "provenance": provenance | {"command": "lazyrich reproduce fig2 --preset quick"},
        "notes": ["A run diverged."],
        "claims": list(claims),
    } | other


TWO = {
    "fig2": figure(claim("one", 3.0, "≥ 1.5", "holds"), claim("two", 1.0, "≥ 1.5", "undecided")),
    "fig10": figure(
        claim("near", 0.6, "≤ 0.5", "does not hold"),
        claim("far", 0.1, "0.5 to 2", "does not hold"),
    ),
}


@pytest.mark.parametrize("chosen", [(), ("fig2",), ("fig2", "fig10")])
def test_the_summary_has_one_row_for_each_figure_there_is(pages, monkeypatch, chosen):
    monkeypatch.setattr(pages, "recorded", lambda: {name: TWO[name] for name in chosen})
    rows = [line for line in pages.summary().splitlines() if line.startswith("| [")]
    assert len(rows) == len(chosen)
    if chosen == ("fig2", "fig10"):
        assert "| 1 | 0 | 1 |  |" in rows[0]
        assert "| 0 | 2 | 0 | far: 0.1, wanted 0.5 to 2 |" in rows[1]
        assert "**all 4**" in pages.summary()
        assert "17 of 19" in pages.summary()


def test_what_cannot_be_compared_is_the_furthest_off(pages):
    rows = [
        claim("near", 1.4, "≥ 1.5", "does not hold"),
        claim("never", "inf", "≤ 3", "does not hold"),
        claim("holds", 1e9, "≥ 1.5", "holds"),
    ]
    assert pages.worst(rows).startswith("never: inf")
    assert pages.worst(rows[2:]) == ""


def test_a_page_says_what_was_measured_and_how(pages):
    table = pages.claims_table()
    text = pages.page("fig2", TWO["fig2"], table, "It is late.")
    for words in ("# Figure 2", "It is late.", "`quick`: D=50, α=1", "3 seeds, 0 to 2", "✓ holds"):
        assert words in text
    assert "lazyrich reproduce fig2 --preset quick" in text
    assert "A run diverged." in text
    assert "∣a∣/b" in text  # a bar would end the cell


def test_a_figure_that_is_not_there_says_so_and_shows_its_claims(pages):
    table = pages.claims_table()
    text = pages.page("fig3", None, table, None)
    assert "has not been computed yet" in text
    names = [row["name"] for row in table["claim"] if row["figure"] == "fig3"]
    assert len(names) > 1
    assert all(f"**{name}**" in text for name in names)


def test_the_overview_has_every_claim(pages):
    table = pages.claims_table()
    text = pages.overview({}, table)
    assert text.count("| not computed yet |") == len(table["claim"]) + 1
