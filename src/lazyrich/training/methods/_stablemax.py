"""StableMax: a softmax without exponentials."""

from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._losses import matched_classes
from ._objective import Batch, Objective


def stablemax_cross_entropy(
    logits: Float[Array, "n c"], one_hot: Float[Array, "n c"]
) -> Float[Array, ""]:
    """The mean of −log(s(z_y)/Σ_j s(z_j)) over rows, s(z) = z + 1 for z ≥ 0 and 1/(1 − z) below.

    s grows linearly and falls like 1/z, so the loss falls as a power of the logits and its
    gradient does not vanish by rounding.

    Args:
        logits: z, dimensionless.
        one_hot: labels as rows with a single one.

    Returns:
        The loss in nats, zero or above.

    Raises:
        InputError: as ``cross_entropy``.

    Example:
        >>> loss = stablemax_cross_entropy(jnp.array([[2.0, -1.0]]), jnp.array([[1.0, 0.0]]))
        >>> round(float(jnp.exp(-loss)), 4)  # 3/(3 + ½)
        0.8571

    References:
        Prieto et al. (2025), arXiv:2501.04697, StableMax.
    """
    logits, one_hot = matched_classes(logits=logits, one_hot=one_hot)
    is_positive = logits >= 0
    # Each branch sees numbers that it can take, so no gradient is NaN.
    up, down = jnp.where(is_positive, logits, 0), jnp.where(is_positive, 0, logits)
    logs = jnp.where(is_positive, jnp.log1p(up), -jnp.log1p(-down))
    weights = jnp.where(is_positive, 1 + up, 1 / (1 - down))
    of_label = jnp.where(one_hot > 0.5, logs, 0).sum(-1)
    return (jnp.log(weights.sum(-1)) - of_label).mean()


class StableMax(Objective):
    """Cross-entropy of StableMax in place of that of softmax.

    Raises:
        InputError: by an experiment whose loss is not cross_entropy.

    Example:
        >>> StableMax().kind
        'stablemax'

    References:
        Prieto et al. (2025), arXiv:2501.04697.
    """

    kind: Literal["stablemax"] = "stablemax"
    loss_needed: ClassVar[str | None] = "cross_entropy"
    instead: ClassVar[str] = "leave it out"

    def value(self, batch: Batch, numbers: PyTree) -> Array:
        del numbers
        return stablemax_cross_entropy(batch.outputs(batch.x), batch.y)
