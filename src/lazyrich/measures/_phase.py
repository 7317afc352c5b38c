"""Which of the four phases a run is in."""

from enum import IntEnum

import jax.numpy as jnp
from jaxtyping import Array, Int, ScalarLike

from lazyrich._ground import InputError, real_arrays, require_positive

from ._delay import GrokkingDelay


class Phase(IntEnum):
    """What became of a run, after Liu et al. (2022).

    Attributes:
        comprehension: the test curve followed the train curve soon.
        grokking: it followed late.
        memorisation: it never followed.
        confusion: the train curve itself never got there.

    Example:
        >>> Phase(1).name
        'grokking'
    """

    comprehension = 0
    grokking = 1
    memorisation = 2
    confusion = 3


def phase(
    found: GrokkingDelay,
    *,
    max_delay: ScalarLike = 1000.0,
    max_ratio: ScalarLike = jnp.inf,
    last_step: ScalarLike = jnp.inf,
) -> Int[Array, ""]:
    """Phase of a run, from the steps at which its train and test curves got there.

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
        found: from ``accuracy_delay`` or ``grokking_delay``, which take the levels.
        max_delay: the delay from which a run has grokked, steps; inf asks the ratio alone.
        max_ratio: the ratio t_test/t_train from which a run has grokked, dimensionless;
            inf, the default, asks the delay alone.
        last_step: later steps count as never; inf counts all that was watched.

    Returns:
        A ``Phase`` as a number. A test curve that got there where the train curve never
        did, which the table of Liu et al. leaves open, is confusion. A step that is NaN
        counts as never.

    Raises:
        InputError: if a bound is not above zero, or ``found`` is something else.

    Example:
        >>> found = GrokkingDelay(*map(jnp.asarray, (100.0, 5000.0, 4900.0, 50.0, False)))
        >>> Phase(int(phase(found))).name, Phase(int(phase(found, last_step=1000))).name
        ('grokking', 'memorisation')

    References:
        Liu, Kitouni, Nolte, Michaud, Tegmark and Williams (2022), "Towards understanding
        grokking: an effective theory of representation learning", Table 1.
    """
    require_positive(max_delay=max_delay, max_ratio=max_ratio, last_step=last_step)
    if not isinstance(found, GrokkingDelay):
        raise InputError(
            f"found is a {type(found).__name__}; give what grokking_delay or accuracy_delay "
            "returns."
        )
    train, test, delay, ratio = real_arrays(
        train_step=found.train_step,
        test_step=found.test_step,
        delay=found.delay,
        ratio=found.ratio,
    )
    has_train, has_test = (jnp.isfinite(step) & (step <= last_step) for step in (train, test))
    is_late = delay >= max_delay
    # The ratio to a train step of 0 is infinite; "no bound" lets that pass too.
    is_late = is_late | ((ratio >= max_ratio) & jnp.isfinite(max_ratio))
    after_fit = jnp.where(
        has_test,
        jnp.where(is_late, Phase.grokking, Phase.comprehension),
        Phase.memorisation,
    )
    return jnp.where(has_train, after_fit, Phase.confusion)
