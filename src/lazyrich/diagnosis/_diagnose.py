"""Diagnose a network in JAX from two checkpoints."""

from jaxtyping import PyTree

from lazyrich._base import Params, Predictor

from ._diagnosis import Diagnosis, diagnosis_of
from ._evidence import Loss, Optimization, ProbeBatch
from ._jax import Features, Network, Settings


def diagnose(
    predict: Predictor,
    params0: Params,
    params: Params,
    x: PyTree,
    y: PyTree = None,
    *,
    x_test: PyTree = None,
    y_test: PyTree = None,
    loss: Loss | None = None,
    features: Features | None = None,
    optimization: Optimization | None = None,
    settings: Settings | None = None,
) -> Diagnosis:
    """Is a network lazy or rich, does it generalise late, and what would make it sooner?

    Measures, on the given rows, how far the network at θ has left its linearization and its
    tangent kernel at θ₀; how well labels fit the kernel; and what is known to delay
    generalisation. Nothing is trained.

    Args:
        predict: a predictor; its outputs are logits for cross-entropy.
        params0: θ₀, at the start or another reference; None describes
            ``params`` alone: fit, logits and features, without a regime.
        params: θ, later, a tree like it.
        x: training rows, some dozens to some hundreds.
        y: their labels: values of the outputs' shape, or classes as whole numbers.
        x_test: rows that it was not trained on.
        y_test: their labels.
        loss: ``"mse"`` or ``"cross_entropy"``; None infers it from the labels.
        features: from parameters and rows to the inputs of the last layer, (n, p).
        optimization: learning rate, weight decay and kind of the optimizer.
        settings: number of random directions, kind of kernel, seed.

    Returns:
        A Diagnosis: print it, or ask it for ``to_dict()`` or ``to_html(path)``.

    Raises:
        InputError: if the checkpoints do not fit the predictor or each other, if they or
            the outputs are not finite, if labels do not fit, or with fewer than 4 rows.

    Example:
        >>> import jax.numpy as jnp
        >>> linear = lambda w, x: x @ w
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
        >>> w = jnp.array([1.0, -1.0])
        >>> diagnose(linear, jnp.zeros(2), w, x, x @ w).regime
        <Regime.LAZY: 'lazy'>

    References:
        Kumar et al. (2024); Chizat, Oyallon and Bach (2019).
    """
    probe = ProbeBatch(x, y, x_test, y_test, loss)
    is_alone = params0 is None
    reference, name = (params, "params") if is_alone else (params0, "params0")
    network = Network(predict, reference, probe, settings or Settings(), name)
    evidence = network.evidence(
        network.require_like(params),
        features=features,
        optimization=optimization,
        is_alone=is_alone,
    )
    return diagnosis_of(evidence, network.setup())
