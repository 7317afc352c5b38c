"""What a monitor records at a step, the same in every framework."""

import math
from collections.abc import Mapping

from ._estimate import Estimate
from ._evidence import GroupChange
from ._kernel_change import KernelChange
from ._verdict import decide


def monitored(
    gap: Estimate, change: KernelChange, groups: Mapping[str, GroupChange]
) -> dict[str, float]:
    """The numbers that a monitor records of a network at a step.

    Args:
        gap: the linearization gap.
        change: how far the kernel has moved.
        groups: how far each group of parameters has moved.

    Returns:
        Numbers by name; ``is_lazy`` is 1 where the verdict is lazy, else 0, and NaN where gap
        or cosine is not defined; ``parameter_change`` is NaN if all parameters were zero at
        the start.

    Example:
        >>> one = Estimate(1.0, 1.0, 1.0)
        >>> change = KernelChange(one, 0.1, one, one, one, one, True)
        >>> monitored(Estimate(0.0, 0.0, 0.0), change, {})["is_lazy"]
        1.0
    """
    start = math.sqrt(sum(one.start**2 for one in groups.values())) or math.nan
    moved = math.sqrt(sum(one.change**2 for one in groups.values()))
    is_known = gap.is_defined and change.cosine.is_defined
    return {
        "linearization_gap": gap.value,
        "kernel_cosine": change.cosine.value,
        "kernel_cosine_low": change.cosine.low,
        "kernel_cosine_high": change.cosine.high,
        "kernel_growth": change.growth.value,
        "parameter_change": moved / start,
        "is_lazy": float(decide(gap, change.cosine).regime == "lazy") if is_known else math.nan,
    }
