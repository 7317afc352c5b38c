"""Refuse experiments that do not fit into memory, before anything is computed."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import jax
from jaxtyping import PyTree

from lazyrich._base import Config, InputError, free_memory, grouped, memory_text

from ._simulation import Simulation

_FACTORS = (4, 2, 5, 10)
_LEAST_SHARE = 0.1
"""Of the need: what saves less is not the cause of it."""


def require_memory(experiments: Sequence[Config]) -> None:
    """Refuse experiments that cannot fit into the memory that is free.

    The estimate counts what is there at one time in any case: data, parameters and the
    optimizer's memory, activations of a step, kernels of metrics, records. It is meant to
    catch what is many times too large, and to say which setting makes it so.

    Args:
        experiments: simulations; others pass. They share the process, one after another.

    Raises:
        InputError: with what is needed, what is free, and which setting to lower.

    Example:
        >>> from lazyrich.training import CommitteeExperiment
        >>> require_memory([CommitteeExperiment(dim=5, width=20, n_train=30, n_steps=10)])
    """
    free = free_memory()
    if free is None:
        return
    for one in dict.fromkeys(map(_same_sizes, experiments)):
        needs = needs_of(one)
        total = sum(needs.values())
        if total > free:
            largest = max(needs, key=lambda part: needs[part])
            raise InputError(
                f"The experiment needs about {memory_text(total)}, most of it for {largest}, and "
                f"{memory_text(free)} are free; lower {_what_to_lower(one, needs)}."
            )


def needs_of(experiment: Config) -> Mapping[str, float]:
    """Bytes that one run takes, by what for; nothing for what is not a simulation.

    Example:
        >>> from lazyrich.training import preset
        >>> 1e5 < sum(needs_of(preset("polynomial")).values()) < 1e9
        True
    """
    return experiment.memory_needs() if isinstance(experiment, Simulation) else {}


@contextmanager
def memory_errors_said() -> Generator[None, None, None]:
    """Turn an allocation that failed all the same into a sentence."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        text = str(error)
        is_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text
        if not is_memory and "Out of memory" not in text:
            raise
        raise InputError(
            f"The run needs more memory than there is ({text.splitlines()[0][:200]}); take a "
            "smaller net, fewer points, or smaller batches."
        ) from None


def _same_sizes(experiment: Config) -> Config:
    """The settings with the seed set alike: grids have few shapes and many seeds."""
    has_seed = "seed" in type(experiment).model_fields
    return experiment.model_copy(update={"seed": 0}) if has_seed else experiment


def _what_to_lower(one: Config, needs: Mapping[str, float]) -> str:
    """The setting that, lowered, saves most; with its value."""
    tree = one.model_dump()
    total = sum(needs.values())
    savings: dict[tuple[str, int], float] = {}
    for path, value, put in _whole_numbers(tree):
        if path.endswith("seed") or path == "n_steps" or value < 2:
            continue
        for factor in _FACTORS:
            put(max(1, value // factor))
            with suppress(InputError):  # parts that no longer go together, with this factor
                savings[path, value] = total - sum(needs_of(type(one)(**tree)).values())
                break
        put(value)
    most = max(savings.values(), default=0.0)
    much = max(0.5 * most, _LEAST_SHARE * total)
    candidates = [setting for setting, saved in savings.items() if saved >= much]
    if not candidates:
        return "its sizes"
    # Of sizes that multiply each other, the one that is out of proportion.
    path, value = max(candidates, key=lambda setting: setting[1])
    return f"{path} (now {grouped(value)})"


def _whole_numbers(
    tree: PyTree, path: str = ""
) -> Iterator[tuple[str, int, Callable[[int], None]]]:
    """Every whole number of dumped settings, with a way to put another in its place."""
    if isinstance(tree, dict):
        items = [*tree.items()]
    elif isinstance(tree, tuple | list):
        items = [*enumerate(tree)]
    else:
        return
    for name, value in items:
        if isinstance(value, tuple):
            value = tree[name] = [*value]  # dumped tuples, made lists so that they can change
        here = f"{path}.{name}" if path else str(name)
        if isinstance(value, int) and not isinstance(value, bool):
            yield here, value, partial(tree.__setitem__, name)
        else:
            yield from _whole_numbers(value, here)
