"""Train the linearized network of a network in closed form, and see where the network leaves it."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import lazyrich as lz

WIDTH, ALPHA, RATE = 200, 2.0, 10.0


def predict(params, x):  # a committee machine, its activation slightly quadratic
    h = x @ params
    return (h + 0.1 * h**2).mean(-1)


keys = jax.random.split(jax.random.key(0), 2)
params0 = jax.random.normal(keys[0], (10, WIDTH))
x = jax.random.normal(keys[1], (60, 10)) / 10**0.5
y = 5 * x[:, 0] ** 2

net = lz.scale_output(predict, params0, ALPHA)  # α[f(θ) − f(θ₀)]: exactly zero at the start
steps = jnp.unique(jnp.geomspace(1, 1000, 60).astype(int))


@jax.jit
def loss(params):
    return ((net(params, x) - y) ** 2).mean()


def descend(params, _):
    return params - RATE * jax.grad(loss)(params), loss(params)


_, losses = jax.lax.scan(descend, params0, None, length=1001)
linearized = lz.lazy_dynamics(lz.ntk(net, params0, x), y, steps, learning_rate=RATE)
linearized_losses = ((linearized.train - y) ** 2).mean(-1)
print(f"step 1000: network {losses[-1]:.4f}, linearized {linearized_losses[-1]:.4f}")
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.loglog(steps, losses[steps], label="network")
axes.loglog(steps, linearized_losses, "--", label="linearized network")
axes.set(xlabel="optimizer steps", ylabel="train loss")
axes.legend()
figure.savefig("linearized_network.png", dpi=150)

early = steps <= 10
gap = jnp.abs(losses[steps] - linearized_losses) / losses[0]
print(f"largest gap in 10 steps: {gap[early].max():.3f} of the start, later {gap.max():.3f}")
assert gap[early].max() < 0.05  # the same at first
assert losses[1000] < 0.5 * linearized_losses[-1]  # and not at the end
