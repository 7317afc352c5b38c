"""Watch a training loop in JAX: a few measurements within a stated share of its time."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, SupportsIndex

import numpy as np

from lazyrich._base import InputError, Params, Predictor

from ._diagnosis import Diagnosis, diagnosis_of
from ._evidence import Loss, Optimization, ProbeBatch, Snapshot
from ._fit import fit_of
from ._given import whole_step
from ._jax import Network, Settings
from ._kernel_change import kernel_change
from ._linearization import linearization_gap
from ._monitored import monitored
from ._schedule import Throttle
from ._trees import Diverged

Say = Callable[[str], None] | None
"""Where lines go, such as ``print``; None for nowhere."""


class Monitor:
    """Measure a network while it is trained in a loop of one's own.

    Call it after every optimizer step; it answers at steps 1, 2, 5, 10, … if that fits into
    the share of the time, and otherwise returns None at once. It reads parameters and
    changes nothing.

    Args:
        predict: a predictor.
        params0: θ₀, the reference.
        x: probe rows, some dozens.
        y: their labels, or None.
        loss: as for `diagnose`.
        share: the part of the run time that may be spent.
        settings: as for `diagnose`; 16 random directions by default.
        say: where to tell what was spent.

    Attributes:
        records: what was measured, one dict for each time.

    Raises:
        InputError: as `diagnose`, or if the share is not above 0 and at most 1.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.eye(4)
        >>> monitor = Monitor(lambda w, x: x @ w, jnp.zeros(4), x, jnp.ones(4), share=1.0)
        >>> metrics = monitor(1, 0.5 * jnp.ones(4))
        >>> round(metrics["kernel_cosine"], 3)
        1.0
    """

    def __init__(
        self,
        predict: Predictor,
        params0: Params,
        x: Any,
        y: Any = None,
        *,
        loss: Loss | None = None,
        share: float = 0.02,
        settings: Settings | None = None,
        say: Say = None,
    ) -> None:
        """Measure the reference."""
        self._throttle, self._say = Throttle(share), say
        began = time.perf_counter()
        settings = settings or Settings(n_directions=16, kernel="sketch")
        probe = ProbeBatch(x, y, loss=loss)
        self._network = Network(predict, params0, probe, settings)
        self._start = self._seen(self._network.params0)
        self._last_params: Params | None = None
        self.records: list[dict[str, float]] = []
        self._throttle.referenced(time.perf_counter() - began)

    def __call__(
        self, step: SupportsIndex, params: Params, opt_state: Any = None
    ) -> dict[str, float] | None:
        """Measure if it is time to.

        Args:
            step: optimizer steps made so far.
            params: θ now.
            opt_state: the state of an optax optimizer; with Adam's second moments in it the
                cosine of the preconditioned kernels is measured too.

        Returns:
            The metrics by name, or None. Of a network that has diverged all are NaN.

        Raises:
            InputError: if the step is not a whole number from 0, or the parameters are not those
                of the network.
        """
        number = whole_step(step)
        self._last_params = params
        if not self._throttle.is_due(number):
            return None
        began = time.perf_counter()
        try:
            metrics = self._measure(self._network.require_like(params), opt_state)
        except Diverged:  # a monitor does not end a run
            metrics = dict.fromkeys(("linearization_gap", "kernel_cosine"), math.nan)
        self._throttle.measured(number, time.perf_counter() - began)
        record = {"step": float(number), **metrics}
        self.records.append(record)
        if self._say is not None:
            self._say(f"lazyrich at step {number}: measuring took {self._throttle}")
        return record

    @property
    def spent(self) -> float:
        """Seconds spent on measuring."""
        return self._throttle.spent

    def _seen(self, params: Params, scales: list[np.ndarray] | None = None) -> Snapshot:
        network = self._network
        products = network.products(params, network.directions, scales)
        return Snapshot(network.outputs(params, network.x), products)

    def _measure(self, params: Params, opt_state: Any) -> dict[str, float]:
        network = self._network
        now = self._seen(params)
        change = kernel_change(self._start, now)
        gap = linearization_gap(network.linear_part(params)).gap
        metrics = monitored(gap, change, network.groups(params))
        if network.labels is not None:
            metrics["probe_loss"] = fit_of(now.outputs, network.labels).loss
        scales = second_moment_scales(opt_state, params)
        if scales is not None:
            before = self._seen(network.params0, scales)
            after = self._seen(params, scales)
            metrics["preconditioned_kernel_cosine"] = kernel_change(before, after).cosine.value
        return metrics

    def diagnosis(
        self,
        params: Params | None = None,
        *,
        x_test: Any = None,
        y_test: Any = None,
        optimization: Optimization | None = None,
    ) -> Diagnosis:
        """The full diagnosis of the parameters that it saw last, or of those given.

        Args:
            params: θ; None takes those of the last call.
            x_test: rows that the network was not trained on.
            y_test: their labels.
            optimization: learning rate, weight decay and kind of the optimizer.

        Raises:
            InputError: as `diagnose`, or if there was no call yet.
        """
        params = self._last_params if params is None else params
        if params is None:
            raise InputError(
                "The monitor has not been called yet; call it with step and parameters first."
            )
        old = self._network
        loss = old.probe.loss if old.labels is None else old.labels.loss
        probe = ProbeBatch(old.probe.inputs, old.probe.targets, x_test, y_test, loss)
        network = Network(old.predict, old.params0, probe, Settings(seed=old.settings.seed))
        evidence = network.evidence(network.require_like(params), optimization=optimization)
        return diagnosis_of(evidence, network.setup(), tuple(self.records))

    def state_dict(self) -> dict[str, object]:
        """What a resumed run goes on from, as JSON values."""
        return {"throttle": self._throttle.state(), "records": [dict(r) for r in self.records]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; the monitor was made anew with the same reference.

        Raises:
            InputError: if it is no such state.
        """
        try:
            records = [{k: float(v) for k, v in one.items()} for one in state["records"]]
            self._throttle.resume(state["throttle"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError(
                "This is not a state of a monitor; give what state_dict() returned."
            ) from None
        self.records = records


def second_moment_scales(opt_state: Any, params: Params) -> list[np.ndarray] | None:
    """D^(−1/2) of Adam's step for every floating leaf; None without second moments."""
    import jax

    from ._trees import moving

    found = [
        node
        for node in jax.tree.leaves(opt_state, is_leaf=lambda node: hasattr(node, "nu"))
        if hasattr(node, "nu")
    ]
    if not found or not hasattr(found[0], "count"):
        return None
    second = moving(found[0].nu)
    if [leaf.shape for leaf in second] != [leaf.shape for leaf in moving(params)]:
        return None
    # The usual constants: a bias correction common to all parameters is no part of a cosine.
    return [1 / np.sqrt(np.sqrt(np.asarray(leaf, float)) + 1e-8) for leaf in second]
