"""Settings by name: dotted paths, their ends, and the nearest to a misspelt one."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

_MOST_LISTED = 40
_MOST_COMPARED = 200


def matching_paths(name: str, paths: Iterable[str]) -> list[str]:
    """The paths that a name may stand for: itself, else all that end so.

    Args:
        name: a path or the end of one.
        paths: those that are known.

    Returns:
        None, one or several of the paths.

    Example:
        >>> matching_paths("alpha", ["seed", "scaling.alpha"])
        ['scaling.alpha']
    """
    known = list(dict.fromkeys(paths))
    return [name] if name in known else [path for path in known if path.endswith(f".{name}")]


def field_paths(tree: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The dotted paths of every field of a dumped config, branches before leaves.

    Args:
        tree: fields by name; values that are mappings are branches.
        prefix: put before every path.

    Returns:
        The paths, in the order of the fields.

    Example:
        >>> list(field_paths({"seed": 0, "scaling": {"alpha": 1.0}}))
        ['seed', 'scaling', 'scaling.alpha']
    """
    for name, value in tree.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from field_paths(value, f"{prefix}{name}.")


def full_path(name: str, tree: Mapping[str, object]) -> str:
    """The path of a field from an end of it that no other field has.

    Args:
        name: a path or the end of one.
        tree: fields by name.

    Returns:
        The path; the name as it is where it fits no field or more than one.

    Example:
        >>> full_path("alpha", {"scaling": {"alpha": 1.0}})
        'scaling.alpha'
    """
    fitting = matching_paths(name, field_paths(tree))
    return fitting[0] if len(fitting) == 1 else name


def nearest_name(name: str, known: Sequence[str], *, otherwise: str = "choose from") -> str:
    """The end of a sentence on a name that is not known: which was meant, or which there are.

    Args:
        name: as it was given.
        known: names or dotted paths; the last part of a path is compared too.
        otherwise: how the list begins where nothing is near.

    Returns:
        A question with the nearest name, else the list of all of them, shortened to 40.

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
