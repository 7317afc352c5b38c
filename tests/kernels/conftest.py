"""Compilations are kept by program; tests of other settings of a program need their own."""

import pytest

from lazyrich.kernels._ntk import _entry as _ntk
from lazyrich.kernels._ntk._program_key import Cache


@pytest.fixture
def compiles_anew(monkeypatch):
    """Use no compilation that another test has made, and leave none behind."""
    monkeypatch.setattr(_ntk, "_COMPILED", Cache(8))
