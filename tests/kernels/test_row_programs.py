"""Oracle: random programs on each row by itself; what is called row-wise gives the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.row_programs import random_program

from lazyrich._base import InputError
from lazyrich.kernels._predictor_call import predictor_call

NUMBERS_OF_ROWS = (4, 2, 5, 7, 6, 3)
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def largest_gap(predict, w, x):
    """Between all rows at once and each by itself, in values and gradients of a random sum."""

    def pulled(w, x, cotangent):
        values, pull = jax.vjp(predict, w, x)
        return values, *pull(cotangent)

    signs = np.random.default_rng(5).normal(size=len(x))
    together = jax.jit(pulled).lower(w, x, signs).compile(QUICKLY)
    alone = jax.jit(pulled).lower(w, x[:1], signs[:1]).compile(QUICKLY)
    gaps = []
    for rows in (x, 3 * jnp.round(x), x.at[1:].set(x[0])):
        each = [alone(w, rows[i : i + 1], signs[i : i + 1]) for i in range(len(x))]
        values, of_w, of_x = zip(*each, strict=True)
        wanted = np.concatenate(values), np.sum(of_w, 0), np.concatenate(of_x)
        for a, b in zip(together(w, rows, signs), wanted, strict=True):
            a, b = np.nan_to_num(a, nan=1e9), np.nan_to_num(b, nan=1e9)
            gaps.append(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12))
    return max(gaps)


def is_called_row_wise(seed):
    """Whether a random program is; what the program says is then held against its values."""
    rng, n = np.random.default_rng(seed), NUMBERS_OF_ROWS[seed % len(NUMBERS_OF_ROWS)]
    w, x = jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(rng.normal(size=(n, 3)))
    predict = random_program(seed)
    try:
        is_row_wise = predictor_call(predict, w, x).is_row_wise()
    except InputError:
        return False
    if is_row_wise:
        try:
            gap = largest_gap(predict, w, x)
        except ValueError as error:
            if "Reverse-mode differentiation does not work" not in str(error):
                raise
            return False  # a loop of unknown length, whose kernel is refused
        assert gap < 1e-7, seed
    return is_row_wise


# Ones among the features, as many as there are rows; a choice by the number of rows.
@pytest.mark.parametrize("seed", [240, 445, 965, 1422, 9])
def test_what_is_called_row_wise_is(seed):
    is_called_row_wise(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(2000, 2600, 100))
def test_what_is_called_row_wise_is_in_many_programs(start):
    found = [is_called_row_wise(seed) for seed in range(start, start + 100)]
    assert 5 <= sum(found) <= 60
