"""Networks as functions of their parameters, and the ways to scale them.

Every net is a ``Predictor``: a pure function of parameters and a batch. A scaled net is
a predictor again.

Vocabulary: *params* are a net's arrays, *params0* those at initialisation; *alpha* is
the output scale, *weight_scale* σ the standard deviation of the initial weights,
*readouts* v the output weights of a two-layer net; a *dynamic hyperparameter* is a
setting that may be traced.
"""

from lazyrich._base import hermite as hermite

from ._committee import CommitteeNet as CommitteeNet
from ._committee import CommitteeParams as CommitteeParams
from ._committee import committee_machine as committee_machine
from ._committee import init_committee_machine as init_committee_machine
from ._mlp import MLP as MLP
from ._mlp import MLPNet as MLPNet
from ._net import Net as Net
from ._registry import NETS as NETS
from ._registry import AnyNet as AnyNet
from ._scaling import centred as centred
from ._scaling import scale_output as scale_output
from ._scaling import scaled_output as scaled_output
from ._transformer import Transformer as Transformer
from ._transformer import TransformerNet as TransformerNet
