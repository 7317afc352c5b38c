"""JAX fills the evidence: outputs, products of pulled-back directions, derivatives, kernels."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lazyrich._base import InputError, Json, Params, Predictor, kind_of, require_seed
from lazyrich.kernels import check_predictor, linearize, ntk

from ._evidence import (
    Evidence,
    GroupChange,
    Labels,
    LinearPart,
    Optimization,
    ProbeBatch,
    Snapshot,
    loss_taken,
    permuted,
    random_directions,
    read_labels,
)
from ._fit import cosine_of, loss_gradient
from ._given import require_different_rows, require_kind, require_rows, rows_taken
from ._label_energy import N_PERMUTATIONS
from ._trees import (
    Diverged,
    as_batch,
    as_tree,
    chunks,
    doubled,
    group_names,
    host,
    is_moving,
    moving,
    n_rows,
    rebuilt,
)

_DIRECTIONS_AT_ONCE = 8

Features = Callable[[Params, PyTree], Array]
"""From parameters and a batch to the inputs of the last layer, (n, p)."""


@dataclass(frozen=True)
class Settings:
    """How a network is measured.

    Attributes:
        n_directions: random directions of the sketch.
        kernel: ``"exact"``, ``"sketch"``, or ``"auto"``: exact up to 2000 rows × outputs
            unless the network is large.
        seed: of directions and permutations.

    Example:
        >>> Settings().is_exact(100, 10, 10_000)
        True
    """

    n_directions: int = 32
    kernel: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be measured with.

        Raises:
            InputError: if there are too few directions, no such kind of kernel, or if the
                seed is not a whole number from 0.
        """
        n = self.n_directions
        require_seed(self.seed)
        if isinstance(n, bool) or not isinstance(n, int) or n < 3:
            raise InputError(f"n_directions is {n!r}; it must be a whole number from 3.")
        if self.kernel not in ("auto", "exact", "sketch"):
            raise InputError(f"kernel is {self.kernel!r}; it must be 'auto', 'exact' or 'sketch'.")

    def is_exact(self, n: int, c: int, n_parameters: int) -> bool:
        """Whether the exact kernel of n rows and c outputs is to be computed."""
        if self.kernel != "auto":
            return self.kernel == "exact"
        return n * c <= 2000 and n * c * n_parameters <= 2e9


class Network:
    """A predictor on a probe batch, with its compiled functions."""

    def __init__(
        self,
        predict: Predictor,
        params0: Params,
        probe: ProbeBatch,
        settings: Settings,
        name: str = "params0",
    ) -> None:
        """Look at the predictor at its reference parameters, by their name to the caller."""
        if not callable(predict):
            raise InputError(
                f"predict is {kind_of(predict)}; give a function of parameters and a batch."
            )
        require_kind(settings, Settings, "settings")
        self.predict, self.settings, self.probe = predict, settings, probe
        self.x = as_batch(probe.inputs, "x")
        self.test_x = None if probe.test_inputs is None else as_batch(probe.test_inputs, "x_test")
        self.params0 = as_tree(params0, name)
        self.names = group_names(self.params0)
        n = n_rows(self.x)
        require_rows(n)
        require_different_rows([np.asarray(leaf) for leaf in jax.tree.leaves(self.x)])
        linearize(predict, self.params0)  # which says clearly what cannot be parameters
        with rows_taken("x"):
            outputs = self.outputs(self.params0, self.x, name)
        self.shape = (n, outputs.shape[1])
        if self.test_x is not None:
            with rows_taken("x_test"):
                tested = self.outputs(self.params0, self.test_x, name)
            if tested.shape[1] != outputs.shape[1]:
                raise InputError(
                    f"predict returned {tested.shape[1]} outputs for x_test and {outputs.shape[1]} "
                    "for x; give rows of one kind."
                )
        self.n_parameters = sum(leaf.size for leaf in moving(self.params0))
        if not settings.is_exact(*self.shape, self.n_parameters):
            check_predictor(predict, self.params0, self.x)  # as the exact kernel does
        loss, c = probe.loss, outputs.shape[1]
        self.labels = read_labels(host(probe.targets), c, n, loss)
        self.test_labels: Labels | None = None
        if self.test_x is not None and probe.test_targets is not None:
            self.test_labels = read_labels(
                host(probe.test_targets),
                c,
                n_rows(self.test_x),
                self.labels.loss if self.labels is not None else loss,
                "y_test",
            )
        self.directions = random_directions(settings.n_directions, self.shape, settings.seed)
        self._pull = jax.jit(self._pull_back, static_argnums=2)

    def outputs(self, params: Params, x: PyTree, name: str = "params") -> np.ndarray:
        """(n, c) in double precision on the host.

        Raises:
            InputError: if they have another shape or are not finite.
        """
        values = np.asarray(self.predict(params, x))
        n = n_rows(x)
        if values.ndim not in (1, 2) or len(values) != n or 0 in values.shape:
            raise InputError(
                f"predict returned shape {values.shape} for {n} rows; wanted ({n},) or ({n}, c)."
            )
        if not np.isfinite(values.astype(float)).all():
            raise Diverged(
                f"The outputs at {name} are NaN or infinite: the network has diverged there; give "
                "parameters from before that."
            )
        return values.astype(float).reshape(n, -1)

    def require_like(self, params: Params, name: str = "params") -> Params:
        """The parameters, if they are finite and have the structure of the reference.

        Raises:
            InputError: otherwise.
        """
        params = as_tree(params, name)
        if jax.tree.structure(params) != jax.tree.structure(self.params0):
            raise InputError(
                f"{name} has structure {jax.tree.structure(params)} and params0 "
                f"{jax.tree.structure(self.params0)}; give two checkpoints of one network."
            )
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(self.params0), strict=True):
            if jnp.shape(a) != jnp.shape(b) or is_moving(a) != is_moving(b):
                given, wanted = (f"shape {jnp.shape(c)}, {jnp.result_type(c)}," for c in (a, b))
                raise InputError(
                    f"{name} has a leaf of {given} where params0 has one of {wanted} so they do "
                    "not fit; give two checkpoints of one network."
                )
        return params

    def _pull_back(self, leaves: list[Array], directions: Array, which: tuple[int, ...]) -> PyTree:
        """Jᵀu for some leaves, (m, p) each."""
        chosen = [leaves[k] for k in which]

        def function(chosen: list[Array]) -> Array:
            every = list(leaves)
            for k, leaf in zip(which, chosen, strict=True):
                every[k] = leaf
            return self.predict(rebuilt(self.params0, every), self.x).reshape(self.shape)

        outputs, back = jax.vjp(function, chosen)
        pulled = jax.vmap(lambda u: back(u.astype(outputs.dtype))[0])(directions)
        return [leaf.reshape(len(directions), -1) for leaf in pulled]

    def pulled(self, params: Params, directions: np.ndarray, which: tuple[int, ...]) -> PyTree:
        """Jᵀu of all directions for some leaves, a few directions at a time."""
        leaves, m = moving(params), len(directions)
        missing = -m % _DIRECTIONS_AT_ONCE  # equal numbers, so that there is one program
        filled = np.concatenate([directions, np.zeros((missing, *directions.shape[1:]))])
        pieces = [
            self._pull(leaves, jnp.asarray(filled[k : k + _DIRECTIONS_AT_ONCE]), which)
            for k in range(0, m, _DIRECTIONS_AT_ONCE)
        ]
        joined = zip(*pieces, strict=True)
        return [np.concatenate([np.asarray(p) for p in leaf])[:m] for leaf in joined]

    def products(
        self, params: Params, directions: np.ndarray, scales: list[np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """By group, the products of pulled-back directions; scales are those of Adam."""
        m = len(directions)
        found = {name: np.zeros((m, m)) for name in self.names}
        for which in chunks([leaf.size * m for leaf in moving(params)]):
            for k, rows in zip(which, self.pulled(params, directions, which), strict=True):
                rows = rows if scales is None else rows * scales[k].reshape(1, -1)
                rows = rows if rows.dtype == np.float64 else rows.astype(np.float32)
                found[self.names[k]] += (rows @ rows.T).astype(float)
        return found

    def snapshot(self, params: Params, *, is_start: bool, features: Features | None) -> Snapshot:
        """Everything about one checkpoint."""
        m, name = self.settings.n_directions, "params0" if is_start else "params"
        outputs = self.outputs(params, self.x, name)
        is_exact = self.settings.is_exact(*self.shape, self.n_parameters)
        directions, labels = self.directions, self.labels
        if labels is not None and not is_exact:
            rows = permuted(labels, N_PERMUTATIONS, self.settings.seed)
            directions = np.concatenate([directions, rows])
        products = self.products(params, directions)
        energies = np.sum([np.diagonal(s)[m:] for s in products.values()], 0)
        test_x = self.test_x
        return Snapshot(
            outputs=outputs,
            products={name: s[:m, :m] for name, s in products.items()},
            label_energy=float(energies[0]) if len(energies) else math.nan,
            permuted_energy=energies[1:],
            kernel=self._kernel(params, None) if is_exact else None,
            query_kernel=self._query_kernel(params) if is_exact and is_start else None,
            test_outputs=None if test_x is None else self.outputs(params, test_x, name),
            features=None if features is None else _features(features, params, self.x),
            test_features=None
            if features is None or test_x is None
            else _features(features, params, test_x),
        )

    def _kernel(self, params: Params, query: PyTree) -> np.ndarray:
        if query is None:
            kernel = np.asarray(ntk(self.predict, params, self.x), float)
        else:
            kernel = np.asarray(ntk(self.predict, params, query, self.x), float)
        return kernel if kernel.ndim == 4 else kernel[:, :, None, None]

    def _query_kernel(self, params: Params) -> np.ndarray | None:
        if self.test_x is None or self.test_labels is None:
            return None
        if n_rows(self.test_x) * self.shape[1] > 20_000:
            return None
        return self._kernel(params, self.test_x)

    def linear_part(self, params: Params) -> LinearPart:
        """f₀ + J₀Δ by one forward derivative, in double precision if the predictor allows it."""
        try:
            with jax.enable_x64(True):
                part = self._linear_part(doubled(self.params0), doubled(params), doubled(self.x))
            if all(np.isfinite(one).all() for one in (part.now, part.slopes["jvp"])):
                return part
        except Exception:  # a predictor that holds on to single precision
            pass
        return self._linear_part(self.params0, params, self.x)

    def _linear_part(self, params0: Params, params: Params, x: PyTree) -> LinearPart:
        start, now = self.predict(params0, x), self.predict(params, x)
        linear = np.asarray(linearize(self.predict, params0)(params, x)).astype(float)
        epsilon = float(jnp.finfo(now.dtype).eps)
        first, last, whole = (
            np.asarray(one).astype(float).reshape(self.shape) for one in (start, now, linear)
        )
        return LinearPart(first, last, {"jvp": whole - first}, epsilon)

    def gradient_cosine(self, params: Params, outputs: np.ndarray) -> float:
        """cos(−∂L/∂θ, θ) on the probe rows; NaN without labels."""
        if self.labels is None:
            return math.nan
        cotangent = loss_gradient(outputs, self.labels)[None]
        leaves = moving(params)
        pulled = self.pulled(params, cotangent, tuple(range(len(leaves))))
        gradient = np.concatenate([one.ravel() for one in pulled]).astype(float)
        flat = np.concatenate([np.asarray(one, float).ravel() for one in leaves])
        return cosine_of(-gradient, flat)

    def groups(self, params: Params) -> dict[str, GroupChange]:
        """How far each group has moved."""
        squares: dict[str, list[float]] = {}
        pairs = zip(self.names, moving(self.params0), moving(params), strict=True)
        for name, start, now in pairs:
            first, last = np.asarray(start).astype(float), np.asarray(now).astype(float)
            new = [float((one**2).sum()) for one in (first, last, last - first)]
            squares[name] = [a + b for a, b in zip(squares.get(name, [0.0] * 3), new, strict=True)]
        return {name: GroupChange(*map(math.sqrt, three)) for name, three in squares.items()}

    def evidence(
        self,
        params: Params,
        *,
        features: Features | None = None,
        optimization: Optimization | None = None,
        notes: tuple[str, ...] = (),
        is_alone: bool = False,
    ) -> Evidence:
        """All evidence of a later checkpoint against the reference, or of it alone."""
        require_kind(optimization, Optimization, "optimization")
        now = self.snapshot(params, is_start=False, features=features)
        return Evidence(
            now=now,
            start=None
            if is_alone
            else self.snapshot(self.params0, is_start=True, features=features),
            linear=None if is_alone else self.linear_part(params),
            groups={} if is_alone else self.groups(params),
            labels=self.labels,
            test_labels=self.test_labels,
            gradient_cosine=self.gradient_cosine(params, now.outputs),
            optimization=optimization or Optimization(),
            notes=loss_taken(self.labels, self.probe.loss) + notes,
            n_parameters=self.n_parameters,
        )

    def setup(self) -> dict[str, Json]:
        """What was measured, for the report."""
        return {
            "framework": f"JAX {jax.__version__}",
            "rows": self.shape[0],
            "outputs": self.shape[1],
            "parameters": self.n_parameters,
            "loss": None if self.labels is None else self.labels.loss,
            "kernel": "exact"
            if self.settings.is_exact(*self.shape, self.n_parameters)
            else f"sketch of {self.settings.n_directions} random directions",
        }


def _features(features: Features, params: Params, x: PyTree) -> np.ndarray:
    if not callable(features):
        raise InputError(
            f"features is {kind_of(features)}; give a function of parameters and rows that "
            "returns the inputs of the last layer, (n, p)."
        )
    given = np.asarray(features(params, x))
    if given.dtype.kind not in "biuf" and given.dtype != jnp.bfloat16:
        raise InputError(f"features returned {given.dtype} values; wanted real numbers (n, p).")
    values = given.astype(float)
    if not np.isfinite(values).all():
        raise InputError("features returned NaN or infinite entries; wanted finite numbers (n, p).")
    if values.ndim < 2 or len(values) != n_rows(x):
        raise InputError(
            f"features returned shape {values.shape} for {n_rows(x)} rows; wanted (n, p), the "
            "inputs of the last layer."
        )
    return values.reshape(len(values), -1)
