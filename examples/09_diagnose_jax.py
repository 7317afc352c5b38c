"""Two copies of one network, one trained lazily and one richly, and what their diagnoses say."""

from functools import partial

import jax
import jax.numpy as jnp

import lazyrich as lz

# JAX would draw other numbers in double precision.
normal = partial(jax.random.normal, dtype=jnp.float32)
keys = jax.random.split(jax.random.key(0), 4)
x, x_test = normal(keys[0], (40, 6)), normal(keys[1], (100, 6))
y, y_test = x[:, 0] * x[:, 1], x_test[:, 0] * x_test[:, 1]
params0 = {"w": normal(keys[2], (6, 64)), "v": normal(keys[3], (64,))}


def network(params, x):
    return jnp.tanh(x @ params["w"] / 6**0.5) @ params["v"] / 64**0.5


def trained(predict, learning_rate):
    loss = jax.grad(lambda params: jnp.square(predict(params, x) - y).mean())
    step = jax.jit(lambda p: jax.tree.map(lambda a, g: a - learning_rate * g, p, loss(p)))
    params = params0
    for _ in range(2000):
        params = step(params)
    return params


regimes = {}
for alpha, learning_rate in ((100.0, 0.5 / 100**2), (0.1, 5.0)):
    predict = lz.scale_output(network, params0, alpha)
    params = trained(predict, learning_rate)
    found = lz.diagnose(predict, params0, params, x, y, x_test=x_test, y_test=y_test)
    print(f"\noutput scale α = {alpha:g}\n{found}")
    regimes[alpha] = found.regime

assert regimes[100.0] == "lazy"
assert regimes[0.1] != "lazy"
