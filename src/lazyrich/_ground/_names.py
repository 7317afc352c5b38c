"""Settings by name: dotted paths, their ends, and the nearest to a misspelt one."""

import difflib
from collections.abc import Iterable, Sequence

_MOST_LISTED = 40
_MOST_COMPARED = 200


def matching_paths(name: str, paths: Iterable[str]) -> list[str]:
    """The paths that a name may stand for: itself, else all that end so.

    Example:
        >>> matching_paths("alpha", ["seed", "scaling.alpha"])
        ['scaling.alpha']
    """
    known = list(dict.fromkeys(paths))
    return [name] if name in known else [path for path in known if path.endswith(f".{name}")]


def nearest_name(name: str, known: Sequence[str], *, otherwise: str = "choose from") -> str:
    """The end of a sentence on a name that is not known: which was meant, or which there are.

    Args:
        name: as it was given.
        known: names or dotted paths; the last part of a path is compared too.
        otherwise: how the list begins where nothing is near.

    Example:
        >>> nearest_name("alhpa", ["seed", "scaling.alpha"])
        'did you mean scaling.alpha?'
        >>> nearest_name("zzz", ["seed", "alpha"])
        'choose from seed, alpha'
    """
    name = name[:_MOST_COMPARED]
    by_leaf = {path.rsplit(".", 1)[-1]: path for path in reversed(known)}
    leaf = name.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(name, known, 1, 0.5) or [
        by_leaf[near] for near in difflib.get_close_matches(leaf, by_leaf, 1, 0.6)
    ]
    if close:
        return f"did you mean {close[0]}?"
    rest = len(known) - _MOST_LISTED
    more = f" and {rest} more" if rest > 0 else ""
    return f"{otherwise} {', '.join(known[:_MOST_LISTED])}{more}"
