"""Oracle: an HTML parser, and the contract about whose files are replaced."""

import os
from html.parser import HTMLParser

import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.diagnosis import Evidence, GroupChange, Labels, LinearPart, Snapshot, diagnosis_of

VOID = {"meta", "line", "circle", "polyline", "br"}


class Reader(HTMLParser):
    """Checks that tags are closed in order; keeps what refers to elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def diagnosis(name="layer"):
    rng = np.random.default_rng(0)
    y, s = rng.normal(size=(9, 1)), rng.normal(size=(6, 20))
    labels = Labels(y, "mse")
    evidence = Evidence(
        now=Snapshot(y, {name: s @ s.T}),
        start=Snapshot(0 * y, {name: s @ s.T}),
        linear=LinearPart(0 * y, y, {"jvp": 0.9 * y}, 1e-16),
        groups={name: GroupChange(1.0, 1.0, 0.5)},
        labels=labels,
    )
    records = tuple(
        {"step": float(k), "linearization_gap": 0.1 * k, "kernel_cosine": 1 - 0.1 * k}
        for k in (1, 2, 5)
    )
    return diagnosis_of(evidence, {"rows": 9}, records)


def test_the_page_is_whole_and_asks_for_nothing(tmp_path):
    path = diagnosis("<script>alert(1)</script>").to_html(tmp_path / "a" / "page.html")
    text = path.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    assert reader.links == []
    assert "script" not in reader.tags
    assert reader.tags.count("svg") == 3
    assert "width=device-width" in text
    assert "NaN" not in text.split("<h2>All of it")[1]


def test_only_its_own_pages_are_replaced(tmp_path):
    path = tmp_path / "page.html"
    diagnosis().to_html(path)
    diagnosis().to_html(path)
    path.write_text("<!DOCTYPE html><p>mine")
    with pytest.raises(InputError, match="cannot be written"):
        diagnosis().to_html(path)
    assert path.read_text() == "<!DOCTYPE html><p>mine"
    with pytest.raises(InputError, match="folder"):
        diagnosis().to_html(tmp_path)
    link = tmp_path / "link.html"
    os.symlink(path, link)
    with pytest.raises(InputError, match="link"):
        diagnosis().to_html(link)
