"""PyTorch's side of the training benchmark: the usual module in the usual loop."""

import dataclasses
import sys
from pathlib import Path

import _worker
import cases
import jax
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from oracles import torch_nets


class Steps:
    """A run of a case that goes on where it is; ``variant`` is eager, fused or compiled."""

    def __init__(self, name, variant, precision):
        experiment = cases.CASES[name].experiment
        inputs = cases.problem(name)
        params = jax.tree.map(lambda leaf: np.asarray(leaf, precision), inputs.params0)
        x, y = (np.array(a) for a in inputs.data[:2])
        if experiment.net.kind == "transformer":
            names = [field.name for field in dataclasses.fields(params) if field.name != "n_heads"]
            arrays = {name: getattr(params, name) for name in names}
            module = torch_nets.transformer(torch, arrays, experiment.net.n_heads)
            self.x = torch.tensor(x).long()
        else:
            activation = experiment.net.activation
            module = torch_nets.mlp(torch, params.weights, params.biases, activation)
            self.x = torch.tensor(x.astype(precision))
        if experiment.loss == "cross_entropy":
            # As users do: class numbers, made once.
            self.y, loss = torch.tensor(y.argmax(1)), torch.nn.functional.cross_entropy
        else:
            self.y, loss = torch.tensor(y.astype(precision)), torch.nn.functional.mse_loss
        rows = cases.batches(name, inputs, max(experiment.n_steps, cases.N_EQUAL))
        self.batches = None if rows is None else torch.tensor(rows).long()
        settings = experiment.optimizer
        self.optimizer = torch.optim.AdamW(
            module.parameters(),
            lr=settings.learning_rate,
            betas=(settings.b1, settings.b2),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=variant != "eager",
        )

        def loss_of(x, y):
            return loss(module(x), y)

        self.plain_loss = loss_of
        self.loss_of = torch.compile(loss_of) if variant == "compiled" else loss_of
        self.step = 0

    def advance(self, n_steps):
        """Make so many steps, and wait until they are made."""
        for _ in range(n_steps):
            self.optimizer.zero_grad()
            x, y = self.x, self.y
            if self.batches is not None:
                rows = self.batches[self.step % len(self.batches)]
                x, y = x[rows], y[rows]
            self.loss_of(x, y).backward()
            self.optimizer.step()
            self.step += 1

    def loss(self):
        """The loss on all training points, where the run is now."""
        with torch.no_grad():
            return self.plain_loss(self.x, self.y).item()


if __name__ == "__main__":
    name, variant, n_threads = sys.argv[1:4]
    torch.set_num_threads(int(n_threads))
    run = Steps(name, variant, "float64")
    curve = [run.loss()]
    for _ in range(cases.N_EQUAL):
        run.advance(1)
        curve.append(run.loss())
    run = Steps(name, variant, "float32")
    _worker.serve(curve, run.advance, cases.CASES[name].experiment.n_steps)
