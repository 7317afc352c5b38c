"""When a run may end before its last step."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from lazyrich._base import AddedLater, Config, InputError

Values = np.ndarray | np.floating | np.integer
"""Of a record at one step."""


class Stop(Config):
    """When a run may end before its last step.

    Attributes:
        solved_loss: end once the test loss is at or below this share of the train loss
            at the start; None never does.
        solved_accuracy: end once the test accuracy is at or above this; None never does.
        solved_train_accuracy: with ``solved_accuracy``, end only once the train accuracy is
            at or above this, too; None asks nothing of it.
        when_diverged: end once a loss is not finite, and with it in the history.

    Raises:
        InputError: if a value is out of range, or there is a train accuracy alone.

    Example:
        >>> stop = Stop(solved_loss=0.01)
        >>> stop.is_asked_for, stop.when_diverged
        (True, True)
    """

    solved_loss: float | None = Field(None, gt=0)
    solved_accuracy: float | None = Field(None, gt=0, le=1)
    solved_train_accuracy: Annotated[float | None, Field(gt=0, le=1), AddedLater()] = None
    when_diverged: bool = True

    @model_validator(mode="after")
    def _has_both(self) -> "Stop":
        if self.solved_train_accuracy is not None and self.solved_accuracy is None:
            raise InputError(
                f"solved_train_accuracy is {self.solved_train_accuracy} and there is no "
                "solved_accuracy that it goes with; give both, or neither"
            )
        return self

    @property
    def is_asked_for(self) -> bool:
        """Whether there is a notion of solved."""
        return self.solved_loss is not None or self.solved_accuracy is not None

    def is_solved(self, start: Mapping[str, Values], now: Mapping[str, Values]) -> bool:
        """Whether a run with these records, at its start and now, counts as solved."""
        limit, accuracy = self.solved_loss, now.get("test_accuracy")
        is_low = limit is not None and now["test_loss"] <= limit * start["train_loss"]
        wanted = self.solved_accuracy
        is_right = wanted is not None and accuracy is not None and accuracy >= wanted
        if is_right and self.solved_train_accuracy is not None:
            is_right = now["train_accuracy"] >= self.solved_train_accuracy
        return bool(is_low or is_right)
