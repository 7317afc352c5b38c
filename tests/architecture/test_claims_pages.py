"""Oracle: results made by hand, whose verdicts, counts, order and words are known."""

import importlib
from pathlib import Path

import pytest

from lazyrich.paper import CLAIMS, FIGURES, HISTORY, Claim, Result, judge

ROOT = Path(__file__).parents[2]
INF = float("inf")


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("claims_pages")


def result(figure, *claims, preset="quick"):
    """Of claims given as name, lower threshold, values."""
    judged = tuple(
        judge(
            Claim(figure, name, "it is so", "§1", "|a|/b", low=low),
            values,
            is_one_draw=preset == "authors",
        )
        for name, low, values in claims
    )
    keys = ("lazyrich", "commit", "jax", "numpy", "python", "machine", "device")
    made = dict.fromkeys(keys, "x") | {"command": f"lazyrich reproduce {figure} --preset {preset}"}
    n = len(claims[0][2])
    return Result(tuple(range(n)), "D=50, α=1", made, ("A run diverged.",), judged)


THREE = {
    "fig2": {
        "authors": result("fig2", ("one", 1.5, [3.0]), ("two", 1.5, [2.0]), preset="authors"),
        "paper": result("fig2", ("one", 1.5, [1.0] * 5), ("two", 1.5, [1.0, 2.0, INF, 2.0, 3.0])),
        "quick": result("fig2", ("one", 1.5, [3.0] * 3), ("two", 1.5, [3.0] * 3)),
    },
    "fig10": {"quick": result("fig10", ("near", 0.7, [0.6] * 3), ("far", 0.7, [0.1] * 3))},
}


def test_the_summary_has_a_row_for_each_figure_and_a_column_for_each_preset(pages, monkeypatch):
    monkeypatch.setattr(pages, "recorded", lambda: THREE)
    rows = {line.split("]")[0][3:]: line for line in pages.summary().splitlines() if "| [" in line}
    assert len(rows) == 19
    assert "| 2 ✓ | 1 ✗ 1 ? (5 seeds) | 2 ✓ (3 seeds) | one: 1, wanted ≥ 1.5 |" in rows["Figure 2"]
    assert (
        "| not computed | not computed | 2 ✗ (3 seeds) | far: 0.1, wanted ≥ 0.7 |"
        in rows["Figure 10"]
    )
    assert "| not computed | not computed | not computed |  |" in rows["Figure 3"]
    assert "| no printed run | not computed | not computed |  |" in rows["Figure 6"]
    assert "| 2 ✓ | 1 ✗ 1 ? | 2 ✓ 2 ✗ | |" in pages.summary()


def test_what_cannot_be_compared_is_the_furthest_off(pages):
    found = {"quick": result("fig2", ("near", 1.5, [1.4] * 3), ("never", 1.5, [INF] * 3))}
    assert pages.worst(found) == "never: never, wanted ≥ 1.5"
    assert pages.worst({"quick": result("fig2", ("holds", 1.5, [1e9] * 3))}) == ""


def test_a_page_says_what_was_measured_and_how(pages):
    text = pages.page("fig2", THREE["fig2"])
    for words in (
        "# Figure 2",
        "`quick`: D=50, α=1",
        "3 seeds, 0 to 2",
        "One run.",
        "A run diverged.",
        "✓ met: 3 |",
        "✗ does not hold: 1 (1 to 1); met in 0 of 5 (0 to 52 %)",
        "✓ holds: 3 (3",
        "## The authors' own draw",
        "## The authors' settings over seeds",
        "## Wide settings",
        "1 of 5 seeds never",
        "lazyrich reproduce fig2 --preset authors",
        "∣a∣/b",  # a bar would end the cell
    ):
        assert words in text, words


def test_a_sentence_that_was_not_found_says_what_was_tested_where_and_what_came_out(pages):
    [line] = pages.negatives(THREE["fig2"])[2:-1]
    assert line == (
        "- **one**: Not typical of the authors' settings: the authors' own draw shows it; at the "
        "authors' settings, as far as they are known, it does not hold over seeds; at wide "
        "settings it holds. Tested was "
        "|a|/b, with ≥ 1.5 wanted. Measured: the authors' own draw (D=50, α=1): 3; the authors' "
        "settings over seeds (D=50, α=1): 1 (1 to 1), met in 0 of 5 (0 to 52 %); wide settings "
        "over seeds (D=50, α=1): 3 (3 to 3), met in 3 of 3 (29 to 100 %)."
    )


def test_a_figure_that_is_not_there_says_so_and_shows_its_claims(pages):
    text = pages.page("fig3", {})
    assert "has not been computed yet" in text
    names = [claim.name for claim in CLAIMS if claim.figure == "fig3"]
    assert len(names) > 1
    assert all(f"**{name}**" in text for name in names)


def test_claims_that_came_after_something_had_been_seen_are_counted_and_marked(pages):
    late = {name for row in HISTORY if row.after for name in row.claims}
    text = pages.overview({})
    assert f"except {len(late)} of {len(CLAIMS)}, marked †" in text
    assert text.count(" † |") == len(late)
    assert "alignment over random labels grows † |" in text
    assert "(after runs): Written down as ≥ 2" in pages.page("fig1", {})


def test_the_overview_has_every_claim_and_every_change_of_the_rule(pages):
    text = pages.overview({})
    for claim in CLAIMS:
        draw = "not computed" if "authors" in FIGURES[claim.figure].n_seeds else "no printed run"
        cells = f"– {draw} | – not computed | – not computed |"
        assert f"{claim.name}{pages.mark(claim)} | {claim.threshold} | {cells}" in text
    n = len(CLAIMS)
    drawn = sum("authors" in FIGURES[claim.figure].n_seeds for claim in CLAIMS)
    assert f"| – not computed | {drawn} | {n} | {n} |" in text
    assert f"| – no printed run | {n - drawn} | 0 | 0 |" in text
    assert "never is not late" in text


def test_results_of_the_first_edition_count_as_nothing_computed(pages, monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    (tmp_path / "claims.json").write_text('{"figures": {"fig1": {}}}')
    assert pages.recorded() == {}
