"""Watch a module while it is trained, in any loop, without changing the run."""

import logging
import math
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lazyrich._base import InputError, kind_of
from lazyrich.diagnosis import (
    Diagnosis,
    Loss,
    ProbeBatch,
    Settings,
    Snapshot,
    Throttle,
    diagnosis_of,
    fit_of,
    kernel_change,
    linearization_gap,
    monitored,
    next_scheduled,
    whole_step,
)

from ._probe import ModuleProbe, optimization_of
from ._rows import Inputs, Output

_log = logging.getLogger("lazyrich")

Log = Callable[[dict[str, float], int], None] | None
"""A tracker: takes metrics and the step."""


class Watch:
    """Measurements of a module after some optimizer steps; see `watch`.

    Attributes:
        records: what was measured, one dict for each time.
        step: optimizer steps so far.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> monitor = Watch(model, optimizer, ProbeBatch(torch.randn(8, 2)), share=1.0)
        >>> with monitor:
        ...     model(torch.ones(1, 2)).sum().backward()
        ...     optimizer.step()
        >>> monitor.step, [record["kernel_growth"] for record in monitor.records]
        (1, [1.0])
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        probe: ProbeBatch,
        *,
        output: Output = None,
        share: float = 0.02,
        since: int = 0,
        settings: Settings | None = None,
        log: Log = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare to watch; `with` begins and ends it."""
        if not hasattr(optimizer, "register_step_post_hook"):
            raise InputError(
                f"optimizer is {kind_of(optimizer)}; give the torch.optim.Optimizer that "
                "trains the model (of a wrapper its .optimizer)."
            )
        self._optimizer, self._batch, self._since = optimizer, probe, whole_step(since, "since")
        settings = settings or Settings(n_directions=16, kernel="sketch")
        self._probe = ModuleProbe(model, probe, output=output, settings=settings)
        self._throttle, self._log, self._say = Throttle(share), log, say
        self._reference: dict[str, Tensor] | None = None
        self._start: Snapshot | None = None
        self._hook: RemovableHandle | None = None
        self._problem = ""
        self.records: list[dict[str, float]] = []
        self.step = 0

    def __enter__(self) -> "Watch":
        """Take the reference and begin to listen to the optimizer.

        Raises:
            InputError: if the optimizer trains no parameter of the model.
        """
        trained = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        if trained.isdisjoint(map(id, self._probe.parameters().values())):
            raise InputError(
                "optimizer trains no parameter of the model; give the one that was made with its "
                "parameters."
            )
        self._throttle.began = self._throttle.clock()
        if self._reference is None and self.step >= self._since:
            self._timed(self._take_reference)
        self._hook = self._optimizer.register_step_post_hook(self._after_step)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop listening, and say what was spent."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self._say is not None:
            self._say(f"lazyrich: {len(self.records)} measurements took {self._throttle}")

    def begin_at(self, step: int) -> None:
        """Count from a step, where a run is resumed without a saved state."""
        self.step, self._throttle.due_step = step, next_scheduled(step)

    @property
    def spent(self) -> float:
        """Seconds spent on measuring."""
        return self._throttle.spent

    def _after_step(self, *given: object) -> None:
        self.step += 1
        if self._problem:
            return
        try:
            if self._reference is None:
                if self.step >= self._since:
                    self._timed(self._take_reference)
            elif self._throttle.is_due(self.step):
                self._timed(self._measure)
        except Exception as error:  # whatever it is, it does not end the run that it watches
            self._problem = f"{type(error).__name__}: {error}"
            _log.warning("lazyrich stopped watching at step %d: %s", self.step, error)

    def _timed(self, act: Callable[[], None]) -> None:
        is_cuda = any(p.is_cuda for p in self._probe.model.parameters())
        if is_cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        act()
        seconds = time.perf_counter() - began
        if act == self._measure:
            self._throttle.measured(self.step, seconds)
        else:
            self._throttle.referenced(seconds)

    def _seen(self) -> Snapshot:
        probe = self._probe
        products = dict(probe.sketch_of(probe.model, labels=False).groups)
        return Snapshot(np.zeros(probe.shape), products)

    def _take_reference(self) -> None:
        self._reference = self._probe.copy_of_parameters()
        self._start = self._seen()

    def _measure(self) -> None:
        assert self._reference is not None  # the caller looked
        assert self._start is not None
        probe = self._probe
        record = {"step": float(self.step)}
        if not probe.is_finite():
            record |= dict.fromkeys(("linearization_gap", "kernel_cosine"), math.nan)
        else:
            change = kernel_change(self._start, self._seen())
            linear = probe.linear_part(self._reference)
            gap = linearization_gap(linear).gap
            record |= monitored(gap, change, probe.groups(self._reference))
            if probe.labels is not None:
                record["probe_loss"] = fit_of(linear.now, probe.labels).loss
        self.records.append(record)
        if self._log is not None:
            self._log({f"lazyrich/{k}": v for k, v in record.items() if k != "step"}, self.step)

    def diagnosis(self, x_test: Inputs | None = None, y_test: object = None) -> Diagnosis:
        """The full diagnosis of the module as it is now against the reference.

        Args:
            x_test: rows that it was not trained on.
            y_test: their labels.

        Returns:
            A Diagnosis, with all that was recorded.

        Raises:
            InputError: if there is no reference yet, or as `diagnose`.
        """
        if self._reference is None:
            raise InputError(
                f"The reference of step {self._since} has not been taken; enter the watch with "
                "`with` first, and train beyond that step."
            )
        old = self._probe
        loss = self._batch.loss if old.labels is None else old.labels.loss
        batch = ProbeBatch(self._batch.inputs, self._batch.targets, x_test, y_test, loss)
        settings = Settings(seed=old.settings.seed)
        probe = ModuleProbe(old.model, batch, output=old.output, settings=settings)
        notes = (f"Watching stopped early ({self._problem}).",) if self._problem else ()
        evidence = probe.evidence(
            self._reference, optimization=optimization_of(self._optimizer), notes=notes
        )
        return diagnosis_of(evidence, probe.setup(), tuple(self.records))

    def state_dict(self) -> dict[str, PyTree]:
        """What a resumed run goes on from: save it beside the model's."""
        start = self._start
        return {
            "step": self.step,
            "throttle": self._throttle.state(),
            "records": [dict(one) for one in self.records],
            "reference": self._reference,
            "products": None
            if start is None
            else {name: torch.as_tensor(s, device="cpu") for name, s in start.products.items()},
        }

    def load_state_dict(self, state: Mapping[str, PyTree]) -> None:
        """Go on from a saved state, before `with`.

        Raises:
            InputError: if it is no such state, or one of another model.
        """
        try:
            records = [{k: float(v) for k, v in one.items()} for one in state["records"]]
            step, throttle = int(state["step"]), dict(state["throttle"])
            reference, products = state["reference"], state["products"]
            shapes = {k: v.shape for k, v in (reference or {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError(
                "This is not a state of a watch; give what its state_dict() returned."
            ) from None
        own = {k: v.shape for k, v in self._probe.parameters().items()}
        if reference is not None and shapes != own:
            raise InputError("The state is of another model; watch the model that it was saved of.")
        self._throttle.resume(throttle)
        self.records, self.step = records, step
        self._reference = reference
        if products is not None:
            arrays = {k: np.asarray(v, float) for k, v in products.items()}
            self._start = Snapshot(np.zeros(self._probe.shape), arrays)


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    probe: tuple[Inputs, PyTree],
    *,
    loss: Loss | None = None,
    output: Output = None,
    share: float = 0.02,
    since: int = 0,
    settings: Settings | None = None,
    log: Log = None,
    say: Callable[[str], None] | None = print,
) -> Watch:
    """Watch a module while it is trained, in any loop, without changing the run.

    Within ``with``, kernel cosine and linearization gap against the parameters at its
    beginning are measured after optimizer steps 1, 2, 5, 10, …, as far as they fit into the
    share of the run time; one that does not fit is made up for later. Parameters, losses
    and random numbers of the run are bit for bit those without it. Steps are counted by the
    optimizer's own hook: accumulated batches count once, and a step that a GradScaler skips
    does not count.

    Args:
        model: the module, wrapped or not.
        optimizer: what trains it.
        probe: some dozens of training rows and their labels, (x, y); y may be None.
        loss: as for `diagnose`.
        output: as for `diagnose`.
        share: the part of the run time that may be spent.
        since: the optimizer step whose parameters are the reference; later than 0 where
            layers start at zero.
        settings: as for `diagnose`; 16 random directions by default.
        log: a tracker, called with metrics and the step.
        say: where to tell at the end what was spent; None for nowhere.

    Returns:
        A Watch, to be used with ``with``; ask it for ``diagnosis()`` afterwards.

    Raises:
        InputError: as `diagnose`, or if something else is not an optimizer or no share.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> x = torch.randn(8, 2)
        >>> with watch(model, optimizer, (x, x[:, :1]), share=1.0, say=None) as monitor:
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         (model(x) - x[:, :1]).square().mean().backward()
        ...         optimizer.step()
        >>> [record["step"] for record in monitor.records]
        [1.0, 2.0]
        >>> str(monitor.diagnosis().regime)
        'lazy'
    """
    if not isinstance(probe, tuple | list) or len(probe) != 2:
        raise InputError("probe must be a pair (x, y) of rows and labels; give (x, None) for none.")
    return Watch(
        model,
        optimizer,
        ProbeBatch(probe[0], probe[1], loss=loss),
        output=output,
        share=share,
        since=since,
        settings=settings,
        log=log,
        say=say,
    )
