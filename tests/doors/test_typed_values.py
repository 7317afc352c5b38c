"""Oracle: sentences as they are stated, from the commands in this process; nothing is computed."""

import json

import numpy as np
import pytest

from lazyrich._base import Status
from lazyrich.cli import main
from lazyrich.sweeps import Outcome, Store, outcome_of
from lazyrich.training import CommitteeExperiment, History, Record

EXACT = CommitteeExperiment(dim=5, width=8, n_train=20, n_steps=4, n_test=20, n_evals=3)


def refused(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


def answered(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert not left.value.code
    return capsys.readouterr().out


@pytest.fixture
def store(tmp_path):
    """Two runs that ended: one with an infinite loss, one that failed."""
    loss = Record(np.array([1.0, np.inf]), "label units²")
    records = {"train_loss": loss, "test_loss": Record(loss.values * np.nan, "label units²")}
    ended = outcome_of(History(EXACT, np.array([0, 4]), records, Status.diverged, None, 0.1))
    other = outcome_of(
        History(EXACT.changed({"seed": 1}), np.zeros(0, int), {}, Status.ok, None, 0.1)
    )
    kept = Store(tmp_path / "store")
    for outcome in (ended, Outcome(**(other._asdict() | {"status": "failed", "error": "no"}))):
        kept.save(outcome)
    return tmp_path / "store"


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["train", "polynomial", "--set", "seed=true"], "seed is True, wanted a number"),
        (["train", "polynomial", "--set", 'seed="1"'], "seed is '1', wanted a number"),
        (["train", "polynomial", "--set", "alpha=４"], "not a number in plain notation"),
        (["train", "polynomial", "--set", "alpha=1\n"], "not a number in plain notation"),
        (["train", "polynomial", "--set", "metrics=" + "[" * 1000 + "]" * 1000], "nested deeper"),
        (["train", "polynomial", "--set", "width=1000000000"], "lower net.width"),
        (["sweep", "polynomial", "--over", "seed=0:1000000000"], "1 000 000 000 experiments, more"),
        (["sweep", "polynomial", "--dry", "--over", "seed=0:99999999999999999999"], "experiments,"),
        (["sweep", "polynomial", "--over", "alpha=log:1:2:1000000000"], "more than --limit"),
        (
            ["sweep", "polynomial", "--over", "seed=0:2000", "--over", "alpha=log:1:2:900"],
            "1 800 000",
        ),
        (["sweep", "polynomial", "--over", "seed=0:9", "--limit", "5"], "more than --limit (5)"),
        (["sweep", "polynomial", "--over", "seed=٣:9"], "seed is"),
        (["sweep", "polynomial", "--over", "alpha=1_0,2"], "not a number in plain notation"),
        (["sweep", "polynomial", "--over", "seed=0:9", "--batch-size", "1.5"], "whole number"),
        (["reproduce", "fig1", "--seeds", "1.5"], "whole number"),
        (["reproduce", "fig1", "--seeds", "1000000"], "1 000 000 seeds is"),
        (["reproduce", "fig1", "--set", "seed=true"], "seed is True"),
    ],
    ids=lambda part: part if isinstance(part, str) else " ".join(part)[:60],
)
def test_one_sentence_and_exit_code_2(capsys, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(capsys, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("explore", "--port"),
        ("sweep", "polynomial", "--limit"),
        ("sweep", "polynomial", "--batch-size"),
        ("reproduce", "fig1", "--seeds"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("text", ["x", "1.5", ""])
def test_an_option_is_named_once(capsys, words, text):
    said = refused(capsys, *words, text)
    assert said.count(words[-1]) == 1, said
    assert f"it is {text!r}; wanted a whole number" in said


@pytest.mark.parametrize("text", ['{"seed": 1, "seed": 2}', '{"a":' * 1000, "[]", '{"dim": NaN}'])
def test_files_of_experiments_are_read_by_the_same_rules(capsys, tmp_path, text):
    path = tmp_path / "e.json"
    path.write_text(text)
    assert len(refused(capsys, "train", path, "--out", tmp_path / "out")) < 400


@pytest.mark.parametrize(
    "condition", ["seed=true", 'seed="1"', "seed=１", "seed=1_0", "seed=" + "[" * 2000, "seed=nan"]
)
def test_filters_compare_like_with_like(capsys, store, condition):
    assert "The condition" in refused(capsys, "show", store, "--where", condition)


def test_filters_read_numbers_as_settings_do(capsys, store):
    for condition in ("seed=1.", "seed<=1e0", "alpha=.1e1"):
        assert json.loads(answered(capsys, "show", store, "--where", condition, "--json"))


def test_a_list_as_json_is_json(capsys, store):
    def no_constant(name):
        raise AssertionError(name)

    rows = json.loads(answered(capsys, "show", store, "--json"), parse_constant=no_constant)
    assert {row["train_loss"] for row in rows} == {"inf", None}
    assert {row["test_loss"] for row in rows} == {"nan", None}


def test_where_nothing_can_be_drawn_it_says_so(store, tmp_path, capsys):
    words = ["show", str(store), "--where", "status=failed", "--plot", str(tmp_path / "x.png")]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "nothing to plot" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
