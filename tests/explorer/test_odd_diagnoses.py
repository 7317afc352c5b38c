"""Oracle: the rule itself: a file is shown as strict JSON in UTF-8, or refused in a sentence."""

import json

import pytest

from lazyrich import InputError
from lazyrich.explorer import page_text
from lazyrich.explorer._server import _json
from lazyrich.explorer._source import read_document

ADVICE = ("cause", "mechanism", "evidence", "knob", "predicted_effect")
ODD = [None, True, 1.5, -5, 2**60, "x", "nan", "\0", "</script>", "\ud800", [1], {"a": 1}]


def diagnosis(**changes):
    rows = [{"step": 1, "gap": 0.1}, {"step": 2, "gap": 0.3}]
    plain = {"regime": "rich", "reason": "r", "readings": {"a": {"title": "t", "value": 1.0}}}
    return plain | {"advice": [], "notes": [], "records": rows} | changes


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize(
    "place",
    [
        lambda odd: {"records": [{"step": odd, "gap": 1.0}, {"step": 9, "gap": 2.0}]},
        lambda odd: {"records": [{"step": 1, "gap": odd}, {"step": 9, "gap": 2.0}]},
        lambda odd: {"readings": {"a": {"title": odd, "value": odd}}},
        lambda odd: {"advice": [dict.fromkeys(ADVICE, odd)]},
        lambda odd: {"reason": odd},
        lambda odd: {"notes": [odd]},
    ],
    ids=["step", "record", "reading", "advice", "reason", "note"],
)
def test_it_is_shown_or_refused(odd, place, tmp_path):
    path = tmp_path / "diagnosis.json"
    path.write_text(json.dumps(diagnosis(**place(odd))), encoding="ascii")
    try:
        shown = read_document(path)
    except InputError:
        return
    _json(shown.index)
    page_text(shown.with_curves()).encode()


def test_a_plain_one_is_shown(tmp_path):
    path = tmp_path / "diagnosis.json"
    path.write_text(json.dumps(diagnosis()), encoding="ascii")
    assert read_document(path).curves[0].steps.tolist() == [1, 2]


@pytest.mark.parametrize("as_page", [False, True])
def test_a_byte_order_mark_is_no_part_of_it(as_page, tmp_path):
    text = json.dumps(diagnosis())
    if as_page:
        text = f"<!DOCTYPE html>\n<summary>show</summary><pre>{text}</pre>"
    path = tmp_path / "diagnosis.json"
    path.write_text(text, encoding="utf-8-sig")
    assert read_document(path).index["diagnosis"]["regime"] == "rich"
