"""Oracle: the same networks in JAX, whose kernel another implementation computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import lazyrich as lz  # noqa: E402
import lazyrich.torch as lzt  # noqa: E402


def mlp():
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))

    def predict(params, x):
        a, b, c, d = params
        return jax.nn.relu(x @ a.T + b) @ c.T + d

    return model, torch.randn(5, 6), predict


def cnn():
    layers = [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 2), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(12, 2))

    def convolved(x, weight, bias, stride, padding):
        found = jax.lax.conv_general_dilated(x, weight, stride, padding)
        return found + bias[None, :, None, None]

    def predict(params, x):
        a, b, c, d, e, f = params
        hidden = jnp.tanh(convolved(x, a, b, (2, 2), [(1, 1), (1, 1)]))
        hidden = convolved(hidden, c, d, (1, 1), "VALID")
        return hidden.reshape(len(x), -1) @ e.T + f

    return model, torch.randn(4, 2, 6, 6), predict


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.readout = nn.Linear(4, 2)

    def forward(self, x):
        return self.readout(self.attention(x, x, x, need_weights=False)[0].mean(1))


def attention():
    def predict(params, x):
        w_in, b_in, w_out, b_out, w, b = params
        n, s, _ = x.shape
        q, k, v = (
            part.reshape(n, s, 2, 2).transpose(0, 2, 1, 3)
            for part in jnp.split(x @ w_in.T + b_in, 3, axis=-1)
        )
        scores = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) / 2**0.5, axis=-1)
        mixed = (scores @ v).transpose(0, 2, 1, 3).reshape(n, s, 4)
        return (mixed @ w_out.T + b_out).mean(1) @ w.T + b

    return Attention(), torch.randn(3, 5, 4), predict


@pytest.mark.parametrize("make", [mlp, cnn, attention])
def test_kernel_is_that_of_the_network_in_jax(make):
    torch.manual_seed(0)
    model, x, predict = make()
    model, x = model.double().eval(), x.double()
    params = [jnp.asarray(p.detach().numpy()) for p in model.parameters()]
    rows = jnp.asarray(x.numpy())
    np.testing.assert_allclose(predict(params, rows), model(x).detach(), rtol=1e-12, atol=1e-14)
    wanted = np.asarray(lz.ntk(predict, params, rows))
    found = lzt.ntk(model, x).numpy()
    assert np.abs(found - wanted).max() < 1e-10 * np.abs(wanted).max()
