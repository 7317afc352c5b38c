"""The check of the package's annotations by beartype, written once for each signature.

jaxtyping hands over functions that it makes from a signature alone: no body, no closure. The
package defines functions inside of others, anew at every call, and beartype would write and
compile the same check for each of them: a tenth of the time of the tests of kernels.
"""

import beartype

_checks = {}


def check(function):
    """Return the check of this signature: the same types and default values have one."""
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    key = (
        function.__module__,
        function.__qualname__,
        function.__code__,
        tuple(function.__annotations__.items()),
        tuple(map(id, defaults)),  # the function that is kept keeps them alive
    )
    try:
        if key not in _checks:
            _checks[key] = beartype.beartype(function)
    except TypeError:  # a type that cannot be hashed
        return beartype.beartype(function)
    return _checks[key]
