"""Oracle: the errata of the theory page, and what a measurement must say of a wrong form."""

import re
from pathlib import Path

import jax
import pytest

from lazyrich.paper.errata import _checks, errata

PAGE = Path(__file__).parents[2] / "docs" / "theory.md"


@pytest.fixture(scope="module")
def measured():
    with jax.enable_x64(False):  # as from the command line
        return errata()


def test_every_correction_holds_and_every_print_fails(measured):
    for one in measured:
        assert one.is_confirmed == one.is_measured, one
    assert [one.where for one in measured if not one.is_measured] == ["cross references"]


def test_they_are_those_of_the_theory_page(measured):
    text = PAGE.read_text(encoding="utf-8").partition("## Errata")[2]
    rows = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)[1:]
    assert rows == sorted((one.where for one in measured), key=rows.index)


def test_a_wrong_correction_is_found(monkeypatch):
    right = _checks.initial_eigenvalues

    def wrong(dim, *, epsilon):
        return right(dim, epsilon=epsilon**0.5)  # the paper's ε for ε²

    monkeypatch.setattr(_checks, "initial_eigenvalues", wrong)
    error_printed, error_holds = _checks.quadratic_eigenvalue()
    assert error_holds == pytest.approx(error_printed, rel=1e-5)
    assert error_holds > 0.1
