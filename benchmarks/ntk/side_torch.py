"""``torch.func``'s side: per-row Jacobians by vmap(jacrev), contracted layer by layer.

``side_torch.py CASE INPUTS OUTPUT VARIANT``; for the multilayer perceptron only.
"""

import sys

import _worker
import cases
import numpy as np
import torch

name, inputs, output, _ = sys.argv[1:]
params, x = _worker.load(inputs, name)
traced = cases.CASES[name][2]
flat = [torch.tensor(np.array(array)) for layer in params for array in layer]
rows = torch.tensor(np.array(x))


def predict(flat, row):
    for k in range(0, len(flat), 2):
        row = row @ flat[k] / flat[k].shape[0] ** 0.5 + flat[k + 1]
        row = torch.relu(row) if k < len(flat) - 2 else row
    return row


jacobians = torch.func.vmap(torch.func.jacrev(predict), (None, 0))


def kernel():
    with torch.no_grad():
        parts = [part.flatten(2) for part in jacobians(flat, rows)]
        if traced:
            return sum(torch.einsum("iap,jap->ij", part, part) for part in parts)
        return sum(torch.einsum("iap,jbp->ijab", part, part) for part in parts)


_worker.serve(kernel, output)
