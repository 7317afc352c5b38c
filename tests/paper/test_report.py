"""Oracle: html.parser reading the page, the files it was made from, and closed-form curves."""

import base64
import gzip
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from lazyrich._base import InputError
from lazyrich.cli import main
from lazyrich.paper import CLAIMS, FIGURES, HISTORY, write_report
from lazyrich.paper._reproduce import _captioned
from lazyrich.paper._survives import read_sentences
from lazyrich.paper._words import readable
from lazyrich.paper.errata import Erratum
from lazyrich.paper.report import _downloads, _page
from lazyrich.paper.report._downloads import downloads_of, median_curves
from lazyrich.paper.report._strip import strip_of
from paper.reproduced import panel, reproduced

VOID = {"meta", "link", "img", "br", "input", "rect", "line", "circle"}
LOADS = {"src", "srcset", "href", "poster", "action", "data", "background"}


class Page(HTMLParser):
    """Elements with their attributes, text by element id; complains about wrong nesting."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.opened = [], [], []
        self.feed(text)
        self.close()
        assert self.opened == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag

    def handle_data(self, data):
        if not self.opened or self.opened[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self):
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module", autouse=True)
def few_errata():
    """The errata have their own test: here two stand for all."""
    two = (
        Erratum("Eq. 0", "x_i² < 1", "x_i′²", "sums", 0.5, 1e-16),
        Erratum("references", "1", "2", "reading", float("nan"), float("nan")),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_page, "errata", lambda: two)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return reproduced(tmp_path_factory.mktemp("reproduction"), presets=("quick", "authors"))


@pytest.fixture(scope="module")
def text(folder):
    return write_report(folder, folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_nothing_is_fetched(text, page):
    for tag, attributes in page.elements:
        for name in LOADS & attributes.keys():
            assert attributes[name].startswith(("data:", "#")), (tag, name, attributes[name][:60])
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in re.sub(r"data:[\w/+.-]+;base64,[\w+/=]+", "", text)


def test_pictures_say_what_they_show(page):
    own, wide = page.all("img")
    assert "train loss falls first: 3, met" in own["alt"]
    assert "train loss falls first: 8 (4 to 9), holds" in wide["alt"]
    for image in (own, wide):
        assert "Figure 1" in image["alt"]
        assert int(image["width"]) > 100
        assert int(image["height"]) > 100


def test_ids_are_unique_and_links_lead_to_them(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert link["href"].startswith("data:") or link["href"][1:] in ids
    for _, attributes in page.elements:
        assert attributes.get("aria-labelledby", ids[0]) in ids


def test_every_claim_and_every_figure_is_there(page):
    names = [attributes["id"] for attributes in page.all("h2")]
    assert [n for n in names if n.startswith("fig")] == [f"fig{k}" for k in range(1, 20)]
    rows = [attributes for attributes in page.all("tr") if "data-figure" in attributes]
    assert len(rows) == len(CLAIMS)
    for claim in CLAIMS:
        assert " ".join(claim.sentence.split()) in page.words
    for name in (f"fig{k}" for k in range(2, 20)):
        assert f"Not computed yet. lazyrich reproduce {name}" in page.words


def test_the_summary_counts_verdicts_by_preset(page):
    n = len(CLAIMS)
    said = page.words
    has_draw = [one for one in CLAIMS if "authors" in FIGURES[one.figure].n_seeds]
    n_drawn = len(has_draw)
    assert (
        f"draw (authors) 1 met 1 not met {n_drawn - 2} not computed {n - n_drawn} no printed run"
    ) in said
    assert f"settings (paper) {n} not computed" in said
    assert f"(quick) 1 holds 1 does not hold 2 undecided {n - 4} not computed" in said
    rows = [a["data-verdict"].split("|") for a in page.all("tr") if "data-verdict" in a]
    assert rows.count(["authors: met", "paper: not computed", "quick: holds"]) == 1
    assert rows.count(["authors: not computed", "paper: not computed", "quick: undecided"]) == 2
    chosen = {text for row in rows for text in row}
    assert {a["data-verdict"] for a in page.all("a") if "data-verdict" in a} == chosen


def test_what_was_measured_stands_beside_the_claim(page):
    assert "8 (4 to 9) met in 3 of 3 (29 to 100 %)" in page.words
    assert "seeds: −1.5, 4, 10" in page.words
    assert "seeds: –, 1.2, never" in page.words
    assert "1 of 3 seeds never 1 of 3 seeds not measured: diverged" in page.words


def test_a_sentence_that_was_not_found_says_what_was_tested_and_where(page):
    assert (
        "Not found by this statistic in any setting that was tested: the authors' own draw does "
        "not show it; at wide settings it does not hold. Tested: Ltr(tleave)/Ltr(0), wanted "
        "≤ 0.5; found 0.7 (the authors' own draw), 0.7 (0.6 to 0.8) (wide settings)."
    ) in page.words


def test_claims_that_came_late_are_counted_and_marked(page):
    late = {name for change in HISTORY if change.after for name in change.claims}
    assert f"except {len(late)} of {len(CLAIMS)}" in page.words
    assert len(late) >= 16
    marks = [a for a in page.all("a") if a["href"] == "#history" and "title" in a]
    of_figure_1 = sum(name.startswith("fig1:") for name in late)
    assert len(marks) == len(late) + of_figure_1  # in the table of all, and in that of the figure


def test_sentences_on_what_survives_link_to_their_evidence(folder, tmp_path, monkeypatch):
    text = '[[sentence]]\ntext = "It groks."\nclaims = ["fig1: train loss falls first"]'
    monkeypatch.setattr(_page, "SURVIVES", read_sentences(text))
    page = Page(write_report(folder, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "It groks. (fig1)" in page.words
    with pytest.raises(InputError, match=r"rests on .*fig1: no such"):
        read_sentences(text.replace("train loss falls first", "no such"))
    with pytest.raises(InputError, match="rests on nothing"):
        read_sentences('[[sentence]]\ntext = "It groks."\nclaims = []')


def test_settings_notes_and_machine_are_shown_as_text(page):
    assert "D=6, ε<1" in page.words
    assert "A run diverged <after> step 3." in page.words
    assert "Linux <x86>" in page.words
    assert "lazyrich reproduce fig1 --preset quick --seeds 3" in page.words


def test_the_command_of_the_run_is_kept(tmp_path):
    command = "lazyrich reproduce fig1 --preset quick --seeds 3 --set dim=6"
    page = write_report(reproduced(tmp_path, command=command), tmp_path / "page.html")
    assert command in page.read_text(encoding="utf-8")


def test_settings_that_were_changed_stand_in_the_caption():
    spec = _captioned(FIGURES["fig4"], {"alpha": "4", "p": "7"}, {"p"})
    assert spec.captions["quick"] == f"{FIGURES['fig4'].captions['quick']}; changed: alpha=4"
    assert _captioned(spec, {"p": "7"}, {"p"}) is spec


def test_a_page_without_any_verdict(tmp_path):
    (tmp_path / "claims.json").write_text(json.dumps({"edition": 2, "figures": {}}))
    page = Page(write_report(tmp_path, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert f"settings (quick) {len(CLAIMS)} not computed" in page.words


def test_errata_show_their_measurement(page, text):
    assert "1 of 1 checks find" in page.words
    assert "0.5 1e−16 ✓ confirmed" in page.words
    assert "by reading" in page.words
    assert "x<sub>i</sub>² &lt; 1" in text


def test_downloads_are_the_files(folder, page):
    links = [a for a in page.all("a") if "download" in a]
    found = {a["download"]: base64.b64decode(a["href"].partition("base64,")[2]) for a in links}
    assert list(found) == ["fig1.nc", "fig1.pdf", "fig1_runs.csv"]
    assert len(links) == 6  # of both presets
    for name in ("fig1.nc", "fig1.pdf"):
        assert found[name] == (folder / name).read_bytes()
    table = pd.read_csv(io.BytesIO(found["fig1_runs.csv"]))
    assert list(table) == ["alpha", "step", "train_loss"]
    medians = table.alpha * table.step + 1
    medians[(table.alpha == 0.5) & (table.step == 1)] -= 0.5  # of the two finite seeds
    np.testing.assert_allclose(table.train_loss, medians)


def test_long_tables_are_compressed_and_large_files_stay_where_they_are(folder, monkeypatch):
    monkeypatch.setattr(_downloads, "_MOST_PLAIN", 10)
    monkeypatch.setattr(_downloads, "MOST_BYTES", 1000)
    dataset, _, table = downloads_of(folder, "fig1", {"runs": panel()})
    assert table.name == "fig1_runs.csv.gz"
    text = gzip.decompress(base64.b64decode(table.href.partition("base64,")[2]))
    assert text.decode() == median_curves(panel()).to_csv(float_format="%.6g")
    assert dataset.href == ""
    assert dataset.n_bytes == (folder / "fig1.nc").stat().st_size


def test_a_panel_without_curves_has_no_table():
    assert median_curves(panel().isel(step=0)).empty
    assert median_curves(panel().drop_vars("train_loss")).empty


def test_missing_and_damaged_files_are_named(tmp_path):
    folder = reproduced(tmp_path)
    (folder / "fig1.png").unlink()
    (folder / "fig1.pdf").unlink()
    (folder / "fig1.nc").write_bytes(b"half")
    page = Page(write_report(folder, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "The picture fig1.png is not in" in page.words
    assert page.all("img") == []
    assert [a["download"] for a in page.all("a") if "download" in a] == ["fig1.nc"]


def test_equal_files_give_an_equal_page(folder, text, tmp_path):
    assert write_report(folder, tmp_path / "again.html").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "value, said",
    [
        (float("inf"), "never"),
        (float("nan"), "–"),
        (3218.4, "3,220"),
        (-0.012345, "−0.0123"),
        (1.0, "1"),
        (999.7, "1,000"),
    ],
)
def test_numbers_for_a_reader(value, said):
    assert readable(value) == said


@pytest.mark.parametrize(
    "values, low, high, places, start, width",
    [
        ([1.0, 100.0], 10.0, None, (10, 90), 50, 50),  # log axis
        ([0.0, 10.0], None, 5.0, (10, 90), 0, 50),  # one is not positive
        ([float("inf"), 1.0], 10.0, None, (0, 10), 90, 10),  # never lies outside of what is met
        ([float("inf"), 1.0], None, 10.0, (100, 10), 0, 90),
        ([float("nan"), 1.0], 1.0, None, (10,), 10, 90),  # of those that were measured
        ([-1.0, 0.0], -0.5, 0.0, (10, 90), 50, 40),
    ],
)
def test_seeds_on_a_line(values, low, high, places, start, width):
    strip = strip_of(values, low, high)
    assert strip.values == pytest.approx(places)
    assert (strip.start, strip.width) == pytest.approx((start, width))


def test_nothing_measured_gives_no_line():
    assert strip_of([], 1.0, None) is None
    assert strip_of([float("nan")], 1.0, None) is None


def test_command(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["report", "--out", str(folder), "--to", str(tmp_path / "new" / "page.html")])
    assert stop.value.code == 0
    assert (tmp_path / "new" / "page.html").is_file()
    assert "page.html (" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "run `lazyrich reproduce all"),
        ("{", "cannot be read: the text is not JSON"),
        (json.dumps({"figures": {"fig1": {"preset": "quick"}}}), "results of the first edition"),
        (
            json.dumps({"edition": 2, "figures": {"fig1": {"quick": {"seeds": "abc"}}}}),
            "fig1, preset 'quick', seeds: ",
        ),
    ],
)
def test_no_results_are_one_sentence(content, said, tmp_path, capsys):
    if content is not None:
        (tmp_path / "claims.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        main(["report", "--out", str(tmp_path), "--to", str(tmp_path / "page.html")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(said, error)
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_is_one_sentence(folder, tmp_path):
    with pytest.raises(InputError, match="--to is the folder"):
        write_report(folder, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another place with --to"):
        write_report(folder, tmp_path / "file" / "page.html")
