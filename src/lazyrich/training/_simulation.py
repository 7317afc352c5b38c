"""The interface of a simulation: the few methods that training and sweeps need."""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from lazyrich._base import Config, Status

from ._history import Description


class Inputs(NamedTuple):
    """The arrays that one run starts from; runs of one static key may differ in all of them.

    Attributes:
        data: training and test points, or None. Runs that hold the same object share it.
        params0: θ₀, the initial parameters, or whatever the run begins at.
        hyper: dynamic hyperparameters, one array or a NamedTuple of them.
        key: of what is random in the course of the run, or None.
        references: what metrics compare with, where it is computed before any batch.

    Example:
        >>> Inputs(data=None, params0=np.ones(3), hyper=0.5).references
        ()
    """

    data: PyTree
    params0: PyTree
    hyper: PyTree
    key: PyTree = None
    references: PyTree = ()


class Program(NamedTuple):
    """Pure functions that make a run; the machinery compiles, batches and spreads them.

    Attributes:
        init: inputs → (constants, state). The constants are computed once; the state is
            all that changes from step to step, so that a run goes on from it exactly.
        advance: (inputs, constants, state, first step, number of steps) → state.
        measure: (inputs, constants, state, step) → (records by name, snapshot). The
            snapshot is what metrics of the user's own are computed from. A record with a
            slash in its name is kept for ``Simulation.finish`` alone.
        params: (inputs, state, step) → the parameters that the history holds.

    Example:
        >>> decay = Program(  # x is multiplied by 1 − hyper at each step
        ...     init=lambda inputs: (None, inputs.params0),
        ...     advance=lambda inputs, constants, x, first, n: x * (1 - inputs.hyper) ** n,
        ...     measure=lambda inputs, constants, x, step: ({"train_loss": x**2}, x),
        ... )
        >>> float(decay.advance(Inputs(None, 8.0, 0.5), None, 8.0, 0, 3))
        1.0
    """

    init: Callable[[Inputs], tuple[PyTree, PyTree]]
    advance: Callable[[Inputs, PyTree, PyTree, PyTree, PyTree], PyTree]
    measure: Callable[[Inputs, PyTree, PyTree, PyTree], tuple[dict[str, PyTree], PyTree]]
    params: Callable[[Inputs, PyTree, PyTree], PyTree] = lambda inputs, state, step: state


class Simulation(Config):
    """Settings of something that is simulated step by step; abstract.

    Whatever has these verbs can be trained, batched, checkpointed, resumed and swept like
    an ``Experiment``. Only ``eval_steps``, ``sample`` and ``compile`` have to be written.

    Example:
        >>> import jax.numpy as jnp
        >>> from lazyrich.training import train
        >>> class Decay(Simulation):
        ...     rate: float = 0.5
        ...     @property
        ...     def eval_steps(self):
        ...         return np.arange(3)
        ...     def static_key(self):
        ...         return "decay"
        ...     def sample(self, drawn):
        ...         return Inputs(None, jnp.ones(()), jnp.asarray(self.rate))
        ...     @classmethod
        ...     def compile(cls, static_key):
        ...         return Program(
        ...             lambda inputs: (None, inputs.params0),
        ...             lambda inputs, constants, x, first, n: x * (1 - inputs.hyper) ** n,
        ...             lambda inputs, constants, x, step: ({"train_loss": x}, x),
        ...         )
        >>> train(Decay()).train_loss.tolist()
        [1.0, 0.5, 0.25]
    """

    former_records: ClassVar[Mapping[str, str]] = {}
    """Records that have another name now, the old name first: what is kept of them is read."""

    @property
    def schedule(self) -> np.ndarray:
        """The evaluation schedule: the steps at which the run is measured, increasing from 0.

        ``eval_steps`` where it is not overridden.
        """
        steps = getattr(self, "eval_steps", None)
        if steps is None:
            raise TypeError(f"{type(self).__name__} has no eval_steps; define it, or schedule.")
        return np.asarray(steps)

    @abstractmethod
    def sample(self, drawn: dict[Hashable, PyTree]) -> Inputs:
        """Data, initial parameters and dynamic hyperparameters.

        Args:
            drawn: what other runs have sampled, by a key of your choice; data that is found
                there, and used, is shared by the runs.

        Raises:
            InputError: if it cannot be sampled, such as for files that are missing.
        """

    @classmethod
    @abstractmethod
    def compile(cls, static_key: Any) -> Program:
        """The functions that make every run of this static key."""

    def static_key(self) -> Hashable:
        """What decides the compiled program and the shapes: equal keys share a compilation."""
        return self

    @property
    def numerics(self) -> dict[str, int]:
        """Versions of what computes the numbers; part of the store's key."""
        return {}

    @property
    def uses_x64(self) -> bool:
        """Whether JAX is to work in double precision."""
        return bool(jax.config.read("jax_enable_x64"))

    @property
    def has_even_steps(self) -> bool:
        """Whether all steps take the same time: then a few tell how fast a batch would be."""
        return True

    @property
    def may_end_early(self) -> bool:
        """Whether a record can end a run; if not, the loop need not wait for each."""
        return True

    @property
    def ends_when_solved(self) -> bool:
        """Whether runs are expected to end before their last step, each at one of its own."""
        return False

    def is_done(self, start: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> bool:
        """Whether a run with these records, at its start and now, may end before its last step."""
        del start
        return not all_finite([now])

    def status(self, records: Mapping[str, np.ndarray]) -> Status:
        """How a run with these records, evaluations first, has ended."""
        return Status.ok if all_finite([records]) else Status.diverged

    def finish(
        self, inputs: Inputs, steps: np.ndarray, records: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The records of a finished run, with those that need all of it, or no batch."""
        del inputs, steps
        return records

    def describe(self, params: PyTree) -> dict[str, Description]:
        """Units and axes of the records that are more than dimensionless numbers."""
        del params
        return {}

    def memory_needs(self) -> Mapping[str, float]:
        """Bytes that a run takes, by what for, as far as it is known beforehand."""
        return {}


def all_finite(records: Iterable[Mapping[str, PyTree]]) -> bool:
    """Whether all losses are finite."""
    return all(
        np.isfinite(values).all()
        for one in records
        for name, values in one.items()
        if name in ("train_loss", "test_loss")
    )
