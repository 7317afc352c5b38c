"""Oracle: node's parser, the figures' own settings and the recorded results."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.play_settings import PlaySettings
from lazyrich import InputError
from lazyrich.explorer import figure_links, page_text
from lazyrich.explorer._page import _APP, _WORKER, FIGURES, PAGE, SLIDERS, example

ROOT = Path(__file__).parents[2]


def scripts(page):
    """The scripts of the page by their kind, in order."""
    return re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)


def test_the_page_is_one_sound_file(tmp_path):
    page = page_text()
    found = scripts(page)
    assert len(found) == 7
    worker, uplot, app = (text for kind, text in found if "json" not in kind)
    for name, text in (("worker.js", worker), ("app.mjs", app), ("uplot.js", uplot)):
        assert not re.search(r"^(import|export) ", text, re.MULTILINE)
        (tmp_path / name).write_text(text)
        if shutil.which("node"):
            subprocess.run(["node", "--check", tmp_path / name], check=True)
    for kind, text in found:
        if "json" in kind:
            json.loads(text)
    assert page_text() == page


def test_the_page_asks_for_nothing_from_elsewhere():
    page = page_text()
    outside = set(re.findall(r"https?://[^\s\"'<>)]+", page))
    assert outside == {"https://github.com/leeoniya/uPlot", "http://www.w3.org/2000/svg"}
    assert not re.search(r"<(?:link|img|iframe)[^>]+(?:src|href)=\"(?!data:)", page)
    assert "connect-src 'none'" in page
    assert "connect-src 'self'" in page_text(server={"has_document": True, "presets": None})
    licence = (PAGE / "vendor" / "LICENSE-uPlot").read_text()
    assert "MIT License" in licence
    assert "Leon Sorokin" in licence


def test_nothing_that_is_stored_can_end_a_script():
    title = "</script><script>alert(1)</script><!-- \u2028"
    page = page_text({"title": title, "runs": []})
    assert len(scripts(page)) == 7
    assert "alert(1)</script>" not in page


@pytest.mark.parametrize("modules", [_APP, _WORKER])
def test_modules_of_the_page_are_joined_without_clashes(modules):
    """Two names at the top of two modules would be one in the page."""
    declared = re.compile(
        r"^(?:export )?(?:async )?(?:const|let|function|class) (?:(\w+)|\[([\w, ]+)\])",
        re.MULTILINE,
    )
    names = [
        name
        for module in modules
        for one, several in declared.findall((PAGE / f"{module}.js").read_text())
        for name in (one or several).split(", ")
    ]
    assert len(names) > 20
    assert len(set(names)) == len(names)


def test_every_module_is_in_the_page():
    assert {path.stem for path in PAGE.glob("*.js")} == set(_APP) | set(_WORKER)


@pytest.mark.slow
def test_the_figures_have_the_settings_that_were_run():
    from lazyrich.paper.figures import _fig4, _fig9

    runs = {"fig4": [_fig4.PRINTED], "fig9": []}
    base = _fig9.PRESETS["authors"]
    runs["fig9"] = [base.changed({"n_train": size}) for size in _fig9.PRINTED]
    for name, experiments in runs.items():
        ours = [PlaySettings(**one["settings"]) for one in FIGURES if one["figure"] == name]
        for settings, experiment in zip(ours, experiments, strict=True):
            printed = experiment.printed
            assert settings.keys == (
                printed.input_key,
                printed.test_key,
                *printed.target_keys,
                *printed.weight_keys,
            )
            for field in set(PlaySettings.model_fields) - {"keys", "noise"}:
                assert getattr(settings, field) == getattr(experiment, field), (name, field)


def test_every_figure_and_lesson_is_within_the_sliders():
    for one in FIGURES:
        PlaySettings(**one["settings"])
        assert figure_links()[one["figure"]].startswith("#view=play")
    assert set(PlaySettings.model_fields) - {"center", "keys"} == set(SLIDERS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0},
        {"alpha": "nan"},
        {"n_train": 19},
        {"dim": 40, "n_train": 501},
        {"width": 1},
        {"keys": [0, 1, 2, 0], "width": None},
        {"keys": [0, 1, 2, 0], "seed": 1},
        {"keys": [0, 1, 2]},
        {"momentum": 1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        PlaySettings(**wrong)


@pytest.mark.slow
def test_the_example_is_the_map_of_the_recorded_figure():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import explorer_example
    finally:
        sys.path.pop(0)
    assert json.loads(explorer_example.example()) == example()


@pytest.mark.slow
def test_printed_figures_have_the_recorded_peaks_and_crossings(tmp_path):
    """``results/authors`` holds the same draws, computed by the library."""
    import numpy as np

    from lazyrich.curves import grokking_delay, peak_before
    from lazyrich.paper._files import read_panels

    if shutil.which("node") is None:
        pytest.skip("no node here")
    wanted = [one for one in FIGURES if one["is_printed"]]
    (tmp_path / "figures.json").write_text(
        json.dumps([PlaySettings(**one["settings"]).model_dump(mode="json") for one in wanted])
    )
    command = ["node", Path(__file__).parent / "figures.mjs", PAGE, tmp_path / "figures.json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    for figure, found in zip(wanted, json.loads(run.stdout), strict=True):
        path = ROOT / "results" / "authors" / f"{figure['figure']}.nc"
        recorded = read_panels(path.read_bytes())["runs"].isel(seed=0)
        if "n_train" in recorded.dims:
            recorded = recorded.sel(n_train=figure["settings"]["n_train"])
        steps = recorded["step"].values
        train, test = recorded["train_loss"].values, recorded["test_loss"].values
        assert found["steps"] == steps.tolist()
        np.testing.assert_allclose(found["train"], train, rtol=0.01, atol=1e-20)
        np.testing.assert_allclose(found["test"], test, rtol=0.01)
        ours = grokking_delay(np.array(steps, float), np.array(found["train"]), found["test"])
        theirs = grokking_delay(np.array(steps, float), train, test)
        for one, other in zip(ours[:2], theirs[:2], strict=True):
            assert float(one) == pytest.approx(float(other), rel=0.01)
        peaks = [peak_before(steps, losses, np.inf) for losses in (np.array(found["test"]), test)]
        assert float(peaks[0][1]) == float(peaks[1][1])


@pytest.mark.slow
def test_the_lessons_say_what_is_seen():
    if shutil.which("node") is None:
        pytest.skip("no node here")
    base = PlaySettings().model_dump(mode="json")
    more = [{"alpha": 0.25}, {"alpha": 8.0}, {"epsilon": 0.3}, {"n_train": 60}, {"n_train": 200}]
    arguments = json.dumps({"base": base, "more": [one | {"n_steps": 6000} for one in more]})
    command = ["node", Path(__file__).parent / "lessons.mjs", PAGE, arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    lazy, rise, _, narrow, few, rich, low, high, wide, some, many = json.loads(run.stdout)
    assert lazy["end"]["weight_norm"] < 1.02
    assert lazy["end"]["test_loss"] == pytest.approx(lazy["regression"], rel=0.1)
    assert rise["peaks"]["test"]["value"] > 1.2 * rise["start"]["test_loss"]
    assert rise["peaks"]["linear"]["step"] / rise["peaks"]["test"]["step"] < 2
    assert rise["end"]["test_loss"] < 0.01
    assert low["delay"]["delay"] == pytest.approx(27, abs=0.5)
    assert high["delay"]["delay"] == pytest.approx(2200, rel=0.02)
    assert narrow["delay"]["delay"] > wide["delay"]["delay"]
    assert narrow["delay"]["trainStep"] > wide["delay"]["trainStep"]
    assert narrow["delay"]["ratio"] < wide["delay"]["ratio"]
    assert few["delay"]["isCensored"]
    assert some["delay"]["ratio"] == pytest.approx(15, rel=0.05)
    assert many["delay"]["ratio"] < 2
    assert rich["end"]["target_moment"] > 1000 * rich["start"]["target_moment"]
    assert rich["end"]["alignment"] > 5 * rich["end"]["chance_alignment"]


@pytest.mark.slow
def test_the_other_figures_show_what_their_texts_say():
    """Those without a printed draw, in the sizes that the page can train."""
    if shutil.which("node") is None:
        pytest.skip("no node here")
    base = PlaySettings().model_dump(mode="json")
    settings = {one["figure"]: one["settings"] for one in FIGURES if not one["is_printed"]}
    assert set(settings) == {"fig1", "fig3", "fig7", "fig13"}
    more = [
        settings["fig1"],
        settings["fig3"],
        settings["fig3"] | {"alpha": 1.0},
        settings["fig7"],
        settings["fig7"] | {"weight_scale": 1.0, "alpha": 4.0},
        settings["fig7"] | {"weight_scale": 1.0},
        settings["fig13"],
    ]
    arguments = json.dumps({"base": base, "more": more, "isWithoutLessons": True})
    command = ["node", Path(__file__).parent / "lessons.mjs", PAGE, arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    wide, lazy, rich, scaled, raised, other, heavy = json.loads(run.stdout)
    assert wide["delay"]["ratio"] > 5
    assert lazy["delay"]["delay"] > 2 * rich["delay"]["delay"]
    assert lazy["end"]["weight_norm"] < rich["end"]["weight_norm"]
    assert scaled["end"]["weight_norm"] == pytest.approx(raised["end"]["weight_norm"], rel=0.02)
    assert scaled["delay"]["ratio"] == pytest.approx(raised["delay"]["ratio"], rel=0.05)
    assert other["delay"]["ratio"] < 0.8 * scaled["delay"]["ratio"]
    for one in (wide, heavy):
        assert one["peaks"]["test"]["value"] > 1.1 * one["start"]["test_loss"]
    assert heavy["delay"]["testStep"] < wide["delay"]["testStep"] / 5
