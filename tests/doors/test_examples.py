"""Oracle: the examples' own asserts, and the gallery: it shows what they print, and how they are.

Each runs as a script does.
"""

import importlib
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SLOW = {
    "01_kernel_and_alignment",
    "03_train_and_measure",
    "04_sweep_and_delay",
    "05_exact_dynamics",
    "09_diagnose_jax",
    "10_watch_pytorch",
}
LONGEST = 60  # seconds


@pytest.fixture
def gallery(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("gallery_page")


def without_numbers(text):
    """Machines and precisions differ in digits, and so in the spaces and lines between words."""
    return re.sub(r"\s+|[-+]?\d[\d.,]*(e[-+]?\d+)?", "", text)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow if path.stem in SLOW else (), id=path.stem)
        for path in EXAMPLES
    ],
)
def test_it_runs(path, capsys, tmp_path, monkeypatch, unchecked, require_extra, gallery):
    if "torch" in gallery.extras(path):
        require_extra("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    runpy.run_path(str(path), run_name="__main__")
    recorded = gallery.records()[path.stem]
    printed = capsys.readouterr().out
    assert printed.count("\n") > 1
    assert without_numbers(printed) == without_numbers(recorded["printed"])
    assert len(list(tmp_path.glob("*.png"))) == bool(recorded["picture"])
    assert 20 <= len(path.read_text(encoding="utf-8").splitlines()) <= 50


def test_the_gallery_is_what_the_scripts_are_and_did(gallery):
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page(), "run `make readme`"
    records = gallery.records()
    assert list(records) == [path.stem for path in EXAMPLES]
    pictures = {name for name, one in records.items() if one["picture"]}
    assert {path.stem for path in gallery.FOLDER.glob("*.png")} == pictures
    for path in EXAMPLES:
        one = records[path.stem]
        again = f"run `python docs/gallery_page.py {path.stem}`"
        assert one["source"] == gallery.digest(path), again
        if one["picture"]:
            assert one["picture"] == gallery.digest(gallery.FOLDER / f"{path.stem}.png"), again


def test_there_are_enough_for_both_frameworks_and_none_takes_long(gallery):
    in_torch = ["torch" in gallery.extras(path) for path in EXAMPLES]
    assert len(EXAMPLES) >= 8
    assert 3 <= sum(in_torch) <= len(EXAMPLES) - 3
    assert max(one["processor_seconds"] for one in gallery.records().values()) < LONGEST
