"""PyTorch's side of the training benchmark: the usual module in the usual loop."""

import sys
from pathlib import Path

import _worker
import cases
import jax
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from oracles import torch_nets


def prepare(name, path, variant, is_double, n_steps):
    """A function that makes n steps, going on where the last call ended."""
    case = cases.CASES[name]
    dtype = np.float64 if is_double else np.float32
    params, x, y, batches = _worker.load(path, name)
    params = jax.tree.map(lambda a: np.asarray(a, dtype), params)
    if name == "transformer":
        arrays = {key: getattr(params, key) for key in vars(params) if key != "n_heads"}
        module = torch_nets.transformer(torch, arrays, case.net.n_heads)
    else:
        module = torch_nets.mlp(torch, params.weights, params.biases, case.net.activation)
    if case.loss == "cross_entropy":
        # As users do: class numbers, made once.
        targets, loss = torch.tensor(y.argmax(1)), torch.nn.functional.cross_entropy
    else:
        targets, loss = torch.tensor(y.astype(dtype)), torch.nn.functional.mse_loss
    inputs = torch.tensor(x if name == "transformer" else x.astype(dtype))
    batches = torch.tensor(batches)
    optimizer = torch.optim.AdamW(
        module.parameters(),
        lr=case.learning_rate,
        betas=case.betas,
        weight_decay=case.weight_decay,
        fused=variant != "eager",
    )

    def loss_of(x, y):
        return loss(module(x), y)

    if variant == "compiled":
        loss_of = torch.compile(loss_of)

    def run():
        losses = torch.zeros(n_steps, dtype=torch.from_numpy(np.zeros(1, dtype)).dtype)
        for k in range(n_steps):
            optimizer.zero_grad()
            if case.batch_size is None:
                value = loss_of(inputs, targets)
            else:
                rows = batches[k % len(batches)]
                value = loss_of(inputs[rows], targets[rows])
            value.backward()
            losses[k] = value.detach()
            optimizer.step()
        return losses.numpy()

    return run


if __name__ == "__main__":
    name, path, variant, n_threads = sys.argv[1:5]
    torch.set_num_threads(int(n_threads))
    curve = prepare(name, path, variant, True, _worker.N_EQUAL)()
    _worker.serve(curve, lambda: prepare(name, path, variant, False, cases.CASES[name].n_steps))
