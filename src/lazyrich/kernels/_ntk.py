"""The empirical neural tangent kernel of any predictor (Eq. 2)."""

from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from lazyrich._ground import InputError, Params, Predictor, require_finite

from ._checks import output_struct, split_params


def ntk(
    predict: Predictor,
    params: Params,
    x: Shaped[Array, "n ..."],
    x2: Shaped[Array, "m ..."] | None = None,
    *,
    trace_outputs: bool = False,
    block_size: int | None = None,
) -> Float[Array, "n m"] | Float[Array, "n m c c"]:
    """The neural tangent kernel K(x, x′) = ∂f(x)/∂θ · ∂f(x′)/∂θ, Eq. 2, exactly.

    Traced means the plain sum over outputs, *not* divided by their number.

    Args:
        predict: a predictor; each output row may depend on its own input row only
            (``check_predictor`` tells).
        params: where the kernel is taken. Integer leaves are kept fixed.
        x: inputs, one row each.
        x2: second inputs; None means x again.
        trace_outputs: give Σ_c K[:, :, c, c], of shape (n, m).
        block_size: how many rows of x, and of x2, have their Jacobians in memory at
            once; None means all.

    Returns:
        K of shape (n, m, c, c), entry [i, j, a, b] pairing output a of row i with
        output b of row j; of shape (n, m) if traced or if predict returns (n,). In
        label units² (for dimensionless parameters), positive semi-definite for
        x2 = None.

    Raises:
        InputError: if predict returns anything but one floating array of shape (n,) or
            (n, c), if a leaf of params is no real array, if block_size is below one,
            or if the kernel is not finite.

    Example:
        >>> line = lambda params, x: x @ params
        >>> x = jnp.array([[1.0, 0.0], [1.0, 2.0]])
        >>> ntk(line, jnp.zeros(2), x).tolist()
        [[1.0, 1.0], [1.0, 5.0]]

    References:
        Jacot, Gabriel and Hongler (2018); Kumar et al. (2024), Eq. 2.
    """
    if block_size is not None and block_size < 1:
        raise InputError(f"block_size is {block_size}; it must be one or more.")
    outputs = output_struct(predict, params, x)
    if x2 is not None:
        output_struct(predict, params, x2)
    moving, rebuild = split_params(params)
    # One letter pair says all: tracing repeats the output axis, and no output axis drops it.
    pattern = (
        "ip,jp->ij" if outputs.ndim == 1 else "iap,jap->ij" if trace_outputs else "iap,jbp->ijab"
    )

    def jacobian(row: Array) -> list[Array]:
        derivative = jax.jacrev(lambda leaves: predict(rebuild(leaves), row[None])[0])(moving)
        return [jac.reshape((*outputs.shape[1:], -1)) for jac in derivative]

    def block(rows: Array, columns: Array) -> Array:
        pairs = zip(jax.vmap(jacobian)(rows), jax.vmap(jacobian)(columns), strict=True)
        highest = jax.lax.Precision.HIGHEST
        parts = (jnp.einsum(pattern, left, right, precision=highest) for left, right in pairs)
        return reduce(jnp.add, parts)

    columns = x if x2 is None else x2
    height = len(x) if block_size is None else block_size
    width = len(columns) if block_size is None else block_size
    kernel = jnp.concatenate(
        [
            jnp.concatenate(
                [
                    block(x[i : i + height], columns[j : j + width])
                    for j in range(0, len(columns), width)
                ],
                axis=1,
            )
            for i in range(0, len(x), height)
        ]
    )
    require_finite(kernel=kernel)
    return kernel
