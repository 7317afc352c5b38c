"""A sketch of a tangent kernel of any size, from a few random directions in output space."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from lazyrich._base import InputError, kind_of, require_seed
from lazyrich.diagnosis import (
    Estimate,
    sketched_cosine,
    sketched_distance,
    sketched_growth,
    sketched_norm,
    sketched_rank,
    sketched_trace,
)

from ._magnitude import is_finite
from ._memory import budget, keep_freed_memory
from ._mixed_rows import refuse_mixed_rows
from ._model import (
    Chosen,
    refuse_training_mode,
    trainable_parameters,
    unchanged,
    unwrap,
)
from ._plan import require_graph
from ._pullback import pulled_products
from ._rows import (
    Inputs,
    Output,
    batch_of,
    observed_outputs,
    require_batch,
    require_device,
    usable,
)
from ._state import FirstCall, refuse_kept_values

_N_PERMUTATIONS = 16


@dataclass(frozen=True)
class LabelEnergy:
    """yᵀKy, and what permuted labels score.

    Attributes:
        value: yᵀKy, exactly.
        null: the same for permuted rows of the labels.

    Example:
        >>> energy = LabelEnergy(5.0, (1.0, 2.0, 3.0))
        >>> energy.z_score, energy.p_value
        (3.0, 0.25)
    """

    value: float
    null: tuple[float, ...]

    @property
    def z_score(self) -> float:
        """Distance from the mean of the null in its standard deviations; NaN if it has none."""
        deviation = float(np.std(self.null, ddof=1))
        return (self.value - float(np.mean(self.null))) / deviation if deviation else float("nan")

    @property
    def p_value(self) -> float:
        """Share of permutations, the labels themselves among them, that score as high."""
        return (1 + sum(one >= self.value for one in self.null)) / (1 + len(self.null))


@dataclass(frozen=True)
class Sketch:
    """The products g_i·g_j of m random directions g_i = Jᵀu_i.

    Two sketches can be compared if they were made with the same rows, seed and m.

    Attributes:
        groups: by parameter group, the m × m products.
        n: number of rows.
        n_outputs: number of outputs.
        seed: of the directions.
        is_centered: whether the directions, and so the kernel, are centred over rows.
        labels: energy of the labels; None if there were none.

    Example:
        >>> found = sketch(nn.Linear(2, 1), torch.randn(8, 2), m=4)
        >>> found.products.shape, found.n_outputs
        ((4, 4), 1)
    """

    groups: Mapping[str, np.ndarray]
    n: int
    n_outputs: int
    seed: int
    is_centered: bool
    labels: LabelEnergy | None = None

    @cached_property
    def products(self) -> np.ndarray:
        """The m × m products, summed over parameter groups."""
        return np.sum(list(self.groups.values()), axis=0)

    def of_group(self, name: str) -> "Sketch":
        """The sketch of one group's part of the kernel."""
        if name not in self.groups:
            raise InputError(f"The sketch has no group {name!r}; it has {', '.join(self.groups)}.")
        kept = {name: self.groups[name]}
        return Sketch(kept, self.n, self.n_outputs, self.seed, self.is_centered)

    def trace(self) -> Estimate:
        """tr K, estimated by the mean of S_ii."""
        return sketched_trace(self.products)

    def norm(self) -> Estimate:
        """‖K‖ (Frobenius), from the mean of S_ij² over i ≠ j."""
        return sketched_norm(self.products)

    def effective_rank(self) -> Estimate:
        """(tr K)²/‖K‖²: 1 for one direction, the number of entries for the identity."""
        _require_some(self)
        return sketched_rank(self.products)

    def cosine(self, other: "Sketch") -> Estimate:
        """⟨K, K′⟩/(‖K‖‖K′‖) with a sketch of the same rows: 1 for equal kernels up to scale."""
        _require_same(self, other)
        _require_some(self, other)
        return sketched_cosine(self.products, other.products)

    def growth(self, other: "Sketch") -> Estimate:
        """tr K′/tr K: how much larger the other kernel is."""
        _require_same(self, other)
        _require_some(self)
        return sketched_growth(self.products, other.products)

    def distance(self, other: "Sketch") -> Estimate:
        """‖K′ − K‖/‖K‖."""
        _require_same(self, other)
        _require_some(self)
        return sketched_distance(self.products, other.products)


def _require_some(*sketches: Sketch) -> None:
    if not all(one.products.any() for one in sketches):
        raise InputError(
            "The sketched kernel is zero, and nothing can be compared with its size; of one row "
            "nothing is left when it is centred (center=False keeps it)."
        )


def _require_same(one: Sketch, other: Sketch) -> None:
    if not isinstance(other, Sketch):
        raise InputError(f"The other sketch is {kind_of(other)}; give one that `sketch` made.")
    mine = (len(one.products), one.n, one.n_outputs, one.seed, one.is_centered)
    yours = (len(other.products), other.n, other.n_outputs, other.seed, other.is_centered)
    if mine != yours:
        raise InputError(
            f"The sketches have (directions, rows, outputs, seed, centred) {mine} and {yours}; "
            "make both with the same rows and settings."
        )


def sketch(
    model: nn.Module,
    x: Inputs,
    m: int = 32,
    *,
    y: Tensor | None = None,
    center: bool = True,
    seed: int = 0,
    output: Output = None,
    params: Chosen = None,
    groups: Callable[[str], str] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    memory: str | int | None = None,
) -> Sketch:
    """The tangent kernel of a module through m random directions, for networks of any size.

    Random output vectors u_i (n × c, independent entries ±1) are pulled back,
    g_i = Jᵀu_i, by one ordinary backward pass each, and their products S_ij = g_i·g_j are
    kept: tr K ≈ mean S_ii, ‖K‖² ≈ mean over i ≠ j of S_ij², and ⟨K, K′⟩ of the kernels at
    two times from two sketches with the same directions. The model is left as it was.

    Args:
        model: a module.
        x: n rows.
        m: number of directions; 32 give the cosine of two kernels to about ±0.02.
        y: labels (n,) or (n, c), or classes as whole numbers (n,), for the label energy:
            17 more backward passes.
        center: whether to centre over rows. Do: an uncentred kernel is dominated by its
            constant mode, which hardly moves.
        seed: of the directions and permutations; the same for sketches to be compared.
        output: from what the model returns to a tensor (n,) or (n, c).
        params: which parameters count, as for `ntk`.
        groups: from a parameter's name to its group; None groups by module.
        optimizer: an Adam whose state preconditions the kernel: J D⁻¹ Jᵀ with
            D = √v̂ + ε.
        memory: bound on the memory used; None is half of what is free.

    Returns:
        The sketch.

    Raises:
        InputError: as `ntk`; also if ``m`` is below 3, if ``y`` does not fit, if ``groups``
            does not name a group, or if the optimizer has no second moments.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 50), nn.Tanh(), nn.Linear(50, 1))
        >>> x = torch.randn(20, 3)
        >>> start = sketch(model, x)
        >>> round(start.cosine(sketch(model, x)).value, 6)
        1.0
    """
    if isinstance(m, bool) or not isinstance(m, int) or m < 3:
        raise InputError(f"m is {m!r}; it must be a whole number of three directions or more.")
    require_seed(seed)
    model = unwrap(model)
    parameters = trainable_parameters(model, params)
    x = batch_of(x)
    require_batch(x)
    require_device(x, parameters)
    refuse_training_mode(model)
    scales = None if optimizer is None else _preconditioner(optimizer, parameters)
    named = _groups(parameters, groups)
    keep_freed_memory()
    with unchanged(model) as kept:
        x = usable(x)
        refuse_kept_values(model, x, output, kept)
        values, are_apart = _first_outputs(model, x, output, FirstCall(model, kept))
        require_graph(values)
        refuse_mixed_rows(model, x, values, output, are_apart=are_apart)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(0, 2, (m, *values.shape), generator=generator, device="cpu")
        directions = drawn.double() * 2 - 1
        if center:
            # The projection has variance 1 − 1/n on its diagonal, as the centred kernel asks.
            directions = directions - directions.mean(1, keepdim=True)

        def products(of: Tensor) -> dict[str, np.ndarray]:
            most = budget(memory, parameters)
            return pulled_products(values, of, parameters, scales=scales, memory=most)

        found = {group: np.zeros((m, m)) for group in named.values()}
        for name, one in products(directions).items():
            found[named[name]] += one
        _refuse_infinite(found)
        labels = None
        if y is not None:
            energies = sum(products(_permuted(_label_matrix(y, values), generator)).values())
            value, *null = np.diagonal(energies)
            labels = LabelEnergy(float(value), tuple(map(float, null)))
    return Sketch(found, len(values), values.shape[1], seed, center, labels)


def _first_outputs(
    model: nn.Module, x: Inputs, output: Output, first: FirstCall
) -> tuple[Tensor, bool]:
    """The outputs of all rows with their graph, and whether each operation keeps rows apart."""
    seen = observed_outputs(model, x, output)
    if first.refuse_kept([x], output):  # something of these rows, which has no influence
        seen = observed_outputs(model, x, output)
    return seen.values, seen.are_apart


def _refuse_infinite(products: Mapping[str, np.ndarray]) -> None:
    for group, found in products.items():
        if not np.isfinite(found).all():
            raise InputError(
                f"The gradient of the outputs with respect to {group!r} is NaN or infinite (such "
                "as that of a root at zero), so there is no kernel; look for it in the model."
            )


def _groups(names: Iterable[str], groups: Callable[[str], str] | None) -> dict[str, str]:
    """By parameter the name of its group."""
    if groups is not None and not callable(groups):
        raise InputError(
            f"groups is {kind_of(groups)}; give a function from a parameter's name to its "
            "group, such as lambda name: name.split('.')[0]."
        )
    named = {name: (groups or _module_of)(name) for name in names}
    for name, group in named.items():
        if not isinstance(group, str):
            raise InputError(
                f"groups returned {kind_of(group)} for the parameter {name!r}; return the "
                "name of its group (params= leaves parameters out)."
            )
    return named


def _module_of(name: str) -> str:
    return name.rsplit(".", 1)[0] if "." in name else name


def _label_matrix(y: object, values: Tensor) -> Tensor:
    """The labels as (n, c), centred over rows; classes as one-hot rows."""
    n, c = values.shape
    try:
        y = torch.as_tensor(y, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("y is not an array of numbers; give one row for each input.") from error
    if y.layout != torch.strided or y.is_nested or y.is_quantized:
        raise InputError("y is a sparse, nested or quantized tensor; give a dense one.")
    if not y.is_floating_point() and not y.is_complex():
        y = y.long()
    if y.is_complex() or not is_finite(y):
        raise InputError(
            "y holds complex, NaN or infinite entries; labels are finite real numbers."
        )
    if y.ndim == 0 or len(y) != n:
        raise InputError(f"y has shape {tuple(y.shape)} and x {n} rows; give one label for each.")
    if not y.is_floating_point() and y.ndim == 1 and c > 1:
        if int(y.min()) < 0 or int(y.max()) >= c:
            raise InputError(
                f"y has {len(y)} classes from {int(y.min())} to {int(y.max())}; wanted {n} whole "
                f"numbers from 0 to {c - 1}."
            )
        y = nn.functional.one_hot(y, c)
    y = y.double()
    y = y[:, None] if y.ndim == 1 else y
    if y.shape != values.shape:
        raise InputError(
            f"y has shape {tuple(y.shape)} and the outputs {tuple(values.shape)}; wanted labels "
            "of the outputs' shape, or classes as whole numbers."
        )
    return y - y.mean(0)


def _permuted(y: Tensor, generator: torch.Generator) -> Tensor:
    """The labels, and random permutations of their rows."""
    orders = [
        torch.randperm(len(y), generator=generator, device="cpu") for _ in range(_N_PERMUTATIONS)
    ]
    return torch.stack([y, *(y[order.to(y.device)] for order in orders)])


def _preconditioner(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]
) -> dict[str, Tensor]:
    """D^(−1/2) of Adam's step for every parameter."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(
            f"optimizer is {kind_of(optimizer)}; give the Adam or AdamW that trains the model."
        )
    scales = {}
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in parameters.items():
        state = optimizer.state.get(parameter, {})
        if "exp_avg_sq" not in state or id(parameter) not in groups:
            raise InputError(
                f"The optimizer holds no second moment of {name!r}; give the Adam or AdamW that "
                "trains the model, after its first step."
            )
        group = groups[id(parameter)]
        correction = 1 - group["betas"][1] ** float(state["step"])
        second = (state["exp_avg_sq"].detach() / correction).sqrt() + group["eps"]
        scales[name] = second.rsqrt()
    return scales
