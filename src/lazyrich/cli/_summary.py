"""What was found in one run, in numbers and in a few sentences."""

import math
from typing import Any

import numpy as np

from lazyrich.measures import accuracy_delay, grokking_delay, peak_before, phase
from lazyrich.plots import text_curve
from lazyrich.training import History

_SHOWN = (
    "parameter_change",
    "kernel_distance",
    "alignment",
    "debiased_alignment",
    "weight_norm",
    "test_accuracy",
)
