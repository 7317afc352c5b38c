"""The error that bad input raises."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one sentence: what was given, what was wanted, what to do. The
    command line prints it and leaves with exit code 2.

    Example:
        >>> raise InputError("alpha is 0; it must be above zero.")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: alpha is 0; it must be above zero.
    """
