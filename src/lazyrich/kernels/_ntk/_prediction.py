"""What a plan will take: seconds by the rates of the device, and bytes held at once."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
from jaxtyping import Array

from ._blocking import blocked_kernel, make_layout
from ._peak import peak_bytes
from ._plan import Plan
from ._work import Rates, work_of


class Prediction(NamedTuple):
    """What the kernel of some rows among themselves takes.

    Attributes:
        seconds: of computing it, once compiled.
        bytes: for the kernel and all that is held beside it.
    """

    seconds: float
    bytes: int


def predicted(
    plan: Plan,
    leaves: Sequence[Array],
    rows: Array,
    rates: Rates,
    *,
    traced: bool,
    free: int | None,
) -> Prediction:
    """Predict by tracing the computation and adding up its operations."""
    layout = make_layout(plan, len(rows), traced=traced, block_size=None, free=free)
    compute = partial(blocked_kernel, plan, traced=traced, layout=layout)
    closed = jax.make_jaxpr(lambda leaves, rows: compute(leaves, rows, None))(list(leaves), rows)
    return Prediction(work_of(closed.jaxpr).seconds(rates), peak_bytes(closed.jaxpr))
