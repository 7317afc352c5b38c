"""The most memory that a traced computation holds at the same time, estimated from its trace.

Results of entrywise operations are fused into what reads them and take memory only where that
is not possible; rearrangements of no cost share the memory of what they rearrange.
"""

from collections.abc import Mapping, Sequence

import jax.extend.core as jex
import numpy as np

from ._liveness import ENTRYWISE
from ._loops import scan_counts
from ._program import programs
from ._work import FREE, is_outer_product


def peak_bytes(jaxpr: jex.Jaxpr) -> int:
    """The most bytes that are held besides the arguments, with the results."""
    owner = _owners(jaxpr)
    last = _last_reads(jaxpr, owner)
    held: dict[jex.Var, int] = {}
    most = total = 0
    for k, eqn in enumerate(jaxpr.eqns):
        inner = max((peak_bytes(program) for program in programs(eqn)), default=0)
        for variable in map(owner.get, _written_over(eqn)):
            if variable in held and last.get(variable, -1) <= k:
                total -= held.pop(variable)
        for variable in eqn.outvars:
            if owner.get(variable) is variable:
                held[variable] = _bytes(variable)
                total += held[variable]
        most = max(most, total + max(0, inner - sum(map(_bytes, eqn.outvars))))
        for variable in [v for v in held if last.get(v, -1) <= k]:
            total -= held.pop(variable)
    return most


def _written_over(eqn: jex.JaxprEqn) -> list[jex.Var]:
    """The initial state of a loop, whose memory its results reuse."""
    name, params = eqn.primitive.name, eqn.params
    first = last = len(eqn.invars)
    if name == "scan":
        try:
            first, n_carry = scan_counts(params, len(eqn.invars))
            last = first + n_carry
        except (AttributeError, KeyError, TypeError):
            return []  # a scan has other parameters in this version of JAX
    elif name == "while":
        first = params["cond_nconsts"] + params["body_nconsts"]
    return [atom for atom in eqn.invars[first:last] if not isinstance(atom, jex.Literal)]


def _owners(jaxpr: jex.Jaxpr) -> Mapping[jex.Var, jex.Var | None]:
    """For every value whose memory holds it; None if it is fused, or is an argument's."""
    readers: dict[jex.Var, list] = {}
    for eqn in jaxpr.eqns:
        for variable in eqn.invars:
            if not isinstance(variable, jex.Literal):
                readers.setdefault(variable, []).append(eqn)
    kept = {v for v in jaxpr.outvars if not isinstance(v, jex.Literal)}
    owner: dict[jex.Var, jex.Var | None] = {}
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        for variable in eqn.outvars:
            if name in FREE:
                source = next((v for v in eqn.invars if not isinstance(v, jex.Literal)), None)
                grows = source is None or _bytes(source) < _bytes(variable)
                is_fused = grows and _is_fused(variable, readers)
                of_source = None if source is None else owner.get(source)
                owner[variable] = (None if is_fused else variable) if grows else of_source
            elif variable not in kept and (_is_entrywise(eqn) or name == "transpose"):
                owner[variable] = None if _is_fused(variable, readers) else variable
            else:
                owner[variable] = variable
    return owner


def _is_entrywise(eqn: jex.JaxprEqn) -> bool:
    return eqn.primitive.name in ENTRYWISE or is_outer_product(eqn)


def _is_fused(variable: jex.Var, readers: Mapping[jex.Var, Sequence[jex.JaxprEqn]]) -> bool:
    """Whether all that reads a value, also rearranged at no cost, computes it as it goes."""
    for eqn in readers.get(variable, ()):
        name = eqn.primitive.name
        if name in FREE and _bytes(eqn.outvars[0]) <= _bytes(variable):
            if not _is_fused(eqn.outvars[0], readers):
                return False
        elif name not in ENTRYWISE | FREE and not name.startswith("reduce_"):
            return False
    return True


def _last_reads(jaxpr: jex.Jaxpr, owner: Mapping[jex.Var, jex.Var | None]) -> dict[jex.Var, int]:
    """The number of the last equation that reads each value's memory."""
    last: dict[jex.Var, int] = {}
    # What a fused value is made of is read when that value is.
    sources: dict[jex.Var, set[jex.Var]] = {}
    for k, eqn in enumerate(jaxpr.eqns):
        read: set[jex.Var] = set()
        for variable in eqn.invars:
            if isinstance(variable, jex.Literal):
                continue
            own = owner.get(variable)
            read |= sources.get(variable, set()) if own is None else {own}
        for variable in read:
            last[variable] = k
        for variable in eqn.outvars:
            if owner.get(variable) is None:
                sources[variable] = read
    for variable in jaxpr.outvars:
        own = None if isinstance(variable, jex.Literal) else owner.get(variable)
        if own is not None:
            last[own] = len(jaxpr.eqns)
    return last


def _bytes(variable: jex.Var) -> int:
    aval = variable.aval
    itemsize = getattr(getattr(aval, "dtype", None), "itemsize", 0)
    return int(np.prod(getattr(aval, "shape", ()))) * itemsize
