"""Which failures are final, and which a later call should retry."""

import builtins

from .store._result import Facts, Outcome, this_machine

DIED = "its worker died"
_ENVIRONMENT = (ImportError, OSError, MemoryError)


def marked(outcome: Outcome, run: object) -> Outcome:
    """A failed outcome that says whose failure it was."""
    return outcome._replace(machine=outcome.machine | {"run": _name(run)})


def is_final(facts: Facts, run: object) -> bool:
    """Whether a failure that is kept would come again.

    It would where the same function raised an error of its own on this machine with these
    versions, or the experiment killed its workers here. It need not where another
    function, another machine or other versions computed it, where a module, a file or
    memory was missing, or where bad input was refused, which costs nothing to do again.

    Args:
        facts: of the failed outcome.
        run: the function that would compute it now.
    """
    error, there, here = facts["error"], facts["machine"], this_machine()
    if there.get("run") != _name(run) or any(there.get(name) != here[name] for name in here):
        return False
    if error.startswith(DIED):
        return True
    kind, _, rest = error.partition(":")
    cause = getattr(builtins, kind, Exception)
    is_environment = isinstance(cause, type) and issubclass(cause, _ENVIRONMENT)
    return "Traceback" in rest and not is_environment


def _name(run: object) -> str:
    module, name = getattr(run, "__module__", ""), getattr(run, "__qualname__", "")
    return f"{module}.{name}" if name else type(run).__qualname__
