"""The committee machine exactly: gradient descent by its moments, and its flow."""

import jax
import matplotlib.pyplot as plt
import numpy as np

from lazyrich.models import init_committee_machine
from lazyrich.tasks import PolynomialTask
from lazyrich.theory import DynamicHyperparameters, EmpiricalLoss, gradient_descent, gradient_flow

data = PolynomialTask(dim=10, n_train=80, n_test=200).sample(0)
weights = init_committee_machine(jax.random.key(0), 1000, dim=10).weights
train, test = EmpiricalLoss(data.x, data.y), EmpiricalLoss(data.x_test, data.y_test)

rate, steps = 0.05, np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000])
hyperparameters = DynamicHyperparameters(alpha=1.0, epsilon=0.2, learning_rate=rate)
descent = gradient_descent(
    weights, train, hyperparameters=hyperparameters, eval_steps=steps, query=test
)
flow = gradient_flow(
    weights, train, hyperparameters=hyperparameters, eval_t=rate * steps, query=test
)
descent_loss, flow_loss = np.asarray(descent.query_loss), np.asarray(flow.query_loss)

for k, step in enumerate(steps):
    print(
        f"step {step:>6}, t = {rate * step:>5g}: test loss {descent_loss[k]:.5f} by descent,",
        end="",
    )
    print(f" {flow_loss[k]:.5f} by flow")

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.loglog(steps[1:], flow_loss[1:], label="gradient flow")
axes.loglog(steps[1:], descent_loss[1:], "o", label="gradient descent")
axes.set(xlabel="optimizer steps", ylabel="test loss")
axes.legend()
figure.savefig("exact_dynamics.png", dpi=150)

gap = np.abs(flow_loss - descent_loss).max() / descent_loss[0]
print(f"largest gap: {gap:.4f} of the start")
assert gap < 0.02
assert descent_loss[-1] < 0.05 * descent_loss[0]
