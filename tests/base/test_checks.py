"""Oracle: the rule of each check, tried on numbers at, above and below its edge."""

import jax
import jax.numpy as jnp
import pytest

from lazyrich import scale_output
from lazyrich._base import (
    InputError,
    hermite,
    real_array,
    require_nonnegative,
    require_positive,
)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, [1, 2], jnp.zeros(3), None, True])
def test_zero_and_above_pass(value):
    require_nonnegative(ridge=value)


@pytest.mark.parametrize("value", [-1, [1.0, -1e-30], jnp.array([-2.0]), float("nan"), [1, 1e400]])
def test_negative_and_not_finite_numbers_are_named(value):
    with pytest.raises(InputError, match=r"^ridge (is|holds) "):
        require_nonnegative(cutoff=1.0, ridge=value)


@pytest.mark.parametrize("value", [2j, 1 + 0j, jnp.array([1j])])
@pytest.mark.parametrize("check", [require_positive, require_nonnegative])
def test_complex_numbers_have_no_order(check, value, unchecked):
    with pytest.raises(InputError, match="give real numbers"):
        check(alpha=value)
    with pytest.raises(InputError, match="real"):
        scale_output(lambda params, x: x @ params, jnp.ones(2), value)


def test_traced_numbers_pass():
    def checked(value):
        require_nonnegative(ridge=value)
        return value

    assert jax.jit(checked)(-1.0) == -1.0


def test_hermite_polynomials_of_low_degree():
    h = jnp.array([-1.5, 0.0, 2.0])
    for degree, expected in enumerate((h**0, h, h**2 - 1, h**3 - 3 * h, h**4 - 6 * h**2 + 3)):
        assert jnp.allclose(hermite(h, degree), expected)


class Silent:
    """A value of somebody else's that fails without a word."""

    def __array__(self, *_, **__):
        raise RuntimeError


@pytest.mark.parametrize("value", [Silent(), [Silent()]])
def test_a_value_that_fails_without_a_word_gets_a_sentence(value):
    with pytest.raises(InputError, match=r"^x is a .* not an array of numbers \(RuntimeError\); "):
        real_array("x", value)
