"""Instruments on any predictor that measure its tangent kernel.

Never asks what kind of network it is given: a predictor is a pure function.

Vocabulary: the *tangent kernel* Θ holds the inner products of the outputs' gradients
with respect to all parameters; *traced* means summed over equal outputs; a parameter is
taken the *structured* way if its gradients are never formed.
"""

from ._ntk import explain_ntk as explain_ntk
from ._ntk import ntk as ntk
from ._ntk_explain import Explanation as Explanation
from ._ntk_explain import Way as Way
