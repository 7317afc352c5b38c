"""Oracle: the layers in plain NumPy, PyTorch's module, closed forms of the initial law."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import networks, torch_nets

from lazyrich._base import InputError
from lazyrich.kernels import ntk
from lazyrich.models import MLP, MLPNet

X = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)))
WIDTHS = (6, 4)


def init(net, n_outputs=3, **kwargs):
    return net.init(jax.random.key(1), n_inputs=5, n_outputs=n_outputs, **kwargs)


def multipliers(parameterisation):
    return {
        "standard": [1, 1, 1],
        "ntk": [1 / math.sqrt(5), 1 / math.sqrt(6), 1 / math.sqrt(4)],
        "mean_field": [1 / math.sqrt(5), 1 / math.sqrt(6), 1 / 4],
    }[parameterisation]


@pytest.mark.parametrize("activation", sorted(networks.PHI))
@pytest.mark.parametrize("parameterisation", ["standard", "ntk", "mean_field"])
def test_the_net_is_its_layers(activation, parameterisation):
    net = MLPNet(widths=WIDTHS, activation=activation, parameterisation=parameterisation)
    params = init(net, weight_scale=2.0)
    expected = networks.mlp(
        params.weights,
        params.biases,
        X,
        activation=activation,
        multipliers=multipliers(parameterisation),
    )
    np.testing.assert_allclose(net.predictor()(params, X), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("activation", "use_bias"), [("relu", True), ("tanh", False), ("gelu", True)]
)
def test_outputs_and_gradients_are_those_of_pytorch(require_extra, activation, use_bias):
    torch = require_extra("torch")
    net = MLPNet(widths=WIDTHS, activation=activation, use_bias=use_bias)
    params = init(net)
    arrays = jax.tree.map(np.asarray, params)
    module = torch_nets.mlp(torch, arrays.weights, arrays.biases, activation)
    theirs = module(torch.tensor(np.array(X)))
    np.testing.assert_allclose(net.predictor()(params, X), theirs.detach(), rtol=1e-11, atol=1e-13)
    theirs.sin().sum().backward()
    ours = jax.grad(lambda p: jnp.sin(net.predictor()(p, X)).sum())(params)
    linear = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    for weight, layer in zip(ours.weights, linear, strict=True):
        np.testing.assert_allclose(weight, layer.weight.grad.T, rtol=1e-10, atol=1e-13)
    for bias, layer in zip(ours.biases or (), linear if use_bias else (), strict=True):
        np.testing.assert_allclose(bias, layer.bias.grad, rtol=1e-10, atol=1e-13)


def test_figure_2_is_the_quadratic_net_of_the_authors():
    net = MLPNet(
        widths=(8,),
        activation="square",
        parameterisation="mean_field",
        initial="normal",
        use_bias=False,
    )
    params = init(net)
    first, second = (np.asarray(weight) for weight in params.weights)
    expected = (np.asarray(X) @ first) ** 2 @ second / (5 * 8)
    np.testing.assert_allclose(net.predictor()(params, X), expected, rtol=1e-12)


def test_one_number_has_no_axis_of_its_own():
    net = MLPNet(widths=WIDTHS)
    one, axis = init(net, n_outputs=None), init(net, n_outputs=1)
    assert net.predictor()(one, X).shape == (7,)
    np.testing.assert_array_equal(net.predictor()(one, X), net.predictor()(axis, X)[:, 0])


def test_standard_and_ntk_forms_begin_as_the_same_function_but_learn_apart():
    forms = [MLPNet(widths=(50, 50), parameterisation=form) for form in ("standard", "ntk")]
    standard, tangent = (init(net) for net in forms)
    np.testing.assert_allclose(standard(X), tangent(X), rtol=1e-10)
    # One layer's kernel is 1/(its inputs) of the other's; together, between 1/50 and 1/5.
    kernels = [
        ntk(net.predictor(), p, X) for net, p in zip(forms, (standard, tangent), strict=True)
    ]
    ratio = np.trace(kernels[1][..., 0, 0]) / np.trace(kernels[0][..., 0, 0])
    assert 1 / 50 < ratio < 1 / 5


def test_the_mean_field_kernel_shrinks_with_width_and_the_ntk_does_not():
    def size(parameterisation, width):
        net = MLPNet(
            widths=(width,), parameterisation=parameterisation, initial="normal", activation="tanh"
        )
        params = net.init(jax.random.key(2), n_inputs=5, n_outputs=None)
        return float(jnp.trace(ntk(net.predictor(), params, X)))

    # The kernel is a mean over units: spread about 1/√400 between the widths.
    assert size("ntk", 1600) / size("ntk", 400) == pytest.approx(1, abs=0.2)
    assert size("mean_field", 1600) / size("mean_field", 400) == pytest.approx(1 / 4, abs=0.05)


@pytest.mark.parametrize("parameterisation", ["standard", "ntk"])
@pytest.mark.parametrize("initial", ["uniform", "normal", "kaiming", "unit_normal"])
def test_initial_parameters_follow_their_law(parameterisation, initial):
    net = MLPNet(widths=(400,), parameterisation=parameterisation, initial=initial)
    params = net.init(jax.random.key(3), n_inputs=100, n_outputs=400, weight_scale=3.0)
    scale = 3.0 * (np.array([1, 1]) if parameterisation == "ntk" else 1 / np.sqrt([100, 400]))
    if initial == "kaiming":  # √(2/n) in every form
        scale = 3.0 * np.sqrt([2 / 100, 2 / 400])
    if initial == "unit_normal":
        scale = 3.0 * np.ones(2)
    for arrays in (params.weights, params.biases):
        for array, bound in zip(arrays, scale, strict=True):
            if initial == "uniform":
                assert bound * 0.98 < float(jnp.abs(array).max()) <= bound
            spread = bound / math.sqrt(3) if initial == "uniform" else bound
            # Five standard errors of a standard deviation, σ/√(2n) at most.
            assert float(array.std()) == pytest.approx(spread, rel=5 / math.sqrt(2 * array.size))
            assert abs(float(array.mean())) < 5 * spread / math.sqrt(array.size)


def test_layers_draw_from_keys_of_their_own():
    params = MLPNet(widths=(50, 50), parameterisation="ntk", initial="normal").init(
        jax.random.key(4), n_inputs=50, n_outputs=50
    )
    flat = [weight.ravel() for weight in params.weights]
    correlation = np.corrcoef(flat) - np.eye(3)
    assert np.abs(correlation).max() < 5 / 50  # five standard errors, 1/√2500


def test_no_hidden_layer_is_a_linear_map():
    net = MLPNet(widths=())
    params = init(net)
    np.testing.assert_allclose(
        net.predictor()(params, X), X @ params.weights[0] + params.biases[0], rtol=1e-12
    )


def test_the_same_settings_give_the_same_function():
    assert MLPNet().predictor() is MLPNet(widths=(3,)).predictor()
    assert isinstance(init(MLPNet()), MLP)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: MLPNet(widths=(3, 0)), "widths.1 is 0"),
        (lambda: MLPNet(activation="sine"), "activation is 'sine'"),
        (lambda: MLPNet(parameterisation="mup"), "parameterisation is 'mup'"),
        (lambda: init(MLPNet(), vocabulary=3), "An MLP takes vectors"),
        (lambda: init(MLPNet(), n_outputs=0), "n_outputs is 0"),
        (lambda: init(MLPNet(), weight_scale=-1.0), "weight_scale is -1.0"),
        (lambda: MLPNet().predictor(epsilon=0.1), "dynamic hyperparameter epsilon; it has: none"),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
