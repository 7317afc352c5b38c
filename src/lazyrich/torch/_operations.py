"""What sees every operation of a call."""

from torch.utils._python_dispatch import TorchDispatchMode


class EveryOperation(TorchDispatchMode):
    """Sees the operations of calls that are not compiled."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to skip it PyTorch would import its compiler first, which takes a second."""
        return False
