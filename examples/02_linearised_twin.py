"""Train the linearized network of a network in closed form, and see where the network leaves it."""

import jax
import jax.numpy as jnp

import lazyrich as lz

WIDTH, ALPHA, RATE = 200, 2.0, 10.0


def predict(params, x):
    """A committee machine with a slightly quadratic activation."""
    h = x @ params
    return (h + 0.1 * h**2).mean(-1)


keys = jax.random.split(jax.random.key(0), 2)
params0 = jax.random.normal(keys[0], (10, WIDTH))
x = jax.random.normal(keys[1], (60, 10)) / 10**0.5
y = 5 * x[:, 0] ** 2

net = lz.scale_output(predict, params0, ALPHA)  # α[f(θ) − f(θ₀)]: exactly zero at the start
steps = jnp.array([0, 10, 100, 1000])


@jax.jit
def loss(params):
    """Mean squared error on the training points, label units²."""
    return ((net(params, x) - y) ** 2).mean()


def descend(params, _):
    """One step of gradient descent."""
    return params - RATE * jax.grad(loss)(params), loss(params)


_, losses = jax.lax.scan(descend, params0, None, length=1001)
linearized = lz.lazy_dynamics(lz.ntk(net, params0, x), y, steps, learning_rate=RATE)
linearized_losses = ((linearized.train - y) ** 2).mean(-1)
for step, network, lazy in zip(steps, losses[steps], linearized_losses, strict=True):
    print(f"step {step:>4}: network {network:.4f}, linearized {lazy:.4f}")

assert abs(losses[10] - linearized_losses[1]) < 0.05 * losses[0]  # the same at first
assert losses[1000] < 0.5 * linearized_losses[3]  # and not at the end
