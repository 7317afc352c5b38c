"""neural-tangents' side: ``side_neural_tangents.py CASE INPUTS OUTPUT IMPLEMENTATION-VMAP``.

Runs in an environment of its own (Python 3.11, jax 0.4.25); imports nothing of lazyrich.
"""

import sys

import _worker
import cases
import jax
import neural_tangents as nt

name, inputs, output, variant = sys.argv[1:]
implementation, vmap_axes = variant.split("-")
predict, _, traced = cases.CASES[name]
params, x = _worker.load(inputs, name)
params, x = jax.tree_util.tree_map(jax.numpy.asarray, (params, x))
n_outputs = predict(params, x[:1]).shape[-1]
entries = nt.empirical_ntk_fn(
    predict,
    trace_axes=(-1,) if traced else (),
    vmap_axes=0 if vmap_axes == "0" else None,
    implementation=int(implementation),
)
# neural-tangents divides the traced kernel by the number of outputs; we do not.
factor = n_outputs if traced else 1
kernel = jax.jit(lambda params, x: factor * entries(x, None, params))
_worker.serve(lambda: jax.block_until_ready(kernel(params, x)), output)
