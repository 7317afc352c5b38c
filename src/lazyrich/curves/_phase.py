"""Which of the four phases a run is in."""

from enum import IntEnum

import jax.numpy as jnp
from jaxtyping import Array, Int, ScalarLike

from lazyrich._base import InputError, kind_of, real_arrays, require_positive

from ._delay import GrokkingDelay


class Phase(IntEnum):
    """The outcome of a run, after Liu et al. (2022).

    Attributes:
        comprehension: the test curve reached its level soon after the train curve.
        grokking: it reached its level late.
        memorisation: it never reached it.
        confusion: the train curve never reached its own level.

    Example:
        >>> Phase(1).name
        'grokking'
    """

    comprehension = 0
    grokking = 1
    memorisation = 2
    confusion = 3


def phase(
    delay: GrokkingDelay,
    *,
    max_delay: ScalarLike = 1000.0,
    max_ratio: ScalarLike = jnp.inf,
    last_step: ScalarLike = jnp.inf,
) -> Int[Array, ""]:
    """Phase of a run, from the steps at which its train and test curves reach their levels.

    With t_train and t_test of ``grokking_delay`` or ``accuracy_delay``:

    | phase | t_train ≤ last_step | t_test ≤ last_step | t_test soon after t_train |
    |---|---|---|---|
    | comprehension | yes | yes | yes |
    | grokking | yes | yes | no |
    | memorisation | yes | no | |
    | confusion | no | (not asked) | |

    "Soon" is t_test − t_train < ``max_delay`` and t_test/t_train < ``max_ratio``: set one
    of the two to inf to ask the other alone. Liu et al. ask for accuracies of 0.9 within
    10⁵ steps, fewer than 10³ of them in between. Such counts depend on the learning
    rate: give your own. jit- and vmap-safe.

    Args:
        delay: from ``accuracy_delay`` or ``grokking_delay``, which take the levels.
        max_delay: the delay from which a run has grokked, steps; inf asks the ratio alone.
        max_ratio: the ratio t_test/t_train from which a run has grokked, dimensionless;
            inf, the default, asks the delay alone.
        last_step: later steps count as never; inf counts all that was watched.

    Returns:
        A ``Phase`` as a number. A test curve that reaches its level where the train curve
        never does, a case that Liu et al. leave open, is confusion. A step that is NaN
        counts as never.

    Raises:
        InputError: if a bound is not above zero, or ``delay`` is something else.

    Example:
        >>> delay = GrokkingDelay(*map(jnp.asarray, (100.0, 5000.0, 4900.0, 50.0, False)))
        >>> Phase(int(phase(delay))).name, Phase(int(phase(delay, last_step=1000))).name
        ('grokking', 'memorisation')

    References:
        Liu, Kitouni, Nolte, Michaud, Tegmark and Williams (2022), "Towards understanding
        grokking: an effective theory of representation learning", Table 1.
    """
    require_positive(max_delay=max_delay, max_ratio=max_ratio, last_step=last_step)
    if not isinstance(delay, GrokkingDelay):
        raise InputError(
            f"delay is {kind_of(delay)}; give what grokking_delay or accuracy_delay returns."
        )
    train, test, n_steps, ratio = real_arrays(
        train_step=delay.train_step,
        test_step=delay.test_step,
        delay=delay.delay,
        ratio=delay.ratio,
    )
    has_train, has_test = (jnp.isfinite(step) & (step <= last_step) for step in (train, test))
    is_late = n_steps >= max_delay
    # The ratio to a train step of 0 is infinite, which "no bound" must allow too.
    is_late = is_late | ((ratio >= max_ratio) & jnp.isfinite(max_ratio))
    after_fit = jnp.where(
        has_test,
        jnp.where(is_late, Phase.grokking, Phase.comprehension),
        Phase.memorisation,
    )
    return jnp.where(has_train, after_fit, Phase.confusion)
