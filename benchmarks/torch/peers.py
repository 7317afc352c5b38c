"""The same kernels by others: ``torch.func``, nngeometry, curvlinops, and a loop over rows."""

import torch
from torch.func import functional_call, jacrev, vmap


def by_torch_func(model, x, *, traced, chunk):
    """The Jacobian of each row by vmap of jacrev, contracted parameter by parameter."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def one(parameters, row):
        return functional_call(model, parameters, (row[None],))[0]

    found = vmap(jacrev(one), (None, 0), chunk_size=chunk)(parameters, x)
    total = 0
    for jacobian in found.values():
        flat = jacobian.flatten(2)
        n, c, _ = flat.shape
        if traced:
            total = total + flat.flatten(1) @ flat.flatten(1).T
        else:
            rows = flat.flatten(0, 1)
            total = total + (rows @ rows.T).reshape(n, c, n, c)
    return total if traced else total.permute(0, 2, 1, 3)


def by_loop(model, x, *, traced):
    """One backward pass for each row and output, the gradients multiplied at the end."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    n = len(next(iter(x.values()))) if isinstance(x, dict) else len(x)
    found = []
    for i in range(n):
        row = {k: v[i : i + 1] for k, v in x.items()} if isinstance(x, dict) else x[i : i + 1]
        value = model(**row) if isinstance(row, dict) else model(row)
        c = value.shape[1]
        for a in range(c):
            gradients = torch.autograd.grad(value[0, a], parameters, retain_graph=a < c - 1)
            found.append(torch.cat([g.reshape(-1) for g in gradients]))
    jacobian = torch.stack(found)
    if traced:
        flat = jacobian.reshape(n, -1)
        return flat @ flat.T
    return (jacobian @ jacobian.T).reshape(n, c, n, c).permute(0, 2, 1, 3)


def by_nngeometry(model, x, *, traced):
    """Its dense Gram matrix."""
    from nngeometry.gram import GramMatrix
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(x.clone()), batch_size=len(x))
    found = GramMatrix(model, loader).to_torch().permute(1, 3, 0, 2)
    return torch.einsum("ijaa->ij", found) if traced else found


def by_curvlinops(model, x, *, traced):
    """Its transposed Jacobian times the identity, some columns at a time."""
    from curvlinops import TransposedJacobianLinearOperator

    parameters = list(model.parameters())
    with torch.no_grad():
        values = model(x)
    n, c = values.shape
    operator = TransposedJacobianLinearOperator(
        model, parameters, [(x, values)], check_deterministic=False
    )
    identity = torch.eye(n * c, device=values.device)
    columns = [operator @ identity[:, k : k + 20] for k in range(0, n * c, 20)]
    jacobian = torch.cat(columns, 1).T
    if traced:
        flat = jacobian.reshape(n, -1)
        return flat @ flat.T
    return (jacobian @ jacobian.T).reshape(n, c, n, c).permute(0, 2, 1, 3)
