"""A statistic of one seed, with the reason why it is missing or what it leaves out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable


class Value(float):
    """A number that can say why it is NaN, or what it leaves out.

    A float in every respect; a NaN keeps its reason in sums, products and quotients.

    Attributes:
        reason: a few words, such as "diverged".

    Example:
        >>> share = 1 - Value(float("nan"), "diverged") / 2.0
        >>> share, share.reason
        (nan, 'diverged')
    """

    __slots__ = ("reason",)
    reason: str

    def __new__(cls, number: float, reason: str) -> Value:
        """A number and its reason."""
        made = super().__new__(cls, number)
        made.reason = reason
        return made


def missing(reason: str) -> Value:
    """NaN, and why."""
    return Value(math.nan, reason)


NO_PRINTED_RUN = "no printed run"
"""Why there is no value of what the paper shows no run of, or none whose draw is known."""

NO_RUN = "no such run"
"""Why there is no value of a run that was not asked for."""

NO_CONTRAST = "nothing to compare with"
"""Why there is no value where two runs are to differ and do not."""

_NO_RECORD = "no record of "


def not_recorded(name: str) -> Value:
    """NaN, for what was not measured along the run."""
    return missing(_NO_RECORD + name)


def is_left_out(reason: str) -> bool:
    """Whether a value is missing because it was not asked for, not for what came out."""
    return reason in (NO_PRINTED_RUN, NO_RUN, NO_CONTRAST) or reason.startswith(_NO_RECORD)


def reason_of(number: float) -> str:
    """The reason that a number carries; "" if it carries none."""
    return number.reason if isinstance(number, Value) else ""


def tally(reasons: Iterable[str]) -> str:
    """How often each reason occurs, the most frequent first: "3 diverged, 1 failed"."""
    return ", ".join(f"{n} {reason}" for reason, n in Counter(reasons).most_common())


def _keeping_reason(name: str) -> Callable[..., float]:
    operation = getattr(float, name)
    return lambda self, *others: self if math.isnan(self) else operation(self, *others)


for _name in ("add", "sub", "mul", "truediv"):
    for _dunder in (f"__{_name}__", f"__r{_name}__"):
        setattr(Value, _dunder, _keeping_reason(_dunder))
for _dunder in ("__neg__", "__abs__"):
    setattr(Value, _dunder, _keeping_reason(_dunder))
