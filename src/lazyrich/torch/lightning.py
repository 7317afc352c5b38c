"""A Lightning callback: ``Trainer(callbacks=[lazyrich.torch.lightning.Monitor(probe=(x, y))])``.

Needs Lightning, the extra ``lightning``.
"""

from importlib import import_module
from typing import Any

from jaxtyping import PyTree

from lazyrich._base import require_extra

from ._rows import Output
from ._watch import Watch, watch

try:
    _Callback: Any = import_module("lightning.pytorch.callbacks").Callback
except ImportError:  # said when a Monitor is made
    _Callback = object


class Monitor(_Callback):
    """Measures during ``trainer.fit`` and logs through the LightningModule.

    On the first rank alone, counted in optimizer steps. Saved and resumed with the
    trainer's checkpoints.

    Args:
        probe: some dozens of training rows and their labels, (x, y).
        output: from what the LightningModule returns to outputs.
        share: the part of the run time that may be spent.
        settings: further arguments of `lazyrich.torch.watch`.

    Attributes:
        watch: the `Watch`, once training has begun.

    Raises:
        InputError: when training begins, as `lazyrich.torch.watch`.
    """

    def __init__(
        self,
        probe: tuple[PyTree, PyTree],
        *,
        output: Output = None,
        share: float = 0.02,
        **settings: object,
    ) -> None:
        """Keep what to measure."""
        require_extra("lightning", "lazyrich.torch.lightning")
        super().__init__()
        self._probe = probe
        self._settings = {"output": output, "share": share, "say": None, **settings}
        self._state: dict[str, PyTree] | None = None
        self._n_logged = 0
        self.watch: Watch | None = None

    @property
    def state_key(self) -> str:
        """Under which the state is saved."""
        return "lazyrich.torch.lightning.Monitor"

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Take the reference."""
        if not trainer.is_global_zero:
            return
        self.watch = watch(pl_module, trainer.optimizers[0], self._probe, **self._settings)
        if self._state is not None:
            self.watch.load_state_dict(self._state)
            self._n_logged = len(self.watch.records)
        self.watch.__enter__()

    def on_train_batch_end(self, trainer: object, pl_module: Any, *given: object) -> None:
        """Log what the optimizer's hook has measured."""
        if self.watch is None:
            return
        for record in self.watch.records[self._n_logged :]:
            metrics = {f"lazyrich/{k}": v for k, v in record.items() if k != "step"}
            pl_module.log_dict(metrics, rank_zero_only=True, on_step=True, on_epoch=False)
        self._n_logged = len(self.watch.records)

    def on_train_end(self, trainer: object, pl_module: object) -> None:
        """Remove the optimizer's hook."""
        self._end()

    def on_exception(self, trainer: object, pl_module: object, exception: BaseException) -> None:
        """Remove the optimizer's hook."""
        self._end()

    def _end(self) -> None:
        if self.watch is not None:
            self.watch.__exit__()

    def state_dict(self) -> dict[str, PyTree]:
        """What is saved with a checkpoint."""
        return {} if self.watch is None else self.watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, PyTree]) -> None:
        """What a checkpoint holds; used when training begins."""
        self._state = state_dict or None
