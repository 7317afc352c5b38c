"""Oracles: exact Gaussian quadrature of the network unit by unit; Monte Carlo at D = 6."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee_network, gaussian

from lazyrich._base import InputError
from lazyrich.theory import LossTerms, WeightMoments, infinite_width, loss_terms, weight_moments

ALPHA, EPSILON = 1.7, 0.6
SETTINGS = {"alpha": ALPHA, "epsilon": EPSILON}


def _network(seed, dim, width=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(width, dim)), rng.normal(size=width), 2 * rng.normal(size=(2, dim))


def _stats(weights, readouts=None):
    readouts = None if readouts is None else jnp.asarray(readouts)
    return weight_moments(jnp.asarray(weights), readouts)


@pytest.mark.parametrize("n_directions", [1, 2])
@pytest.mark.parametrize("readouts_trained", [False, True])
def test_terms_sum_to_the_mean_squared_error(n_directions, readouts_trained):
    dim = 3
    weights, readouts, directions = _network(0, dim)
    readouts = readouts if readouts_trained else np.ones(7)
    directions = directions[:n_directions]
    x, mass = gaussian.quadrature(dim, variance=1 / dim, order=4)
    f = committee_network.output(weights, readouts, x, **SETTINGS)
    exact = mass @ (committee_network.target(directions, x) - f) ** 2
    terms = loss_terms(_stats(weights, readouts), jnp.asarray(directions), **SETTINGS)
    assert float(terms.total) == pytest.approx(exact, rel=1e-11)


def test_each_term_is_what_it_is_named_after():
    dim = 3
    weights, _, directions = _network(1, dim)
    x, mass = gaussian.quadrature(dim, variance=1 / dim, order=4)
    f = committee_network.output(weights, np.ones(7), x, **SETTINGS)
    error = f - committee_network.target(directions, x)
    terms = loss_terms(_stats(weights), jnp.asarray(directions), **SETTINGS)
    odd = (f - committee_network.output(weights, np.ones(7), -x, **SETTINGS)) / 2
    assert float(terms.linear) == pytest.approx(mass @ odd**2, rel=1e-11)
    assert float(terms.variance) == pytest.approx((mass @ error) ** 2, rel=1e-11)
    even = mass @ (error - odd) ** 2 - (mass @ error) ** 2
    assert float(terms.misalignment) == pytest.approx(even, rel=1e-11)


def test_erratum_a_centred_network_needs_displacements():
    """Eq. 6 with M and w̄ themselves is not the centred network's loss; differences give it."""
    dim, n = 6, 400_000
    (weights, _, directions), (weights0, _, _) = _network(2, dim), _network(3, dim)
    weights = weights0 + 0.3 * weights  # trained a little
    x = gaussian.samples(dim, n, variance=1 / dim, seed=4)
    ones = np.ones(7)
    f, f0 = (committee_network.output(w, ones, x, **SETTINGS) for w in (weights, weights0))
    y = committee_network.target(directions, x)
    beta = jnp.asarray(directions)
    as_printed = loss_terms(_stats(weights), beta, **SETTINGS).total
    with_start = loss_terms(_stats(weights), beta, **SETTINGS, start=_stats(weights0)).total

    uncentred, error = gaussian.mean_and_error((y - f) ** 2)
    assert abs(uncentred - float(as_printed)) < 4.5 * error
    centred, error = gaussian.mean_and_error((y - (f - f0)) ** 2)
    assert abs(centred - float(with_start)) < 4.5 * error
    assert abs(centred - float(as_printed)) > 20 * error


def test_the_papers_minimum_has_no_loss():
    beta = jnp.array([1.0, -2.0, 0.5])
    solved = WeightMoments(jnp.zeros(3), jnp.outer(beta, beta) / (ALPHA * EPSILON))
    assert float(loss_terms(solved, beta, **SETTINGS).total) == pytest.approx(0, abs=1e-28)


def test_a_centred_network_starts_at_the_targets_own_power():
    beta = jnp.array([1.0, -2.0, 0.5])
    start = infinite_width(3)
    terms = loss_terms(start, beta, **SETTINGS, start=start)
    assert float(terms.total) == pytest.approx(3 * 5.25**2 / (4 * 3**2), rel=1e-12)
    assert float(terms.linear) == 0


def _history(seed=5, dim=3, n_evals=4):
    rng = np.random.default_rng(seed)
    return _stack([_stats(rng.normal(size=(7, dim))) for _ in range(n_evals)])


def _stack(entries):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *entries)


def test_a_history_is_treated_entry_by_entry():
    history, start, beta = _history(), infinite_width(3), jnp.array([1.0, 2.0, 3.0])
    together = loss_terms(history, beta, **SETTINGS, start=start)
    mapped = jax.jit(jax.vmap(lambda s: loss_terms(s, beta, **SETTINGS, start=start)))(history)
    for i in range(4):
        entry = WeightMoments(*(leaf[i] for leaf in history))
        alone = loss_terms(entry, beta, **SETTINGS, start=start)
        np.testing.assert_allclose([t[i] for t in together], alone, rtol=1e-12)
        np.testing.assert_allclose([t[i] for t in mapped], alone, rtol=1e-12)
        np.testing.assert_allclose(mapped.total[i], alone.total, rtol=1e-12)


def test_one_diverged_eval_steps_leaves_the_others_alone():
    history = _history()
    broken = history._replace(mean_weight=history.mean_weight.at[2].set(jnp.nan))
    total = loss_terms(broken, jnp.ones(3), **SETTINGS).total
    assert np.isnan(total).tolist() == [False, False, True, False]


def test_gradient_is_that_of_the_quadrature():
    """Central differences of the oracle, which is quadratic in the moments: exact but rounding."""
    dim = 2
    weights, _, directions = _network(6, dim)
    x, mass = gaussian.quadrature(dim, variance=1 / dim, order=4)
    y = committee_network.target(directions, x)

    def oracle(mean, moment):
        f = ALPHA * x @ mean + ALPHA * EPSILON / 2 * np.einsum("ni,ij,nj->n", x, moment, x)
        return mass @ (y - f) ** 2

    stats = _stats(weights)
    gradient = jax.grad(lambda s: loss_terms(s, jnp.asarray(directions), **SETTINGS).total)(stats)
    mean, moment = map(np.asarray, stats)
    for i in range(dim):
        step = 1e-4 * np.eye(dim)[i]
        slope = (oracle(mean + step, moment) - oracle(mean - step, moment)) / 2e-4
        assert float(gradient.mean_weight[i]) == pytest.approx(slope, rel=1e-7)
        step = 1e-4 * np.outer(np.eye(dim)[i], np.eye(dim)[i])
        slope = (oracle(mean, moment + step) - oracle(mean, moment - step)) / 2e-4
        assert float(gradient.second_moment[i, i]) == pytest.approx(slope, rel=1e-7)


def test_single_precision_is_kept_and_right_at_the_papers_size():
    dim = 100
    rng = np.random.default_rng(7)
    beta = rng.normal(size=dim)
    moment = np.eye(dim) + 40 * np.outer(beta, beta)
    double = WeightMoments(jnp.asarray(rng.normal(size=dim)), jnp.asarray(moment))
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), double)
    exact = loss_terms(double, jnp.asarray(beta), alpha=1.0, epsilon=0.02)
    terms = loss_terms(single, jnp.asarray(beta, jnp.float32), alpha=1.0, epsilon=0.02)
    assert {term.dtype for term in terms} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(terms, exact, rtol=2e-5)  # A = 0.8ββᵀ − ββᵀ loses a digit


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"alpha": np.inf}, "alpha is inf; it must be finite"),
        ({"epsilon": np.nan}, "epsilon is nan; it must be finite"),
        ({"directions": jnp.array([1.0, jnp.nan])}, "directions holds 1 entries"),
        ({"directions": jnp.ones(3)}, r"disagree with 3 inputs; wanted \(\.\.\., 3\)"),
        ({"start": infinite_width(4)}, r"mean_weight \(4,\)"),
        ({"stats": WeightMoments(jnp.ones((5, 2)), jnp.ones((4, 2, 2)))}, "same leading axes"),
    ],
)
def test_bad_input_is_refused(unchecked, changed, message):
    given = {"stats": infinite_width(2), "directions": jnp.ones(2), **SETTINGS} | changed
    with pytest.raises(InputError, match=message):
        loss_terms(**given)


def test_total_is_the_sum_of_the_three():
    terms = LossTerms(jnp.array(1.0), jnp.array(2.0), jnp.array(4.0))
    assert float(terms.total) == 7
