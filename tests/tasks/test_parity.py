"""Oracle: products of Python integers, and moments in closed form."""

import math

import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.tasks import ParityTask


def task(**changes):
    return ParityTask(**({"dim": 6, "n_relevant": 3, "n_train": 12, "n_test": 7} | changes))


@pytest.mark.parametrize("n_relevant", [1, 2, 6])
def test_labels_are_products_of_the_relevant_signs(n_relevant):
    data = task(n_relevant=n_relevant).sample(0)
    relevant = data.target.tolist()
    assert len(set(relevant)) == n_relevant
    assert relevant == sorted(relevant)
    for x, y in [(data.x, data.y), (data.x_test, data.y_test)]:
        rows = np.asarray(x).astype(int).tolist()
        assert {sign for row in rows for sign in row} == {-1, 1}
        assert y.tolist() == [math.prod(row[i] for i in relevant) for row in rows]


def test_every_coordinate_can_be_relevant():
    chosen = {place for seed in range(40) for place in task().sample(seed).target.tolist()}
    assert chosen == set(range(6))


def test_no_fewer_coordinates_explain_the_label():
    n = 20_000
    data = task(n_test=n).sample(1)
    x, y = np.asarray(data.x_test), np.asarray(data.y_test)
    i, j, k = data.target
    # Each mean of n signs has the standard error n^-1/2.
    for product in (1, x[:, i], x[:, i] * x[:, j], x[:, j] * x[:, k], *x.T):
        assert abs((y * product).mean()) < 5 / n**0.5


def test_more_relevant_than_inputs_gets_one_sentence():
    with pytest.raises(InputError, match="n_relevant is 10, more than the 6 inputs of dim"):
        task(n_relevant=10)
