"""One side of ``peers.py``: ``peer_side.py CASE SIDE INPUTS OUTPUT``.

Computes and stores the kernel, then times one call for each line that it reads. The side
``neural-tangents-K`` runs in an environment of its own and imports nothing of lazyrich.
"""

import json
import sys
import time

import jax
import networks
import numpy as np


def lazyrich(predict):
    from ratios import structured

    return structured(predict, True)


def jacobians(predict):
    from ratios import plain

    return plain(predict, True)


def neural_tangents(predict, implementation):
    """With vmap_axes=0, which says that rows are independent; without it modes can be wrong."""
    import neural_tangents as nt

    entries = nt.empirical_ntk_fn(
        predict, trace_axes=(-1,), vmap_axes=0, implementation=implementation
    )

    def kernel(params, x):
        # neural-tangents divides the traced kernel by the number of outputs; we do not.
        n_outputs = jax.eval_shape(predict, params, x).shape[-1]
        return n_outputs * entries(x, None, params)

    return jax.jit(kernel)


def main():
    name, side, path, output = sys.argv[1:]
    predict = networks.SIZES[name][0]
    stored = dict(np.load(path))
    x = jax.device_put(stored.pop("rows of the input"))
    params = jax.device_put(stored)
    if side.startswith("neural-tangents"):
        kernel = neural_tangents(predict, int(side[-1]))
    else:
        kernel = {"lazyrich": lazyrich, "jacobians": jacobians}[side](predict)
    np.save(output, np.asarray(kernel(params, x)))
    print("READY", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter(), time.process_time()
        jax.block_until_ready(kernel(params, x))
        spent = time.perf_counter() - start[0], time.process_time() - start[1]
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
