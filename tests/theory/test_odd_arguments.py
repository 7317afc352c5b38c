"""Oracle: a law: what cannot be meant gets one sentence, whole numbers of any type are numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.theory import (
    DynamicHyperparameters,
    EmpiricalLoss,
    Modes,
    PopulationLoss,
    WeightMoments,
    committee_kernel,
    committee_output,
    eigenspace_sizes,
    equivalent_weights,
    flow_interpolant,
    gradient_descent,
    gradient_flow,
    gradient_step,
    gradient_velocity,
    infinite_width,
    initial_eigenvalues,
    loss_terms,
    population_alignment,
    sample_sizes,
    tangent_split,
    weight_moments,
)

pytestmark = pytest.mark.usefixtures("unchecked")

RNG = np.random.default_rng(0)
X, WEIGHTS, BETA = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3)), np.array([1.0, 2.0, 0.0])
STATS = weight_moments(jnp.asarray(WEIGHTS))
LOSS = EmpiricalLoss(X, X[:, 0])
SCALARS = DynamicHyperparameters(1.0, 0.5, 0.1)
SLANTED = WeightMoments(STATS.mean_weight, np.triu(STATS.second_moment))


def descend(start=WEIGHTS, objective=LOSS, hyperparameters=SCALARS, **options):
    return gradient_descent(
        start, objective, hyperparameters=hyperparameters, eval_steps=[0, 2], **options
    )


# Weights where their moments are wanted, tuples where records are, and so on.
OF_ANOTHER_KIND = {
    "moments of the kernel": lambda: committee_kernel(WEIGHTS, X, alpha=1, epsilon=1, width=5),
    "moments of the output": lambda: committee_output(WEIGHTS, X, alpha=1, epsilon=1),
    "moments of the rows": lambda: equivalent_weights(WEIGHTS),
    "moments of the alignment": lambda: population_alignment(WEIGHTS, BETA, epsilon=1),
    "moments of the loss": lambda: loss_terms(WEIGHTS, BETA, alpha=1, epsilon=1),
    "moments of a step": lambda: gradient_step(WEIGHTS, LOSS, hyperparameters=SCALARS),
    "origin of a step": lambda: gradient_velocity(
        STATS, LOSS, hyperparameters=SCALARS, origin=WEIGHTS
    ),
    "displacement": lambda: tangent_split((1, 2, 3), STATS, X, alpha=1, epsilon=1, width=5),
    "modes": lambda: sample_sizes((1.0, 2.0, 3.0)),
    "objective": lambda: descend(objective=(X, X[:, 0])),
    "query": lambda: descend(query="test"),
    "hyperparameters": lambda: descend(hyperparameters={"alpha": 1.0, "epsilon": 0.5}),
}


@pytest.mark.parametrize("what", OF_ANOTHER_KIND)
def test_a_record_of_another_kind_is_named(what):
    with pytest.raises(InputError, match=r" is an? \w+; give \w+\.$"):
        OF_ANOTHER_KIND[what]()


@pytest.mark.parametrize(
    "call",
    [
        lambda: committee_kernel(SLANTED, X, alpha=1, epsilon=1, width=5),
        lambda: equivalent_weights(SLANTED),
        lambda: loss_terms(SLANTED, BETA, alpha=1, epsilon=1),
        lambda: population_alignment(SLANTED, BETA, epsilon=1),
        lambda: descend(SLANTED),
        lambda: gradient_step(SLANTED, LOSS, hyperparameters=SCALARS),
        lambda: descend(objective=PopulationLoss(np.triu(np.ones((3, 3))))),
        lambda: gradient_step(
            STATS, PopulationLoss(np.triu(np.ones((3, 3)))), hyperparameters=SCALARS
        ),
    ],
)
def test_a_matrix_that_is_not_symmetric_is_refused(call):
    with pytest.raises(InputError, match="not symmetric"):
        call()


@pytest.mark.parametrize("momentum", [1, 1.5, -0.1, True, None, np.nan])
def test_momentum_outside_of_its_range_is_refused(momentum):
    with pytest.raises(InputError, match="momentum is"):
        descend(hyperparameters=SCALARS._replace(momentum=momentum))


@pytest.mark.parametrize("dim", [2.5, 0, -3, None, "3", np.nan, [3]])
@pytest.mark.parametrize(
    "call", [eigenspace_sizes, infinite_width, lambda dim: initial_eigenvalues(dim, epsilon=1)]
)
def test_a_number_of_inputs_is_whole_and_above_zero(call, dim):
    with pytest.raises(InputError, match=r"^dim is"):
        call(dim)


@pytest.mark.parametrize("dim", [np.int8(100), np.uint8(100), jnp.int32(100), np.int64(100)])
def test_sizes_do_not_overflow_the_type_of_the_number_of_inputs(dim):
    assert eigenspace_sizes(dim) == Modes(100, 5049, 1)
    assert eigenspace_sizes(np.int32(10**5)).quadratic == 10**5 * (10**5 + 1) // 2 - 1


@pytest.mark.parametrize("scalar", [np.inf, np.nan, None])
@pytest.mark.parametrize("name", ["alpha", "epsilon"])
def test_a_scalar_of_the_output_is_finite(name, scalar):
    with pytest.raises(InputError, match=f"^{name} is"):
        committee_output(STATS, X, **({"alpha": 1, "epsilon": 1} | {name: scalar}))


def test_a_history_of_starts_goes_with_a_history_of_its_length():
    def history(length):
        return WeightMoments(np.ones((length, 3)), np.stack([np.eye(3)] * length))

    for start in (history(2), infinite_width(3)):
        loss_terms(history(2), BETA, alpha=1, epsilon=1, start=start)
    with pytest.raises(InputError, match="give one start, or one for each"):
        loss_terms(history(2), BETA, alpha=1, epsilon=1, start=history(5))


@pytest.mark.parametrize("tolerance", [0, -1, np.nan, None, "a"])
def test_the_tolerance_of_a_flow_is_above_zero(tolerance):
    with pytest.raises(InputError, match=r"^rtol is"):
        gradient_flow(WEIGHTS, LOSS, hyperparameters=SCALARS, eval_t=[1.0], rtol=tolerance)


def test_a_flow_is_read_at_times_of_any_type():
    at = flow_interpolant(WEIGHTS, LOSS, hyperparameters=SCALARS, t_end=1)
    for start, end in ((0, 1), (0.0, 1.0), (np.float32(0), np.int8(1)), (jnp.int32(0), True)):
        np.testing.assert_allclose(at(start).second_moment, STATS.second_moment)
        np.testing.assert_allclose(at(end).second_moment, at(1.0).second_moment)
    assert np.isnan(at(2).mean_weight).all()
    assert np.isnan(at(-1).mean_weight).all()
    for odd in ("1", [0.5], None):
        with pytest.raises(InputError, match=r"^t "):
            at(odd)
