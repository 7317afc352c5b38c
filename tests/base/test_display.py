"""Oracle: English grammar, for names of types with each kind of beginning."""

import uuid
from collections import OrderedDict

import numpy as np
import pytest

from lazyrich._base import kind_of


class _Awaited:
    pass


@pytest.mark.parametrize(
    "value, words",
    [
        (3, "an int"),
        (object(), "an object"),
        (Ellipsis, "an ellipsis"),
        (OrderedDict(), "an OrderedDict"),
        (_Awaited(), "an _Awaited"),
        ("mlp", "a str"),
        ([], "a list"),
        (True, "a bool"),
        (np.uint8(3), "a uint8"),
        (uuid.UUID(int=3), "a UUID"),
        (int, "a type"),
        (None, "None"),
    ],
)
def test_a_type_is_named_with_its_article(value, words):
    assert kind_of(value) == words
