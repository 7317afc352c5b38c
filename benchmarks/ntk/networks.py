"""Networks of all kinds, their sizes and their inputs.

Written against ``jax.numpy`` and ``jax.lax`` alone, so that old JAX versions
(neural-tangents' side environment) run the very same functions.
"""

import jax
import jax.numpy as jnp
import numpy as np

SIZES = {}


def network(n_rows, row, traced=True, tokens=0, **shapes):
    """Name a network, its parameters' shapes and its rows."""

    def keep(predict):
        SIZES[predict.__name__] = (predict, shapes, n_rows, row, traced, tokens)
        return predict

    return keep


def convolve(x, filters, stride=1, **options):
    numbers = ("NWC", "WIO", "NWC") if x.ndim == 3 else ("NHWC", "HWIO", "NHWC")
    strides = (stride,) * (x.ndim - 2)
    return jax.lax.conv_general_dilated(
        x, filters, strides, "SAME", dimension_numbers=numbers, **options
    )


def normalise(x, gain=1.0):
    x = x - x.mean(-1, keepdims=True)
    return gain * x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)


def pool(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def attend(p, x, heads=4, mask=None):
    n, t, d = x.shape
    q, k, v = (x @ p[name] for name in ("q", "k", "v"))
    q, k, v = (a.reshape(n, t, heads, d // heads) for a in (q, k, v))
    scores = jnp.einsum("bthk,buhk->bhtu", q, k) / np.sqrt(d // heads)
    scores = scores if mask is None else jnp.where(mask, scores, -1e9)
    return jnp.einsum("bhtu,buhk->bthk", jax.nn.softmax(scores), v).reshape(n, t, d) @ p["o"]


def block(p, x, **options):
    x = x + attend(p, normalise(x, p["g1"]), **options)
    return x + jax.nn.gelu(normalise(x, p["g2"]) @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]


def attention_shapes(d):
    square = dict.fromkeys("qkvo", (d, d))
    wide = {"w1": (d, 4 * d), "b1": (4 * d,), "w2": (4 * d, d), "b2": (d,)}
    return square | wide | {"g1": (d,), "g2": (d,)}


# --- dense networks -------------------------------------------------------------------------


@network(200, (100,), w=(100, 300))
def committee(p, x):
    fields = x @ p["w"]
    return (fields + 0.01 * fields**2).mean(1)


@network(100, (784,), a=(784, 100), b=(100,), c=(100, 100), d=(100,), e=(100, 10))
def mlp(p, x):
    return jax.nn.relu(jax.nn.relu(x @ p["a"] + p["b"]) @ p["c"] + p["d"]) @ p["e"]


@network(64, (64,), traced=False, a=(64, 128), b=(128,), c=(128, 128), d=(128,), e=(128, 5))
def mlp_full(p, x):
    return jnp.tanh(jnp.tanh(x @ p["a"] + p["b"]) @ p["c"] + p["d"]) @ p["e"]


@network(100, (64,), w=(8, 64, 64), b=(8, 64), v=(64, 3))
def deep_residual(p, x):
    for w, b in zip(p["w"], p["b"], strict=True):
        x = x + jnp.tanh(x @ w + b)
    return x @ p["v"]


@network(100, (64,), w=(8, 64, 64), v=(64, 3))
def scanned_layers(p, x):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, p["w"])[0] @ p["v"]


@network(100, (64,), a=(64, 128), g=(128,), b=(128,), c=(128, 10))
def layer_normalised(p, x):
    return jax.nn.gelu(normalise(x @ p["a"], p["g"]) + p["b"]) @ p["c"]


@network(100, (64,), a=(64, 128), g=(128,), b=(128,), c=(128, 10))
def batch_normalised(p, x):
    """In inference mode."""
    mean, variance = np.linspace(-1, 1, 128), np.linspace(0.5, 2, 128)
    h = (x @ p["a"] - mean) / np.sqrt(variance + 1e-5) * p["g"] + p["b"]
    return jax.nn.relu(h) @ p["c"]


@network(100, (64,), a=(64, 128), g=(128,), b=(128,), c=(128, 10))
def weight_normalised(p, x):
    w = p["g"] * p["a"] / jnp.sqrt((p["a"] ** 2).sum(0))
    return jax.nn.relu(x @ w + p["b"]) @ p["c"]


@network(100, (64,), a=(64, 128), b=(64, 128), c=(128, 64), v=(64, 5))
def gated(p, x):
    return (x + (jax.nn.silu(x @ p["a"]) * (x @ p["b"])) @ p["c"]) @ p["v"]


@network(100, (64,), w=(64, 64), v=(64, 3))
def tied_layers(p, x):
    for _ in range(3):
        x = jnp.tanh(x @ p["w"])
    return x @ p["v"]


@network(100, (64,), a=(64, 4), b=(4, 128), c=(128, 10))
def low_rank(p, x):
    frozen = np.cos(np.arange(64 * 128.0).reshape(64, 128)) / 8
    return jax.nn.relu(x @ (frozen + p["a"] @ p["b"])) @ p["c"]


@network(200, (2,), a=(2, 128), b=(128,), c=(128, 128), d=(128,), e=(128, 3))
def sines(p, x):
    return jnp.sin(jnp.sin(x @ p["a"] * 10 + p["b"]) @ p["c"] + p["d"]) @ p["e"]


@network(64, (64,), gate=(64, 4), a=(4, 64, 64), c=(4, 64, 5))
def mixture_of_experts(p, x):
    weights = jax.nn.softmax(x @ p["gate"])
    hidden = jax.nn.relu(jnp.einsum("nd,edh->neh", x, p["a"]))
    return jnp.einsum("neh,ehc,ne->nc", hidden, p["c"], weights)


@network(100, (32,), u=(32, 32), v=(32, 32), w=(32, 3))
def bilinear(p, x):
    return ((x @ p["u"]) * (x @ p["v"])) @ p["w"]


# --- convolutions ---------------------------------------------------------------------------


@network(32, (28, 28, 1), a=(5, 5, 1, 6), b=(6,), c=(5, 5, 6, 16), d=(16,), e=(784, 84), f=(84, 10))
def lenet(p, x):
    x = pool(jax.nn.relu(convolve(x, p["a"]) + p["b"]))
    x = pool(jax.nn.relu(convolve(x, p["c"]) + p["d"]))
    return jax.nn.relu(x.reshape(len(x), -1) @ p["e"]) @ p["f"]


@network(
    16, (16, 16, 3), stem=(3, 3, 3, 8), a=(3, 3, 8, 8), b=(3, 3, 8, 16), c=(3, 3, 16, 16),
    s=(1, 1, 8, 16), out=(16, 10),
)  # fmt: skip
def small_resnet(p, x):
    x = jax.nn.relu(convolve(x, p["stem"]))
    x = jax.nn.relu(x + convolve(x, p["a"]))
    inner = convolve(jax.nn.relu(convolve(x, p["b"], 2)), p["c"])
    return jax.nn.relu(inner + convolve(x, p["s"], 2)).mean((1, 2)) @ p["out"]


@network(16, (16, 16, 3), stem=(3, 3, 3, 16), deep=(3, 3, 1, 16), wide=(1, 1, 16, 32), out=(32, 10))
def separable(p, x):
    x = jax.nn.relu(convolve(x, p["stem"], 2))
    x = jax.nn.relu(convolve(x, p["deep"], feature_group_count=16))
    return jax.nn.relu(convolve(x, p["wide"])).mean((1, 2)) @ p["out"]


@network(32, (64, 4), a=(3, 4, 16), b=(3, 16, 16), c=(3, 16, 16), out=(16, 3))
def dilated_sequence(p, x):
    x = jnp.tanh(convolve(x, p["a"]))
    x = x + jnp.tanh(convolve(x, p["b"], rhs_dilation=(2,)))
    return (x + jnp.tanh(convolve(x, p["c"], rhs_dilation=(4,)))).mean(1) @ p["out"]


# --- sequences, sets and graphs -------------------------------------------------------------


@network(32, (16, 32), **attention_shapes(32), out=(32, 10))
def encoder(p, x):
    return block(p, x).mean(1) @ p["out"]


@network(32, (16,), tokens=20, e=(20, 32), place=(16, 32), **attention_shapes(32), out=(32, 20))
def decoder(p, t):
    x = p["e"][t] + p["place"]
    return (block(p, x, mask=np.tril(np.ones((16, 16), bool))) @ p["out"])[:, -1]


@network(32, (16, 32), a=(16, 32), b=(32, 16), c=(32, 64), d=(64, 32), out=(32, 10))
def mixer(p, x):
    x = x + jnp.swapaxes(jax.nn.gelu(jnp.swapaxes(normalise(x), 1, 2) @ p["a"]) @ p["b"], 1, 2)
    return (x + jax.nn.gelu(normalise(x) @ p["c"]) @ p["d"]).mean(1) @ p["out"]


@network(32, (12, 16), w=(16, 32), u=(32, 32), b=(32,), out=(32, 5))
def recurrent(p, x):
    step = lambda h, row: (jnp.tanh(row @ p["w"] + h @ p["u"] + p["b"]), None)  # noqa: E731
    return jax.lax.scan(step, jnp.zeros((len(x), 32)), jnp.swapaxes(x, 0, 1))[0] @ p["out"]


@network(32, (12, 16), w=(16, 96), u=(32, 96), b=(96,), out=(32, 5))
def gated_recurrent(p, x):
    def step(h, row):
        z, r, n = jnp.split(row @ p["w"] + p["b"], 3, -1)
        a, b, c = jnp.split(h @ p["u"], 3, -1)
        z, r = jax.nn.sigmoid(z + a), jax.nn.sigmoid(r + b)
        return z * h + (1 - z) * jnp.tanh(n + r * c), None

    return jax.lax.scan(step, jnp.zeros((len(x), 32)), jnp.swapaxes(x, 0, 1))[0] @ p["out"]


@network(64, (3,), tokens=500, e=(500, 32), w=(32, 32))
def tied_embedding(p, t):
    return jnp.tanh(p["e"][t].sum(1) @ p["w"]) @ p["e"].T[:, :5]


@network(64, (10, 8), a=(8, 64), b=(64, 64), c=(64, 64), d=(64, 3))
def set_of_points(p, x):
    return jax.nn.relu(jax.nn.relu(jax.nn.relu(x @ p["a"]) @ p["b"]).sum(1) @ p["c"]) @ p["d"]


@network(32, (20, 8), a=(8, 32), b=(32, 32), out=(32, 3))
def graph(p, x):
    """Two rounds of messages on a ring."""
    ring = np.eye(20) + np.roll(np.eye(20), 1, 0) + np.roll(np.eye(20), -1, 0)
    x = jax.nn.relu(ring @ x @ p["a"])
    return jax.nn.relu(ring @ x @ p["b"]).mean(1) @ p["out"]


# --- larger networks, run when they are named ------------------------------------------------

ZOO = list(SIZES)


def decoder_shapes(layers, d, n_positions, n_outputs=10):
    stacked = {name: (layers, *shape) for name, shape in attention_shapes(d).items()}
    return stacked | {"e": (20, d), "place": (n_positions, d), "out": (d, n_outputs)}


CAUSAL = np.tril(np.ones((32, 32), bool))
STACKED = sorted(attention_shapes(1))


def layer(p, x, mask=CAUSAL):
    return block(p, x, mask=mask)


@network(32, (32,), tokens=20, **decoder_shapes(4, 64, 32))
def decoder_written_out(p, t, apply=layer):
    x = p["e"][t] + p["place"]
    for k in range(4):
        x = apply({name: p[name][k] for name in STACKED}, x)
    return (x @ p["out"])[:, -1]


@network(32, (32,), tokens=20, **decoder_shapes(4, 64, 32))
def decoder_rematerialised(p, t):
    return decoder_written_out(p, t, jax.checkpoint(layer))


@network(32, (32,), tokens=20, **decoder_shapes(4, 64, 32))
def decoder_scanned(p, t):
    layers = {name: p[name] for name in STACKED}
    step = lambda x, one: (layer(one, x), None)  # noqa: E731
    return (jax.lax.scan(step, p["e"][t] + p["place"], layers)[0] @ p["out"])[:, -1]


@network(32, (64, 48), patch=(48, 64), **decoder_shapes(4, 64, 64))
def vision_transformer(p, x):
    x = x @ p["patch"] + p["place"]
    for k in range(4):
        x = layer({name: p[name][k] for name in STACKED}, x, None)
    return x.mean(1) @ p["out"]


@network(64, (28, 28, 1), a=(5, 5, 1, 6), b=(6,), c=(5, 5, 6, 16), d=(16,), e=(784, 84), f=(84, 10))
def lenet_64(p, x):
    return lenet(p, x)


def residual_shapes(widths=(16, 32, 64)):
    shapes, before = {"stem": (3, 3, 3, widths[0]), "out": (widths[-1], 10)}, widths[0]
    for k, width in enumerate(widths):
        shapes |= {f"a{k}": (3, 3, before, width), f"b{k}": (3, 3, width, width)}
        shapes |= {f"s{k}": (1, 1, before, width), f"g{k}": (width,), f"h{k}": (width,)}
        before = width
    return shapes


@network(32, (32, 32, 3), **residual_shapes())
def resnet(p, x, norm=lambda x, gain, shift: x + shift):
    x = jax.nn.relu(convolve(x, p["stem"]))
    for k, stride in enumerate((1, 2, 2)):
        inner = jax.nn.relu(norm(convolve(x, p[f"a{k}"], stride), p[f"g{k}"], p[f"h{k}"]))
        x = jax.nn.relu(convolve(x, p[f"s{k}"], stride) + convolve(inner, p[f"b{k}"]))
    return x.mean((1, 2)) @ p["out"]


@network(32, (32, 32, 3), **residual_shapes())
def resnet_batch_normalised(p, x):
    """In inference mode."""

    def norm(x, gain, shift):
        mean = np.linspace(-1, 1, x.shape[-1])
        return (x - mean) / np.sqrt(1 + mean**2) * gain + shift

    return resnet(p, x, norm)


def inputs(name, dtype, n_rows=None):
    _, shapes, n, row, _, tokens = SIZES[name]
    rng = np.random.default_rng(0)
    params = {}
    for key, shape in sorted(shapes.items()):
        fan_in = np.prod(shape[:-1]) if len(shape) != 3 else shape[1]
        scale = 1 if len(shape) == 1 else fan_in**-0.5
        params[key] = jnp.asarray(rng.normal(size=shape) * scale, dtype)
    n = n_rows or n
    drawn = rng.integers(0, tokens, (n, *row)) if tokens else rng.normal(size=(n, *row))
    return params, jnp.asarray(drawn, None if tokens else dtype)
