"""Oracle: the formulas of Eqs. 3 and 21 in NumPy, and Eq. 7 at the start, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee

from lazyrich._base import InputError
from lazyrich.models import committee_machine, init_committee_machine, scale_output


@pytest.mark.parametrize("readouts", ["fixed", "normal", "signs"])
def test_the_net_is_its_formula(readouts):
    params = init_committee_machine(jax.random.key(0), 9, dim=4, readouts=readouts)
    x = jax.random.normal(jax.random.key(1), (7, 4))
    expected = committee.output(
        np.asarray(params.weights), np.asarray(x), alpha=1, epsilon=0.3, readouts=params.readouts
    )
    np.testing.assert_allclose(committee_machine(0.3)(params, x), expected, rtol=1e-12)


def test_initial_weights_have_the_stated_spread_and_readouts_their_law():
    params = init_committee_machine(
        jax.random.key(2), 4000, dim=5, weight_scale=1.5, readouts="normal"
    )
    n = params.weights.size
    # Standard errors: σ/√(2n) for a standard deviation, 1/√N for a mean.
    assert abs(float(params.weights.std()) - 1.5) < 5 * 1.5 / np.sqrt(2 * n)
    assert abs(float(params.readouts.mean())) < 5 / np.sqrt(4000)
    signs = init_committee_machine(jax.random.key(2), 4000, dim=5, readouts="signs").readouts
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert abs(np.corrcoef(params.readouts, params.weights[:, 0])[0, 1]) < 5 / np.sqrt(4000)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e6])
def test_a_centred_net_is_exactly_zero_at_the_start(alpha):
    params = init_committee_machine(jax.random.key(3), 9, dim=4, readouts="normal")
    x = jax.random.normal(jax.random.key(4), (7, 4))
    scaled = scale_output(committee_machine(0.3), params, alpha)
    assert (jax.jit(scaled)(params, x) == 0).all()


def test_scaling_is_alpha_times_the_gap():
    predict = committee_machine(0.3)
    params0, params = (
        init_committee_machine(jax.random.key(k), 9, dim=4, readouts="normal") for k in (5, 6)
    )
    x = jax.random.normal(jax.random.key(7), (7, 4))
    gap = predict(params, x) - predict(params0, x)
    np.testing.assert_allclose(scale_output(predict, params0, 4.0)(params, x), 4 * gap)
    plain = scale_output(predict, params0, 4.0, center=False)
    np.testing.assert_allclose(plain(params, x), 4 * predict(params, x))


def test_the_dtype_of_the_input_is_kept():
    params = jax.tree.map(
        lambda a: a.astype(jnp.float32), init_committee_machine(jax.random.key(8), 9, dim=4)
    )
    x = jnp.ones((2, 4), jnp.float32)
    assert scale_output(committee_machine(0.3), params, 2.0)(params, x).dtype == jnp.float32


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: committee_machine(float("inf")), "epsilon is inf"),
        (lambda: init_committee_machine(jax.random.key(0), 0, dim=3), "width is 0"),
        (lambda: init_committee_machine(jax.random.key(0), 3, dim=-1), "dim is -1"),
        (
            lambda: init_committee_machine(jax.random.key(0), 3, dim=2, weight_scale=0.0),
            "weight_scale is 0.0",
        ),
        (lambda: scale_output(lambda p, x: x, None, 0.0), "alpha is 0.0"),
        (lambda: scale_output(lambda p, x: x, None, float("nan")), "alpha is nan"),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_unknown_readouts_get_one_sentence(unchecked):
    with pytest.raises(InputError, match="readouts is 'ones'; choose"):
        init_committee_machine(jax.random.key(0), 3, dim=2, readouts="ones")
