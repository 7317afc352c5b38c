"""A race of seconds: every arm on a task so small that nothing can be learned from it."""

from functools import cache

from ._edition import Edition, default_edition

_TASK = "addition_mlp"
_RULES = {"n_studies": 1, "n_trials": 1, "n_fresh_seeds": 2, "hold": 20}
_SMALL = {
    "task": {"kind": "modular", "modulus": 5, "fraction": 0.6, "unordered": True},
    "net": {"kind": "mlp", "widths": [8]},
}


@cache
def smoke_edition() -> Edition:
    """All arms on one small task, one study of one trial, two fresh seeds, forty steps.

    It shows that everything runs and is published, and nothing about the methods.

    Returns:
        The edition.

    Example:
        >>> smoke_edition().rules.n_fresh_seeds, list(smoke_edition().task)
        (2, ['addition_mlp'])
    """
    whole = default_edition().model_dump()
    about = whole["task"][_TASK]
    about |= {"experiment": about["experiment"] | _SMALL, "max_steps": 40, "batch_size": 4}
    return Edition(**whole | {"rules": whole["rules"] | _RULES, "task": {_TASK: about}})
