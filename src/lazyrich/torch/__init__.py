"""The entry point to PyTorch: tangent kernels of any ``nn.Module``.

Needs the extra ``torch``. Functions take a module and a batch, compute on the device of
the module and never change it. Arrays that come back are torch tensors; those about
kernels go straight into ``lazyrich.kernel_regression``, ``lazyrich.alignment`` and the
like.
"""

from lazyrich._base import InputError as InputError
from lazyrich._base import require_extra
from lazyrich.diagnosis import Estimate as Estimate

require_extra("torch", __name__)

from ._compare import Comparison as Comparison
from ._compare import compare as compare
from ._diagnose import diagnose as diagnose
from ._explain import ModuleExplanation as ModuleExplanation
from ._explain import ModuleWay as ModuleWay
from ._explain import explain_ntk as explain_ntk
from ._linearize import LinearizedModule as LinearizedModule
from ._linearize import linearize as linearize
from ._ntk import ntk as ntk
from ._scale import ScaledModule as ScaledModule
from ._scale import scale_output as scale_output
from ._sketch import LabelEnergy as LabelEnergy
from ._sketch import Sketch as Sketch
from ._sketch import sketch as sketch
from ._watch import Watch as Watch
from ._watch import watch as watch
