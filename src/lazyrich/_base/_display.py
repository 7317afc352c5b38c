"""Values and numbers as they are written in a sentence."""

import reprlib
from collections.abc import Sized

_MOST_SHOWN = 200
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlevel, _SHORT.maxtuple, _SHORT.maxlist, _SHORT.maxdict = 4, 12, 12, 12
_SHORT.maxlong = 44


def shown(value: object) -> str:
    """A value for a sentence: as Python writes it, shortened where it is long.

    Args:
        value: anything.

    Returns:
        At most about 200 characters; for a whole number of 40 digits or more their number.

    Example:
        >>> shown("mlp"), shown(10**400), len(shown("x" * 10**6)) < 100
        ("'mlp'", 'a whole number of 401 digits', True)
    """
    if isinstance(value, int) and abs(value) >= 10**40:
        # log10(2), to more digits than a length has.
        return f"a whole number of {int(value.bit_length() * 0.30102999566398120) + 1} digits"
    try:
        text = _SHORT.repr(value)
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
    except ValueError:  # a longer whole number inside than Python writes
        return f"{kind_of(value)} of {len(value) if isinstance(value, Sized) else 1} parts"


def kind_of(value: object) -> str:
    """The type of a value with its article, for a sentence on a value of the wrong type.

    Args:
        value: anything.

    Returns:
        Such as ``a str`` or ``an int``; ``None`` for None. ``a`` before a U, which most
        type names that begin with it pronounce as "you" (UUID, uint8).

    Example:
        >>> kind_of(3), kind_of("mlp"), kind_of(None)
        ('an int', 'a str', 'None')
    """
    if value is None:
        return "None"
    name = type(value).__name__
    article = "an" if name.lstrip("_")[:1].lower() in set("aeio") else "a"
    return f"{article} {name}"


def grouped(n: int) -> str:
    """A whole number in groups of three digits.

    Args:
        n: the number.

    Returns:
        Its digits, groups apart by a space.

    Example:
        >>> grouped(1000000)
        '1 000 000'
    """
    return f"{n:,}".replace(",", " ") if n < 10**30 else shown(n)


def memory_text(n_bytes: float | int) -> str:
    """A number of bytes for a sentence.

    Args:
        n_bytes: zero or above.

    Returns:
        The number in MB or GB, to about three digits.

    Example:
        >>> memory_text(1_234_000_000), memory_text(5e15)
        ('1.2 GB', '5,000,000 GB')
    """
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:,.3g} MB"
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes < 1e11 else f"{n_bytes / 1e9:,.0f} GB"
