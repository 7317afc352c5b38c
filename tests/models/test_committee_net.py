"""Oracle: Eqs. 3 and 21 and the explicit sum of Hermite coefficients, in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee, networks

from lazyrich._base import InputError
from lazyrich.models import CommitteeNet, committee_machine, hermite

X = jnp.asarray(np.random.default_rng(0).normal(size=(7, 4)))


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4, 7])
def test_hermite_polynomials(degree):
    h = jnp.linspace(-3, 3, 25)
    np.testing.assert_allclose(hermite(h, degree), networks.hermite(h, degree), atol=1e-11)


def test_hermite_polynomials_are_orthogonal_under_the_normal_law():
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    values = np.stack([hermite(jnp.asarray(nodes), k) for k in range(6)])
    gram = values * weights @ values.T / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(gram, np.diag([math.factorial(k) for k in range(6)]), atol=1e-11)


@pytest.mark.parametrize("readouts", ["fixed", "normal", "signs"])
@pytest.mark.parametrize("degree", [None, 2, 3, 4])
def test_the_net_is_its_formula(readouts, degree):
    net = CommitteeNet(width=9, epsilon=0.3, readouts=readouts, degree=degree)
    params = net.init(jax.random.key(1), n_inputs=4, n_outputs=None, weight_scale=1.5)
    weights = np.asarray(params.weights)
    h = np.asarray(X) @ weights.T
    curved = h**2 if degree is None else networks.hermite(h, degree)
    v = np.ones(9) if params.readouts is None else np.asarray(params.readouts)
    expected = (h + 0.15 * curved) @ v / 9
    np.testing.assert_allclose(net.predictor()(params, X), expected, rtol=1e-11)
    if degree is None:
        other = committee.output(
            weights, np.asarray(X), alpha=1, epsilon=0.3, readouts=params.readouts
        )
        np.testing.assert_allclose(expected, other, rtol=1e-12)


def test_epsilon_may_be_traced_and_stands_in_for_the_setting():
    net = CommitteeNet(width=9, epsilon=0.3)
    params = net.init(jax.random.key(1), n_inputs=4, n_outputs=None)
    batched = jax.jit(jax.vmap(lambda epsilon: net.predictor(epsilon=epsilon)(params, X)))
    for epsilon, row in zip([0.0, 0.7], batched(jnp.array([0.0, 0.7])), strict=True):
        np.testing.assert_allclose(row, committee_machine(epsilon)(params, X), rtol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: CommitteeNet(degree=1), "degree is 1"),
        (lambda: CommitteeNet(width=0), "width is 0"),
        (lambda: CommitteeNet(readouts="ones"), "readouts is 'ones'"),
        (lambda: committee_machine(0.1, degree=0), "degree is 0; take a Hermite degree"),
        (
            lambda: CommitteeNet().init(jax.random.key(0), n_inputs=3, n_outputs=10),
            "gives one number and the task needs 10",
        ),
        (
            lambda: CommitteeNet().init(
                jax.random.key(0), n_inputs=3, n_outputs=None, vocabulary=5
            ),
            "takes vectors and the task gives tokens",
        ),
        (
            lambda: CommitteeNet().init(
                jax.random.key(0), n_inputs=3, n_outputs=None, weight_scale=0.0
            ),
            "weight_scale is 0.0",
        ),
        (lambda: CommitteeNet().predictor(width=3.0), "no dynamic hyperparameter width"),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
