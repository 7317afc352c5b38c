"""Oracle: the same network written by hand on plain arrays."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.kernels import check_predictor, linearize, ntk, ntk_operator

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))


def by_hand(params, x):
    """Two layers with weights (out, in), as equinox keeps them."""
    (w1, b1), (w2, b2) = params
    return jnp.tanh(x @ w1.T + b1) @ w2.T + b2


def assert_same_instruments(predict, params, layers):
    """Kernel, operator and linearized of a framework's model are those of its plain copy."""
    check_predictor(predict, params, X)
    wanted = ntk(by_hand, layers, X)
    np.testing.assert_allclose(ntk(predict, params, X), wanted, rtol=1e-10, atol=1e-10)
    v = jnp.ones((5, wanted.shape[-1]))
    np.testing.assert_allclose(
        ntk_operator(predict, params, X, block_size=2)(v),
        jnp.einsum("ijab,jb->ia", wanted, v),
        rtol=1e-9,
        atol=1e-9,
    )
    moved = jax.tree.map(lambda a: a + 0.1, params)
    moved_layers = jax.tree.map(lambda a: a + 0.1, layers)
    np.testing.assert_allclose(
        linearize(predict, params)(moved, X),
        linearize(by_hand, layers)(moved_layers, X),
        rtol=1e-10,
        atol=1e-10,
    )


def test_equinox():
    model = eqx.nn.MLP(3, 2, 8, 1, activation=jnp.tanh, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def predict(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    assert_same_instruments(predict, params, [(layer.weight, layer.bias) for layer in model.layers])
    with pytest.raises(InputError, match=r"eqx\.partition"):
        ntk(lambda model, x: jax.vmap(model)(x), model, X)


def test_equinox_dropout_and_batch_statistics():
    keys = jax.random.split(jax.random.key(0), 3)
    first, dropout = eqx.nn.Linear(3, 4, key=keys[0]), eqx.nn.Dropout(0.5)

    def dropped(params, x, inference):
        row_keys = jax.random.split(keys[1], len(x))
        hidden = jax.vmap(lambda r, k: dropout(params(r), key=k, inference=inference))(x, row_keys)
        return hidden.sum(1)

    with pytest.raises(InputError, match="switch dropout off"):
        check_predictor(lambda p, x: dropped(p, x, False), first, X)
    check_predictor(lambda p, x: dropped(p, x, True), first, X)


def test_flax_linen(require_extra):
    require_extra("flax")
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            hidden = jnp.tanh(nn.Dense(8, param_dtype=jnp.float64)(x))
            return nn.Dense(2, param_dtype=jnp.float64)(hidden)

    model = Net()
    params = model.init(jax.random.key(0), X)["params"]
    layers = [(params[name]["kernel"].T, params[name]["bias"]) for name in ("Dense_0", "Dense_1")]
    assert_same_instruments(lambda p, x: model.apply({"params": p}, x), params, layers)


def test_flax_linen_dropout_and_batch_statistics(require_extra):
    require_extra("flax")
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            hidden = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
            hidden = nn.Dropout(0.5, deterministic=not train)(hidden)
            return nn.Dense(2)(hidden)

    model = Net()
    variables = model.init(jax.random.key(0), X, train=False)
    params, stats = variables["params"], variables["batch_stats"]

    def apply(params, x, train):
        out = model.apply(
            {"params": params, "batch_stats": stats},
            x,
            train=train,
            rngs={"dropout": jax.random.key(1)},
            mutable=["batch_stats"],
        )
        return out[0]

    check_predictor(lambda p, x: apply(p, x, False), params, X)
    with pytest.raises(InputError, match="switch dropout off"):
        check_predictor(lambda p, x: apply(p, x, True), params, X)
    with pytest.raises(InputError, match="returned a tuple"):
        check_predictor(
            lambda p, x: model.apply(
                {"params": p, "batch_stats": stats}, x, train=False, mutable=["batch_stats"]
            ),
            params,
            X,
        )


def test_flax_nnx(require_extra):
    require_extra("flax")
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 8, param_dtype=jnp.float64, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)
            self.second = nnx.Linear(8, 2, param_dtype=jnp.float64, rngs=rngs)

        def __call__(self, x):
            return self.second(self.dropout(jnp.tanh(self.first(x))))

    model = Net(nnx.Rngs(0))
    layers = [(layer.kernel[...].T, layer.bias[...]) for layer in (model.first, model.second)]

    def predictor_of(model):
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        return lambda params, x: nnx.merge(graph, params, rest, copy=True)(x), params

    model.eval()
    assert_same_instruments(*predictor_of(model), layers)
    model.train()
    with pytest.raises(InputError, match="switch dropout off"):
        check_predictor(*predictor_of(model), X)


@pytest.mark.parametrize(
    "predict, message",
    [
        (lambda p, x: x @ p - (x @ p).mean(0), "mixes the rows"),
        (lambda p, x: jnp.argmax(x @ p, 1), "no derivative"),
        (lambda p, x: jnp.squeeze(x @ p[:, :1]), "do not squeeze the first axis"),
        (lambda p, x: (x @ p).T, r"returned shape \(2, 5\)"),
        (lambda p, x: jnp.log(-jnp.abs(x @ p)), "values that are NaN"),
        (lambda p, x: jnp.sqrt(jnp.abs(0 * (x @ p))), "gradient is NaN"),
    ],
)
def test_functions_that_are_no_predictors(predict, message):
    with pytest.raises(InputError, match=message):
        check_predictor(predict, jnp.ones((3, 2)), X)


def test_impure_functions_and_bad_parameters():
    calls = []

    def impure(p, x):
        calls.append(0)
        return x @ p + len(calls)

    with pytest.raises(InputError, match="must be pure"):
        check_predictor(impure, jnp.ones((3, 2)), X)
    with pytest.raises(InputError, match="parameter 0 holds"):
        check_predictor(lambda p, x: x @ p, jnp.full((3, 2), jnp.nan), X)


def test_rounding_of_another_batch_size_is_no_mixing():
    rng = np.random.default_rng(0)
    params = [jnp.asarray(rng.normal(size=(300, 300)) / 17, jnp.float32) for _ in range(4)]
    x = jnp.asarray(rng.normal(size=(64, 300)), jnp.float32)

    def deep(params, x):
        for w in params:
            x = jnp.maximum(x @ w, 0)
        return x[:, :5]

    check_predictor(deep, params, x)
