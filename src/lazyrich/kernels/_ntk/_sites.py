"""Where the parameters enter a network, and what their derivatives there are made of.

An entry adds something to a value z of the network that is bilinear in the parameter
and an activation h (a dense contraction, a lookup in a table) or is the parameter itself
(an addition). The derivative of the output with respect to the parameter is then the
product of the cotangent g = ∂f/∂z and h, and never has to be formed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import jax

from ._aliases import Scalars, Scale, Strides, View, is_complex, is_real, scalar_factor, views
from ._bottlenecks import Bottleneck, bottleneck
from ._convolutions import filter_axes, is_plain_convolution, result_axes
from ._program import free_axes
from ._trace import Program, Step

Kind = Literal["contraction", "lookup", "addition"]
Role = Literal["batch", "position", "unit"]

_IS_OUTPUT = "is itself the output"


@dataclass(frozen=True)
class Site:
    """One entry of one parameter into the network.

    The axes of the tapped value (those longer than one) have roles. Along *unit* axes
    different entries of the parameter act. Along *position* axes the same entries act
    again (a sequence). Along *batch* axes different entries act, and on different
    activations (weights per head).

    Attributes:
        param: position of the parameter among the program's inputs.
        kind: how it enters.
        tap: slot of the value z whose cotangent is wanted.
        axes: for each axis of z longer than one, its label in the step of entry.
        roles: the role of each of ``axes``.
        scale: factor between the cotangent at the tap and the derivative.
        view: which rearrangement of the parameter enters.
        strides: where the entries of the view stand in the parameter, if it can be said.
        activation: slot of h (a contraction) or of the indices (a lookup), else -1.
        activation_axes: for each label, its axis of the activation.
        n_table: number of rows of the table of a lookup.
        clips: whether a lookup beyond the table reads its nearest row, else none.
        batch_axes: for each label of a batch axis, its axis of the view.
        unit_axes: for each label of a unit axis, its axis of the view; of an addition,
            for each label.
        inner_axes: the view's other axes, in the order of the activation's.
        convolution: the step, if patches of the activation are contracted.
    """

    param: int
    kind: Kind
    tap: int
    axes: tuple[int, ...]
    roles: tuple[Role, ...]
    scale: Scale
    view: View
    strides: Strides | None
    activation: int = -1
    activation_axes: Mapping[int, int] | None = None
    n_table: int = 0
    clips: bool = True
    batch_axes: Mapping[int, int] | None = None
    unit_axes: Mapping[int, int] | None = None
    inner_axes: tuple[int, ...] = ()
    convolution: Step | None = None

    @property
    def place(self) -> tuple[int, tuple[Role, ...], int]:
        """What entries must have in common to share a cotangent: value, roles, groups."""
        return self.tap, self.roles, self.n_groups

    @property
    def n_groups(self) -> int:
        """Into how many batches the units fall (groups of a convolution's features)."""
        return self.convolution.params["feature_group_count"] if self.convolution else 1


@dataclass(frozen=True)
class Entries:
    """All entries of the parameters of one program.

    Attributes:
        sites: the entries that are understood, for every parameter.
        reasons: for a parameter that enters in a way that is not understood, that way.
        is_used: for every parameter, whether it reaches the output at all.
        bottlenecks: for a parameter with sites that enters through few numbers too, those.
    """

    sites: tuple[tuple[Site, ...], ...]
    reasons: Mapping[int, str]
    is_used: tuple[bool, ...]
    bottlenecks: Mapping[int, Bottleneck]


def entries(program: Program, n_params: int) -> Entries:
    """Find where every parameter enters.

    Args:
        program: the traced predictor, parameters first, the row last, one output.
        n_params: how many of the leading inputs are parameters.

    Returns:
        The entries; a parameter has either sites or a reason, unless it is unused.
    """
    found, active = views(program, n_params)
    scalars = Scalars(program)
    sites: list[list[Site]] = [[] for _ in range(n_params)]
    reasons: dict[int, str] = {}
    begins: list[list[tuple[Step, int]]] = [[] for _ in range(n_params)]
    is_used = [False] * n_params
    for slot in program.outputs:
        for view in found.get(slot, ()):
            reasons[view.param] = _IS_OUTPUT
            is_used[view.param] = True
    for step in program.steps:
        if active.isdisjoint(step.outs) or found.keys() >= set(step.outs):
            continue
        for position, slot in enumerate(step.ins):
            for view in found.get(slot, ()):
                is_used[view.param] = True
                site = _site(program, step, position, view)
                if site is None:
                    reasons.setdefault(view.param, f"enters through {step.name!r}")
                    begins[view.param].append((step, slot))
                else:
                    sites[view.param].append(_downstream(program, site, active, scalars))
    narrow = {}
    for param, reason in list(reasons.items()):
        if sites[param] and reason != _IS_OUTPUT:
            taps = [site.tap for site in sites[param]]
            way = bottleneck(program, n_params, param, begins[param], taps)
            if way is not None:
                narrow[param] = way
                del reasons[param]
    kept = tuple(() if i in reasons else tuple(s) for i, s in enumerate(sites))
    return Entries(kept, reasons, tuple(is_used), narrow)


def _site(program: Program, step: Step, position: int, view: View) -> Site | None:
    strides = view.strides(program)
    if step.name == "dot_general" and step.ins[0] != step.ins[1]:
        return _contraction(program, step, position, view, strides)
    if position == 1 and step.ins[0] != step.ins[1] and is_plain_convolution(program, step):
        return _convolution(program, step, view, strides)
    if step.name == "gather" and position == 0:
        return _lookup(program, step, view, strides)
    if step.name in {"add", "sub", "add_any"} and step.ins[0] != step.ins[1]:
        return _addition(program, step, position, view, strides)
    return None


def _is_injective(view: View, strides: Strides | None) -> bool:
    if strides is None:
        return view.is_whole()
    return strides.is_injective(range(len(strides.shape)))


def _contraction(
    program: Program, step: Step, position: int, view: View, strides: Strides | None
) -> Site | None:
    other = 1 - position
    # A complex product is no product of real vectors.
    if is_complex(program.shapes[step.ins[other]]) or is_complex(program.shapes[step.outs[0]]):
        return None
    if not _is_injective(view, strides):
        return None
    contracted, batched = step.params["dimension_numbers"]
    free = free_axes(program, step)
    n_batch, n_left = len(batched[0]), len(free[0])
    roles: list[Role] = ["batch"] * n_batch
    roles += ["unit" if position == 0 else "position"] * n_left
    roles += ["unit" if position == 1 else "position"] * len(free[1])
    starts = (n_batch, n_batch + n_left)
    activation_axes = dict(enumerate(batched[other]))
    activation_axes |= {starts[other] + k: axis for k, axis in enumerate(free[other])}
    return _at_result(
        program,
        replace(
            _site_of(step, view, strides, "contraction", roles),
            activation=step.ins[other],
            activation_axes=activation_axes,
            batch_axes=dict(enumerate(batched[position])),
            unit_axes={starts[position] + k: axis for k, axis in enumerate(free[position])},
            inner_axes=tuple(
                own for _, own in sorted(zip(contracted[other], contracted[position], strict=True))
            ),
        ),
    )


def _convolution(program: Program, step: Step, view: View, strides: Strides | None) -> Site | None:
    if not _is_injective(view, strides) or not is_real(program.shapes[step.ins[0]]):
        return None
    feature, others = result_axes(step)
    results, inner = filter_axes(step)
    roles: list[Role] = ["position"] * (1 + len(others))
    roles[feature] = "unit"
    return _at_result(
        program,
        replace(
            _site_of(step, view, strides, "contraction", roles),
            activation=step.ins[0],
            activation_axes={axis: axis for axis in others},
            unit_axes={feature: results},
            inner_axes=inner,
            convolution=step,
        ),
    )


def _lookup(program: Program, step: Step, view: View, strides: Strides | None) -> Site | None:
    """Rows of a table chosen by integers, as ``table[indices]`` does."""
    shape = program.shapes[step.ins[0]].shape
    numbers = step.params["dimension_numbers"]
    is_rows = (
        tuple(numbers.collapsed_slice_dims) == (0,)
        and tuple(numbers.start_index_map) == (0,)
        and tuple(step.params["slice_sizes"]) == (1, *shape[1:])
        and not numbers.operand_batching_dims
    )
    if not is_rows or not _is_injective(view, strides):
        return None
    rank = len(program.shapes[step.outs[0]].shape)
    positions = [axis for axis in range(rank) if axis not in numbers.offset_dims]
    roles: list[Role] = ["unit"] * rank
    for axis in positions:
        roles[axis] = "position"
    return _at_result(
        program,
        replace(
            _site_of(step, view, strides, "lookup", roles),
            activation=step.ins[1],
            activation_axes={axis: k for k, axis in enumerate(positions)},
            n_table=shape[0],
            # Elsewhere an index beyond the table reads its end, and has no derivative in JAX.
            clips=step.params["mode"] == jax.lax.GatherScatterMode.CLIP,
            unit_axes={axis: 1 + k for k, axis in enumerate(numbers.offset_dims)},
            inner_axes=(0,),
        ),
    )


def _addition(
    program: Program, step: Step, position: int, view: View, strides: Strides | None
) -> Site | None:
    shape = program.shapes[step.outs[0]].shape
    strides = None if strides is None else strides.stretched(shape)
    if strides is None:
        return None
    axes = range(len(strides.shape))
    roles: list[Role] = ["unit" if strides.steps[axis] else "position" for axis in axes]
    acting = [axis for axis in axes if roles[axis] == "unit"]
    if not strides.is_injective(acting):
        return None
    subtracted = step.name == "sub" and position == 1
    scale = view.scale.times(Scale(-1)) if subtracted else view.scale
    site = Site(
        view.param,
        "addition",
        step.outs[0],
        (),
        tuple(roles),
        scale,
        view,
        strides,
        unit_axes={axis: axis for axis in axes},
    )
    return _at_result(program, site)


def _site_of(
    step: Step, view: View, strides: Strides | None, kind: Kind, roles: Sequence[Role]
) -> Site:
    """A site whose value is the result of a step, without its activation."""
    return Site(
        param=view.param,
        kind=kind,
        tap=step.outs[0],
        axes=(),
        roles=tuple(roles),
        scale=view.scale,
        view=view,
        strides=strides,
    )


def _at_result(program: Program, site: Site) -> Site:
    """Number the axes of the site's value and forget those of length one."""
    shape = program.shapes[site.tap].shape
    axes = tuple(axis for axis, size in enumerate(shape) if size != 1)
    return replace(site, axes=axes, roles=tuple(site.roles[axis] for axis in axes))


def _downstream(program: Program, site: Site, active: frozenset[int], scalars: Scalars) -> Site:
    """Move the tap to where more entries share it.

    The cotangent of a summand is the cotangent of the sum: a dense layer's product, its
    bias and a residual stream all share one cotangent, which is then contracted once.
    """
    while site.tap not in program.outputs and len(program.consumers.get(site.tap, ())) == 1:
        (step,) = program.consumers[site.tap]
        moved = _through(program, site, step, active, scalars)
        if moved is None:
            break
        site = moved
    return site


def _through(
    program: Program, site: Site, step: Step, active: frozenset[int], scalars: Scalars
) -> Site | None:
    before, after = program.shapes[site.tap].shape, program.shapes[step.outs[0]].shape
    if program.shapes[site.tap].dtype != program.shapes[step.outs[0]].dtype:
        return None
    if step.name in {"add", "sub", "add_any"} and before == after:
        subtracted = step.name == "sub" and step.ins[1] == site.tap
        scale = site.scale.times(Scale(-1)) if subtracted else site.scale
        return replace(site, tap=step.outs[0], scale=scale)
    scale = scalar_factor(program, step, site.tap, active, scalars)
    if scale is not None:
        return replace(site, tap=step.outs[0], scale=site.scale.times(scale))
    if step.name == "transpose":
        long = [axis for axis, size in enumerate(before) if size != 1]
        order = [long.index(axis) for axis in step.params["permutation"] if axis in long]
        return replace(
            site,
            tap=step.outs[0],
            axes=tuple(site.axes[k] for k in order),
            roles=tuple(site.roles[k] for k in order),
        )
    is_reshaping = step.name in {"reshape", "squeeze", "expand_dims", "broadcast_in_dim"}
    if is_reshaping and _without_ones(before) == _without_ones(after):
        return replace(site, tap=step.outs[0])
    return None


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
