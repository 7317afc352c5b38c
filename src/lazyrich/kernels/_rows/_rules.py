"""Rules for derivatives that a predictor brings along (``jax.custom_jvp``), as programs."""

import jax.extend.core as jex

from lazyrich.kernels._equation import Equation

from .._ntk._program_key import NoKeyError, derivative


class Rules:
    """The rules of operations, each traced once."""

    def __init__(self) -> None:
        self._traced: dict[int, tuple[Equation, jex.ClosedJaxpr | None]] = {}

    def of(self, eqn: Equation) -> jex.ClosedJaxpr | None:
        """The rule for tangents of an operation; None if it has none or that cannot be traced."""
        if eqn.primitive.name != "custom_jvp_call":
            return None
        if id(eqn) not in self._traced:
            try:
                rule = derivative(eqn)
            except NoKeyError:
                rule = None
            self._traced[id(eqn)] = eqn, rule  # the operation is kept, and with it its id
        return self._traced[id(eqn)][1]
