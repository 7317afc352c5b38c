"""The empirical neural tangent kernel."""

import jax
import jax.numpy as jnp
from ._structured import make_plan, factors
from ._structured_contract import contract, blockwise

def ntk(predict, params, x, x2=None, *, trace_outputs=False, block_size=None):
    leaves, treedef = jax.tree.flatten(params)
    def row(leaves, row):
        return predict(jax.tree.unflatten(treedef, leaves), row[None]).reshape(-1)
    plan = make_plan(row, leaves, x[0], traced=trace_outputs)
    f1 = factors(plan, leaves, x)
    f2 = f1 if x2 is None else factors(plan, leaves, x2)
    return contract(plan, f1, f2, traced=trace_outputs)
