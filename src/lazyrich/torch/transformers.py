"""A callback of the Trainer of Hugging Face: ``callbacks=[Monitor(probe=(x, y))]``.

Needs transformers, the extra ``transformers``.
"""

from importlib import import_module
from typing import Any, ClassVar

from jaxtyping import PyTree

from lazyrich._base import require_extra

from ._rows import Output
from ._watch import Watch, watch

try:
    _callback = import_module("transformers.trainer_callback")
    _Callback: Any = _callback.TrainerCallback
    _State: Any = _callback.ExportableState
except ImportError:  # said when a Monitor is made
    _Callback = type("TrainerCallback", (), {})
    _State = type("ExportableState", (), {})


def _logits(out: PyTree) -> PyTree:
    return out.logits if hasattr(out, "logits") else out


class Monitor(_Callback, _State):
    """Measures during ``trainer.train()`` and adds metrics to the Trainer's logs.

    On the process of rank zero alone, counted in optimizer steps. Its records are saved and
    resumed with the trainer's state; the reference of a resumed run is the first one of it.

    Args:
        probe: some dozens of training rows and their labels, (x, y): x a dict of the model's
            arguments, y of the outputs' shape or classes. None takes all settings of the
            Monitor that was made last, as the Trainer does when it restores callbacks.
        output: from what the model returns to outputs (n,) or (n, c); by default its logits.
        share: the part of the run time that may be spent.
        settings: further arguments of `lazyrich.torch.watch`.

    Attributes:
        watch: the `Watch`, once training has begun.
        records: what was measured.

    Raises:
        InputError: when training begins, as `lazyrich.torch.watch`.
    """

    _made_last: ClassVar[tuple[object, dict[str, object]]] = (None, {})

    def __init__(
        self,
        probe: tuple[PyTree, PyTree] | None = None,
        *,
        output: Output = _logits,
        share: float = 0.02,
        **settings: object,
    ) -> None:
        """Keep what to measure."""
        require_extra("transformers", "lazyrich.torch.transformers")
        super().__init__()
        self._probe = probe
        self._settings = {"output": output, "share": share, "say": None, **settings}
        if probe is None:  # the Trainer restores a callback from numbers alone
            self._probe, self._settings = Monitor._made_last
        Monitor._made_last = (self._probe, self._settings)
        self.watch: Watch | None = None
        self.records: list[dict[str, float]] = []
        self._n_before = self._n_logged = 0

    def on_train_begin(self, args: Any, state: PyTree, control: Any, **kwargs: Any) -> None:
        """Take the reference."""
        if not state.is_world_process_zero or self._probe is None:
            return
        optimizer = kwargs["optimizer"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # out of Accelerate's wrapper
        self._n_before = self._n_logged = len(self.records)
        self.watch = watch(kwargs["model"], optimizer, self._probe, **self._settings)
        self.watch.begin_at(int(state.global_step))
        self.watch.__enter__()

    def on_log(
        self,
        args: object,
        state: PyTree,
        control: object,
        logs: dict[str, object] | None = None,
        **kwargs: object,
    ) -> None:
        """Add what was measured last."""
        self._keep()
        if self.watch is None or self._n_logged == len(self.records):
            return
        self._n_logged = len(self.records)
        newest = {f"lazyrich_{k}": v for k, v in self.records[-1].items() if k != "step"}
        # The history has a copy of the logs by now.
        history = getattr(state, "log_history", None)
        for one in (logs, history[-1] if history else None):
            if one is not None:
                one.update(newest)

    def on_train_end(self, args: object, state: PyTree, control: object, **kwargs: object) -> None:
        """Remove the optimizer's hook."""
        if self.watch is not None:
            self.watch.__exit__()
            self._keep()

    def _keep(self) -> None:
        if self.watch is not None:
            self.records = self.records[: self._n_before] + list(self.watch.records)

    def state(self) -> dict[str, PyTree]:
        """What is saved with the trainer's state: numbers alone."""
        self._keep()
        return {
            "args": {},
            "attributes": {"records": [dict(one) for one in self.records]},
        }
