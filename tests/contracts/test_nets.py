"""Oracle: laws every registered net keeps: compiled = plain, batched = one by one, exact zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter

from lazyrich.kernels import check_predictor, ntk
from lazyrich.models import NETS, AnyNet, scale_output

SETTINGS = {
    "committee": [{"width": 6, "epsilon": 0.3, "readouts": "normal", "degree": 3}],
    "mlp": [{"widths": (6, 5), "activation": "tanh"}],
    "transformer": [{"d_model": 8, "n_heads": 2, "d_mlp": 10}],
}
N_ROWS, N_OUTPUTS, VOCABULARY = 5, 3, 7


def nets():
    assert set(SETTINGS) == set(NETS), "every registered net needs settings to be tested with"
    for kind, several in SETTINGS.items():
        for settings in several:
            yield TypeAdapter(AnyNet).validate_python({"kind": kind, **settings})


@pytest.fixture(params=nets(), ids=lambda net: net.kind, scope="module")
def net(request):
    return request.param


def inputs(net):
    rng = np.random.default_rng(0)
    if net.takes == "tokens":
        return jnp.asarray(rng.integers(0, VOCABULARY, (N_ROWS, 3)))
    return jnp.asarray(rng.normal(size=(N_ROWS, 3)))


def init(net, key=0, **kwargs):
    return net.init(
        jax.random.key(key),
        n_inputs=3,
        n_outputs=None if net.kind == "committee" else N_OUTPUTS,
        vocabulary=VOCABULARY if net.takes == "tokens" else None,
        **kwargs,
    )


def test_it_is_a_predictor_of_the_promised_shape(net):
    params, x = init(net), inputs(net)
    check_predictor(net.predictor(), params, x)
    shape = (N_ROWS,) if net.kind == "committee" else (N_ROWS, N_OUTPUTS)
    assert net.predictor()(params, x).shape == shape


def test_compiled_is_plain_and_batched_is_one_by_one(net):
    x, predict = inputs(net), net.predictor()
    several = [init(net, key) for key in range(3)]
    one_by_one = np.stack([predict(params, x) for params in several])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    compiled = jax.jit(jax.vmap(predict, (0, None)))(stacked, x)
    # Sums in another order: a few ulp of float64.
    np.testing.assert_allclose(compiled, one_by_one, rtol=1e-12, atol=1e-13)
    batch = jax.vmap(lambda key: init(net, key))(jnp.arange(3))
    for ours, wanted in zip(jax.tree.leaves(batch), jax.tree.leaves(stacked), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12)


def test_the_precision_is_kept(net):
    x = inputs(net)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), init(net))
    x = x if net.takes == "tokens" else x.astype(jnp.float32)
    hyperparameters = {name: getattr(net, name) for name in net.dynamic_hyperparameters}
    for predict in (net.predictor(), net.predictor(**hyperparameters)):
        output, gradient = jax.value_and_grad(lambda p, f=predict: f(p, x).sum())(single)
        assert output.dtype == jnp.float32
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.float32)}


def test_the_gradient_reaches_every_parameter(net):
    # Away from the start, where biases may be zero and a ReLU dead.
    params, x = jax.tree.map(lambda leaf: leaf + 0.1, init(net)), inputs(net)
    gradient = jax.grad(lambda p: jnp.square(net.predictor()(p, x)).sum())(params)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert np.any(leaf != 0)


@pytest.mark.parametrize("alpha", [0.1, 100.0])
def test_a_centred_net_is_exactly_zero_at_the_start(net, alpha):
    params, x = init(net), inputs(net)
    centred = scale_output(net.predictor(), params, alpha)
    assert (jax.jit(centred)(params, x) == 0).all()
    moved = jax.tree.map(lambda leaf: leaf + 0.1, params)
    assert np.abs(centred(moved, x)).max() > 1e-3 * alpha


def test_the_weight_scale_multiplies_every_parameter(net):
    plain = jax.tree.leaves(init(net))
    scaled = jax.tree.leaves(jax.jit(lambda s: init(net, weight_scale=s))(3.0))
    for one, three in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(three, 3 * one, rtol=1e-12)
        assert one.dtype == three.dtype


def test_the_tangent_kernel_is_finite_and_positive(net):
    kernel = np.asarray(ntk(net.predictor(), init(net), inputs(net)))
    size = N_ROWS * (1 if kernel.ndim == 2 else N_OUTPUTS)
    flat = kernel if kernel.ndim == 2 else kernel.transpose(0, 2, 1, 3).reshape(size, size)
    values = np.linalg.eigvalsh(flat)
    assert np.isfinite(flat).all()
    assert values[-1] > 0
    assert values[0] >= -1e-12 * values[-1]


def test_settings_survive_being_written_down(net):
    adapter = TypeAdapter(AnyNet)
    assert adapter.validate_json(net.model_dump_json()) == net
    assert NETS[net.kind] is type(net)
