"""The entry point to PyTorch: tangent kernels of any ``nn.Module``.

Needs the extra ``torch``. Functions take a module and a batch, compute on the device of
the module and never change it. Arrays that come back are torch tensors; those about
kernels go straight into ``lazyrich.kernel_regression``, ``lazyrich.alignment`` and the
like.
"""

from ._ntk import ntk as ntk
