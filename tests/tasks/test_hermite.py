"""Oracle: numpy.polynomial.hermite_e, and moments in closed form with standard errors."""

import math

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermeval

from lazyrich._base import InputError
from lazyrich.tasks import HermiteTask


def task(**changes):
    return HermiteTask(**({"dim": 6, "degree": 3, "n_train": 12, "n_test": 7} | changes))


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 7])
def test_labels_are_hermite_polynomials_of_the_projection(degree):
    data = task(degree=degree).sample(0)
    for x, y in [(data.x, data.y), (data.x_test, data.y_test)]:
        expected = hermeval(np.asarray(x @ data.target[0]), [0] * degree + [1])
        # Recurrence and Clenshaw round differently where terms of size 1e3 cancel.
        np.testing.assert_allclose(y, expected, rtol=1e-11, atol=4e-11)


def test_the_direction_has_length_root_dim():
    assert float(np.square(task().sample(3).target).sum()) == pytest.approx(6, rel=1e-14)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_moments_of_the_labels(degree):
    y = np.asarray(task(degree=degree, n_test=100_000).sample(1).y_test)
    for draws, exact in [(y, 0), (y**2, math.factorial(degree))]:
        assert abs(draws.mean() - exact) < 5 * draws.std() / len(y) ** 0.5


@pytest.mark.parametrize("degree", [0, 13, 2.5])
def test_degrees_out_of_range_get_one_sentence(degree):
    with pytest.raises(InputError, match=rf"^HermiteTask cannot be made: degree is {degree}"):
        task(degree=degree)
