"""Oracle: PyTorch's own settings of precision, before, during and after."""

import subprocess
import sys

import pytest

# In processes of their own: PyTorch does not go back from the newer settings to the older.
SETTINGS = {
    "never made": "pass",
    "products may be rounded": "torch.backends.cuda.matmul.allow_tf32 = True",
    "bfloat16": "torch.set_float32_matmul_precision('medium')",
    "convolutions may not be rounded": "torch.backends.cudnn.allow_tf32 = False",
    "all, in the newer way": "torch.backends.fp32_precision = 'tf32'",
    "convolutions, in the newer way": "torch.backends.cudnn.conv.fp32_precision = 'tf32'",
}
PROGRAM = """
import torch
import lazyrich.torch as lzt

PARTS = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
seen = []

def state():
    found = [part.fp32_precision for part in PARTS]
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        try:
            found.append(read())
        except RuntimeError as error:
            found.append(str(error))
    return found

class Model(torch.nn.Linear):
    def forward(self, x):
        seen.append([part.fp32_precision for part in PARTS])
        return super().forward(x)

SETTING
before = state()
lzt.ntk(Model(3, 2), torch.eye(3))
assert before == state(), (before, state())
assert seen
assert all(one in ("ieee", "none") for parts in seen for one in parts), seen
"""


@pytest.mark.slow
@pytest.mark.parametrize("case", SETTINGS)
def test_kernels_are_in_full_float32_and_settings_are_put_back(case):
    program = PROGRAM.replace("SETTING", SETTINGS[case])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
