"""An edition of the race: rules, tasks, arms and spaces, read from one TOML file."""

import hashlib
import json
import os
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from lazyrich._base import Config, InputError, Json, nearest_name, read_file, reason_of, shown
from lazyrich.training import Experiment

from ._space import Choice, Knob, sobol_points
from ._trial import Target, Trial

_FILE = Path(__file__).parent / "race.toml"
_MOST_BYTES = 1_000_000

TUNING_SEED, FRESH_SEED = 100, 1000
"""The first seed of the searches, and of the fresh runs, which share none."""

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_]{0,63}")
_TAKEN = ("controls", "store")

Space = dict[str, Knob]


class Rules(Config):
    """What is the same for every task and arm.

    Attributes:
        n_studies: independent searches of each arm.
        n_trials: trials of a study.
        n_fresh_seeds: seeds with which the best settings of each study run again.
        hold: steps for which the target must stay met.
        baseline: the arm with which the others are compared.

    Raises:
        InputError: if there are so many trials that their seeds meet the fresh ones.

    Example:
        >>> Rules(baseline="adamw").n_trials
        5
    """

    n_studies: int = Field(3, ge=1, le=20)
    n_trials: int = Field(5, ge=1, le=256)
    n_fresh_seeds: int = Field(10, ge=1, le=20)
    hold: int = Field(200, ge=0)
    baseline: str

    @model_validator(mode="after")
    def _has_seeds(self) -> "Rules":
        if self.n_studies * self.n_trials > FRESH_SEED - TUNING_SEED:
            raise InputError(
                f"{self.n_studies} studies of {self.n_trials} trials have seeds in common with the "
                f"fresh ones; give at most {FRESH_SEED - TUNING_SEED} trials in all"
            )
        return self


class RaceTask(Config):
    """A task of the race.

    Attributes:
        title: for tables and pictures.
        experiment: settings of an ``Experiment`` without optimizer and number of steps.
        target: on the validation rows.
        fit: on the training rows: when they count as fitted.
        max_steps: T_max, at which a miss is censored.
        batch_size: the small batch, which every space holds beside all rows.
        every: steps between evaluations.
        full_batch: whether all rows at once are affordable; if not, every batch is small.
        settings_from: of a task that is held out, the task whose best settings it takes.

    Example:
        >>> default_edition().task["division"].settings_from
        'addition'
    """

    title: str
    experiment: dict[str, Json]
    target: Target
    fit: Target
    max_steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    every: int = Field(10, ge=1)
    full_batch: bool = True
    settings_from: str | None = None


class Arm(Config):
    """A method of the race.

    Attributes:
        title: for tables and pictures.
        family: what kind of method it is.
        reference: where it is from.
        set: settings that make an experiment one of this arm.
        space: at most two knobs of its own.
        tuned: whether it is searched; if not, ``set`` is all.
        losses: losses for which it is defined; None is all.
        inputs: "vectors" if it is not defined for tokens.

    Example:
        >>> default_edition().arm["muon"].set
        {'optimizer.kind': 'muon'}
    """

    title: str
    family: str
    reference: str
    set: dict[str, Json] = Field(default_factory=dict)
    space: Space = Field(default_factory=dict, max_length=2)
    tuned: bool = True
    losses: tuple[str, ...] | None = None
    inputs: Literal["any", "vectors"] = "any"


class Edition(Config):
    """Everything that decides the race.

    Attributes:
        rules: what is the same everywhere.
        space: what every tuned arm searches.
        task: by name.
        arm: by name.

    Raises:
        InputError: if an experiment of a task or arm cannot be made, or a name is missing.

    Example:
        >>> edition = default_edition()
        >>> len(edition.hash), "grokfast" in edition.arm
        (64, True)
    """

    rules: Rules
    space: Space
    task: dict[str, RaceTask] = Field(min_length=1)
    arm: dict[str, Arm] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_whole(self) -> "Edition":
        if self.rules.baseline not in self.arm:
            raise InputError(
                f"the baseline is {self.rules.baseline}, which is not an arm; name one of the arms"
            )
        for name in (*self.task, *self.arm):  # each names a file or a folder of the results
            if not _NAME.fullmatch(name) or name in _TAKEN:
                raise InputError(
                    f"{shown(name)} cannot name a task or an arm; take up to 64 letters, digits "
                    f"and underscores, and neither {' nor '.join(_TAKEN)}"
                )
        for name, task in self.task.items():
            if task.settings_from is not None and task.settings_from not in self.task:
                raise InputError(
                    f"{name} takes its settings from {task.settings_from}, which is not a task"
                )
            if task.settings_from and self.task[task.settings_from].settings_from:
                raise InputError(
                    f"{name} takes its settings from {task.settings_from}, which has no search of "
                    "its own; name a task that is searched"
                )
            if "task" not in task.experiment:
                raise InputError(f"the experiment of {name} has no task; give it one")
        return self

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the settings; comments, order and what is at its default do not count."""
        tree = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(tree, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def fits(self, task: str, arm: str) -> bool:
        """Whether an arm is defined on a task."""
        method, experiment = self.arm[arm], self.task[task].experiment
        data = experiment["task"]
        is_tokens = isinstance(data, dict) and data.get("inputs") == "tokens"
        has_loss = method.losses is None or experiment.get("loss", "mse") in method.losses
        return has_loss and not (is_tokens and method.inputs == "vectors")

    def search_space(self, task: str, arm: str) -> Space:
        """What an arm searches on a task: rate, decay, batch, and its own knobs."""
        if not self.arm[arm].tuned:
            return {}
        about = self.task[task]
        sizes = ("none", about.batch_size) if about.full_batch else (about.batch_size,)
        batch: Space = {"optimizer.batch_size": Choice(of=sizes)}
        return self.space | batch | self.arm[arm].space

    def trial(self, task: str, arm: str, settings: dict[str, Json], *, seed: int) -> Trial:
        """One trial of an arm on a task with these settings.

        Raises:
            InputError: if the settings do not make an experiment.
        """
        about = self.task[task]
        return Trial(
            experiment=self._plain(task, seed).changed({**self.arm[arm].set, **settings}),
            target=about.target,
            hold=self.rules.hold,
            every=about.every,
            edition=self.hash,
        )

    def _plain(self, task: str, seed: int) -> Experiment:
        """The experiment of a task before an arm changes it."""
        about = self.task[task]
        settled: dict[str, Any] = {
            "metrics": [{"kind": "weight_norm"}],
            **about.experiment,
            "optimizer": {"kind": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-2},
            "n_steps": about.max_steps + self.rules.hold,
            "seed": seed,
        }
        return Experiment(**settled)

    def require_trials(self) -> None:
        """Refuse arms and tasks of which no trial can be made, and arms that change the task.

        Raises:
            InputError: naming the first arm and task, before anything is run.
        """
        for task in self.task:
            for arm in self.arm:
                if not self.fits(task, arm):
                    continue
                settings = sobol_points(self.search_space(task, arm), 1, seed=0)[0]
                plain, seed = self._plain(task, FRESH_SEED), FRESH_SEED
                try:
                    made = self.trial(task, arm, settings, seed=seed).experiment
                except InputError as error:
                    raise InputError(f"{arm} cannot run on {task}: {error}") from None
                for name in ("task", "seed", "n_steps", "loss"):
                    if getattr(made, name) != getattr(plain, name):
                        raise InputError(
                            f"{arm} changes {name} on {task}, which is the same for all arms; "
                            "leave it out."
                        )

    def require_names(self, tasks: tuple[str, ...], arms: tuple[str, ...]) -> None:
        """Refuse tasks and arms that are not there, and arms that are defined on none of them.

        Raises:
            InputError: naming the first.
        """
        for what, names, there in (("a task", tasks, self.task), ("an arm", arms, self.arm)):
            for name in names:
                if name not in there:
                    hint = nearest_name(name, list(there))
                    end = "" if hint.endswith("?") else "."
                    raise InputError(f"{shown(name)} is not {what} of the race; {hint}{end}")
        for arm in arms:
            if not any(self.fits(task, arm) for task in tasks or self.task):
                raise InputError(
                    f"The arm {arm} is not defined on {' or '.join(tasks) or 'any task'} (by its "
                    "loss or its inputs); choose another task."
                )


def default_edition() -> Edition:
    """The edition that comes with the package.

    Returns:
        Rules, tasks and arms.

    Example:
        >>> sorted(default_edition().task)[:2]
        ['addition', 'addition_mlp']
    """
    return read_edition(_FILE)


def read_edition(path: str | os.PathLike[str]) -> Edition:
    """An edition from a TOML file.

    Args:
        path: the file.

    Returns:
        The edition.

    Raises:
        InputError: if it cannot be read, is not TOML, or makes no race.

    Example:
        >>> read_edition("nowhere.toml")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: nowhere.toml cannot be read (No such file or
        directory); give a TOML file with rules, space, tasks and arms.
    """
    cure = "give a TOML file with rules, space, tasks and arms"
    try:
        tree = tomllib.loads(read_file(path, _MOST_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}); {cure}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not TOML ({reason_of(error)}); {cure}.") from None
    edition = Edition(**tree)
    if Path(path) != _FILE:
        edition.require_trials()
    return edition
