"""Oracle: the grammar of plain numbers as a table, and Python's own values for random ones."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich._base import (
    InputError,
    matching_paths,
    nearest_name,
    read_changes,
    read_json,
    read_value,
    read_whole_number,
    shown,
    value_text,
)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("8", 8),
        ("-3", -3),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("true", True),
        ("null", None),
        ("mlp", "mlp"),
        ('"4"', "4"),
        ("[]", []),
        ('{"kind": "adam"}', {"kind": "adam"}),
        ("/a/b-1.0.npz", "/a/b-1.0.npz"),
    ],
)
def test_plain_values_are_read(text, wanted):
    found = read_value(text)
    assert found == wanted
    assert type(found) is type(wanted)


@settings(max_examples=100)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15))
def test_every_number_as_python_writes_it_comes_back(number):
    for text in (repr(number), json.dumps(number), value_text(number)):
        assert read_value(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "1_000",
        "４",
        "٣",
        "1_0.5",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1\n",
        "\t1",
        "1e999",
        "9" * 5000,
        "[NaN]",
        "[1e999]",
        '{"a": 1, "a": 2}',
        '{"b": {"a": 1, "a": 1}}',
        "[" * 1000 + "]" * 1000,
        "[" * 100_000,
        '{"a":' * 1000,
        "[1",
        "{",
        "a\nb",
        "a\x1b[31m",
        "",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_would_have_to_be_guessed_is_refused_in_a_short_sentence(text):
    with pytest.raises(InputError) as raised:
        read_value(text)
    assert len(str(raised.value)) < 250
    assert "\x1b" not in str(raised.value)


@settings(max_examples=200)
@given(st.text(alphabet="0123456789._eE+-４٣infa ", max_size=8))
def test_what_python_takes_for_a_number_is_one_in_plain_notation_or_refused(text):
    try:
        found = read_value(text)
    except InputError:
        return
    try:
        number = float(text)
    except ValueError:
        return
    assert isinstance(found, int | float)
    assert found == number
    assert math.isfinite(found)
    assert text.isascii()
    assert "_" not in text


def test_a_large_refused_value_is_not_repeated():
    for value in ("x" * 10**8, 10**100_000, ["y" * 10**6] * 100, {"a": "z" * 10**6}):
        assert len(shown(value)) < 700


def test_changes_are_read_once_for_each_name():
    assert read_changes(["alpha=.5", "net.kind=mlp"]) == {"alpha": 0.5, "net.kind": "mlp"}
    for wrong, words in (
        (["alpha=1", "alpha=2"], "--set names alpha twice"),
        (["alpha"], "NAME=VALUE"),
        (["=1"], "NAME=VALUE"),
        (["alpha=1_0"], "--set cannot read the value of alpha"),
    ):
        with pytest.raises(InputError, match=words):
            read_changes(wrong)


@pytest.mark.parametrize("text", ["1.5", "1e1", "٣", "", "3\n", "0x3", "1_0", "9" * 400])
def test_counts_are_whole_numbers_as_they_are_typed(text):
    with pytest.raises(InputError, match=r"--seeds is .*whole number"):
        read_whole_number(text, name="--seeds")


def test_a_name_stands_for_itself_before_it_stands_for_an_end():
    paths = ["alpha", "scaling.alpha", "net.kind", "task.kind"]
    assert matching_paths("alpha", paths) == ["alpha"]
    assert matching_paths("kind", paths) == ["net.kind", "task.kind"]
    assert matching_paths("pha", paths) == []


def test_the_nearest_name_is_found_fast_for_long_names_too():
    assert nearest_name("sclaing.alpha", ["scaling.alpha", "seed"]) == "did you mean scaling.alpha?"
    assert nearest_name("q" * 10**7, ["alpha"]) == "choose from alpha"


def test_json_files_say_where_they_are_broken():
    with pytest.raises(InputError, match=r"not JSON .*line 1"):
        read_json("{")
