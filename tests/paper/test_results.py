"""Oracle: the file as it was before it was damaged; JSON read by Python's own reader."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lazyrich._base import InputError
from lazyrich.cli import main
from lazyrich.paper import CLAIMS, Result, _results, as_json, judge, read_results
from lazyrich.paper._claims import read_table, table_text
from lazyrich.paper._results import add_result, require_second_edition
from lazyrich.paper._value import NO_RUN, missing
from paper.reproduced import result

DAMAGES = {  # a change to the content, and what the sentence must name
    "a figure that is a number": (lambda f: f.update(fig1=3), "fig1"),
    "a figure that is null": (lambda f: f.update(fig1=None), "fig1"),
    "a figure that is a list": (lambda f: f.update(fig1=[1]), "fig1"),
    "an unknown figure": (lambda f: f.update(fig99={}), "fig99"),
    "an unknown preset": (lambda f: f["fig1"].update(fast={}), "fast"),
    "a preset that is null": (lambda f: f["fig1"].update(quick=None), "preset 'quick'"),
    "no seeds": (lambda f: f["fig1"]["quick"].pop("seeds"), "seeds"),
    "seeds that are text": (lambda f: f["fig1"]["quick"].update(seeds="abc"), "seeds"),
    "a seed that is true": (lambda f: f["fig1"]["quick"].update(seeds=[True]), "seeds.0"),
    "a note that is a number": (lambda f: f["fig1"]["quick"].update(notes=[1]), "notes.0"),
    "provenance that is a list": (lambda f: f["fig1"]["quick"].update(provenance=[]), "provenance"),
    "a field too many": (lambda f: f["fig1"]["quick"].update(more=1), "more"),
    "verdicts that are null": (lambda f: f["fig1"]["quick"].update(verdicts=None), "verdicts"),
    "a median that is text": (lambda f: first(f).update(median="abc"), "verdicts.0.median"),
    "a median that is changed": (lambda f: first(f).update(median=5.0), "train loss falls first"),
    "a value that is changed": (
        lambda f: first(f).update(values=[1.0, 4.0, 9.0]),
        "loss falls",
    ),
    "a value that is null": (lambda f: first(f).update(values=[None, 4.0]), "verdicts.0.values.0"),
    "an outcome that is changed": (
        lambda f: first(f).update(outcome="undecided"),
        "train loss falls",
    ),
    "an outcome that is unknown": (lambda f: first(f).update(outcome="maybe"), "outcome"),
    "a threshold that is text": (lambda f: first(f)["claim"].update(low="x"), "claim.low"),
    "a threshold that is gone": (lambda f: first(f)["claim"].pop("low"), "low"),
    "a claim of another figure": (lambda f: first(f)["claim"].update(figure="fig2"), "fig2"),
    "reasons of another length": (lambda f: first(f).update(reasons=[]), "fig1"),
    "an interval of three": (lambda f: first(f).update(interval=[1, 2, 3]), "interval"),
}


def first(figures):
    return figures["fig1"]["quick"]["verdicts"][0]


@pytest.fixture
def folder(tmp_path):
    """Figure 1 under two presets."""
    for preset in ("quick", "authors"):
        assert add_result(tmp_path, "fig1", preset, result(preset)) == ""
    return tmp_path


def damaged(folder, change):
    path = folder / "claims.json"
    content = json.loads(path.read_text())
    change(content["figures"])
    path.write_text(json.dumps(content))
    return path.read_text()


def test_results_of_presets_stand_side_by_side_and_are_read_as_they_were(folder):
    found = read_results(folder)
    assert list(found) == ["fig1"]
    assert list(found["fig1"]) == ["authors", "quick"]
    content = json.loads((folder / "claims.json").read_text(), parse_constant=pytest.fail)
    assert content["figures"] == as_json(found) == as_json({"fig1": dict(found["fig1"])})
    assert found["fig1"]["authors"] == result("authors")
    again = found["fig1"]["quick"]
    assert [v.outcome for v in again.verdicts] == [v.outcome for v in result().verdicts]
    assert str(again.verdicts[-1].values) == "(nan, 1.2, inf)"
    assert again.verdicts[-1].reasons == ("diverged", "", "")


def test_a_new_result_takes_the_place_of_the_same_figure_and_preset_alone(folder):
    add_result(folder, "fig1", "quick", result(notes=()))
    found = read_results(folder)["fig1"]
    assert found["quick"].notes == ()
    assert found["authors"] == result("authors")


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_named_and_never_replaced_by_less(folder, damage, capsys):
    change, words = DAMAGES[damage]
    text = damaged(folder, change)
    for command in ("claims", "report"):
        with pytest.raises(SystemExit) as left:
            main([command, "--out", str(folder), *REST[command](folder)])
        assert left.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("lazyrich: ")
        assert words in line
    assert (folder / "claims.json").read_text() == text
    said = add_result(folder, "fig4", "paper", result())  # another figure is reproduced
    assert words in said
    assert "is now claims.json.damaged" in said
    assert (folder / "claims.json.damaged").read_text() == text


REST = {"claims": lambda _: (), "report": lambda folder: ("--to", str(folder / "page.html"))}


def test_one_bad_byte_does_not_cost_the_other_figures_verdicts(folder):
    path = folder / "claims.json"
    whole = path.read_bytes()
    path.write_bytes(b"\xff" + whole[1:])
    said = add_result(folder, "fig1", "quick", result(notes=()))
    assert "it is not UTF-8 text" in said
    assert (folder / "claims.json.damaged").read_bytes() == b"\xff" + whole[1:]
    path.write_bytes(whole[:-9])  # another time, under another name
    assert "claims.json.damaged2" in add_result(folder, "fig1", "quick", result())
    assert (folder / "claims.json.damaged").read_bytes() == b"\xff" + whole[1:]


@pytest.mark.parametrize("name", ["fig1", "quick", "verdicts"])
def test_of_a_key_that_stands_twice_neither_is_lost(folder, name):
    path = folder / "claims.json"
    text = path.read_text().replace(f'"{name}": ', f'"{name}": {{}}, "{name}": ', 1)
    path.write_text(text)
    with pytest.raises(InputError, match=f"the key '{name}' stands twice"):
        read_results(folder)
    assert "is now claims.json.damaged" in add_result(folder, "fig4", "quick", result())
    assert (folder / "claims.json.damaged").read_text() == text


def test_what_can_be_read_beside_a_damage_is_taken_over(folder):
    damaged(folder, lambda figures: figures["fig1"]["quick"].update(seeds="abc"))
    said = add_result(folder, "fig1", "paper", result("quick"))
    assert "Results of fig1 were taken over" in said
    assert set(read_results(folder)["fig1"]) == {"authors", "paper"}


def test_what_was_not_computed_is_read_under_its_name_from_files_that_had_none(tmp_path):
    """It was written as "undecided"; any other outcome does not follow from its values."""
    claim = next(one for one in CLAIMS if one.figure == "fig3")
    left_out = judge(claim, [missing(NO_RUN)], is_one_draw=True)
    add_result(tmp_path, "fig3", "authors", Result((0,), "D=6", {}, (), (left_out,)))
    path = tmp_path / "claims.json"
    text = path.read_text()
    assert text.count("no printed run") == 1
    path.write_text(text.replace('"no printed run"', '"undecided"'))
    [verdict] = read_results(tmp_path)["fig3"]["authors"].verdicts
    assert verdict.outcome == "no printed run"
    path.write_text(text.replace('"no printed run"', '"not met"'))
    with pytest.raises(InputError, match="does not follow from its values"):
        read_results(tmp_path)


FIRST_EDITION = {"figures": {"fig1": {"preset": "paper", "seeds": [0], "claims": []}}}


def test_results_of_the_first_edition_are_one_sentence_and_stay(tmp_path, capsys):
    path = tmp_path / "claims.json"
    path.write_text(json.dumps(FIRST_EDITION))
    before = sorted(tmp_path.rglob("*"))
    for command in (
        ["claims"],
        ["report", "--to", str(tmp_path / "x.html")],
        ["reproduce", "fig4"],
    ):
        with pytest.raises(SystemExit) as left:
            main([*command, "--out", str(tmp_path)])
        assert left.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "results of the first edition" in line
        assert "nothing was changed" in line
    assert json.loads(path.read_text()) == FIRST_EDITION
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(InputError, match="first edition"):
        add_result(tmp_path, "fig1", "quick", result())


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "", "3", "null", '{"edition": 3, "figures": {}}']
)
def test_foreign_content_is_one_sentence_and_set_aside(tmp_path, content):
    (tmp_path / "claims.json").write_text(content)
    require_second_edition(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_results(tmp_path)
    add_result(tmp_path, "fig1", "quick", result())
    assert (tmp_path / "claims.json.damaged").read_text() == content
    assert list(read_results(tmp_path)) == ["fig1"]


def test_what_is_not_a_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "claims.json")
    with pytest.raises(InputError, match="wanted a regular file"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("low = 1.5", 'low = "high"', "claim.0.low"),
        ("low = 1.5", "", "give low, high or both"),
        ("low = 1.5", "low = 1.5\nhigh = 1.0", "in order"),
        ('statistic = "t_te/t_tr"', 'statistics = "t_te/t_tr"', "claim.0.statistic"),
        ("low = 1.5", "low = 1.5\nlimit = 3", "claim.0.limit"),
        ('name = "train loss falls first"', 'name = "test loss rises"', "twice"),
        ('after = "runs"', 'after = "lunch"', "history.0.after"),
        (
            'claims = ["fig1: alignment over random labels grows"]',
            'claims = ["fig1: x"]',
            "fig1: x",
        ),
        ("[[history]]", "[[history", "cannot be read"),
    ],
)
def test_a_table_of_claims_that_is_wrong_is_one_sentence(old, new, words):
    text = table_text("claims.toml")
    start = text.index("\n[[")  # the header says such words too
    assert old in text[start:]
    with pytest.raises(InputError) as caught:
        read_table(text[:start] + text[start:].replace(old, new, 1))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value).rstrip()
    assert read_table(text).claim == CLAIMS


def test_results_of_several_writers_at_a_time_are_all_kept(tmp_path, monkeypatch):
    def slowly(path, content, write=_results.write_json):
        time.sleep(0.05)
        write(path, content)

    monkeypatch.setattr(_results, "write_json", slowly)
    figures = [f"fig{n}" for n in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        said = pool.map(
            lambda name: add_result(tmp_path, name, "quick", Result((0,), "", {}, (), ())), figures
        )
        assert set(said) == {""}
    assert [*read_results(tmp_path)] == figures
