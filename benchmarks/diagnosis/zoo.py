"""Networks whose regime is known by construction, diagnosed: sets and tests the thresholds.

Lazy: linear models, linearized networks, output scale α = 10⁴. Rich: α ≤ 0.1, if it fits.
Values of α between these and all widths are measured and not judged: at α = 100 Adam moves
parameters by a tenth of their size under cross-entropy, and is not lazy in the end. One half,
with its own seeds, architectures and task, is for choosing thresholds; the other is looked at
once. Each run stops after --seconds of processor time; the cases come in a fixed random order,
so what is measured is a random part of all; the next run goes on with the rest.

    python benchmarks/diagnosis/zoo.py calibrate
    python benchmarks/diagnosis/zoo.py test
"""

import copy
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from cases import DIM, N_STEPS, Case, N, arguments, measure_all, row, shuffled
from torch import Tensor, nn

import lazyrich.torch as lzt
from lazyrich.diagnosis import Diagnosis

SEEDS = {"calibrate": (0,), "test": (10,)}
# What is not judged is measured in the first half alone: a second half is for counting.
ALPHAS = {"calibrate": (0.01, 0.1, 1.0, 10.0, 100.0, 1e4), "test": (0.01, 0.1, 1e4)}
WIDTHS = {"calibrate": (16, 256, 1024), "test": ()}


class Attention(nn.Module):
    """A transformer of one layer on eight tokens of one number each."""

    def __init__(self, width: int, n_outputs: int) -> None:
        """Make it."""
        super().__init__()
        self.embed = nn.Linear(1, width)
        self.positions = nn.Parameter(torch.randn(DIM, width))
        self.layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
        self.out = nn.Linear(width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs from the mean over tokens."""
        return self.out(self.layer(self.embed(x[:, :, None]) + self.positions).mean(1))


def mlp(activation: type[nn.Module]) -> Callable[[int, int], nn.Module]:
    """An MLP of two hidden layers."""
    return lambda width, c: nn.Sequential(
        nn.Linear(DIM, width),
        activation(),
        nn.Linear(width, width),
        activation(),
        nn.Linear(width, c),
    )


def cnn(width: int, c: int) -> nn.Module:
    """Two convolutions along the inputs."""
    return nn.Sequential(
        nn.Unflatten(1, (1, DIM)),
        nn.Conv1d(1, width, 3),
        nn.Tanh(),
        nn.Conv1d(width, width, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(width * (DIM - 4), c),
    )


ARCHITECTURES = {
    "calibrate": {"MLP tanh": mlp(nn.Tanh), "CNN": cnn},
    "test": {"MLP ReLU": mlp(nn.ReLU), "MLP GELU": mlp(nn.GELU), "transformer": Attention},
}


def labels(half: str, loss: str, x: Tensor) -> Tensor:
    """The two tasks: a product, or a sum of steps."""
    value = x[:, 0] * x[:, 1] if half == "calibrate" else torch.sign(x[:, 0]) + 0.5 * x[:, 1] ** 2
    value = (value - value.mean()) / value.std()
    return (value > 0).long() if loss == "cross_entropy" else value[:, None]


def cases(half: str) -> list[Case]:
    """All of a half, in a fixed random order."""
    found = []
    for architecture, loss, optimizer, seed in itertools.product(
        ARCHITECTURES[half], ("mse", "cross_entropy"), ("sgd", "momentum", "adam"), SEEDS[half]
    ):
        of = (half, architecture, loss, optimizer)
        found += [Case(*of, "scaled", a, 32, seed) for a in ALPHAS[half]]
        found.append(Case(*of, "linearized", 1.0, 32, seed))
        if "MLP" in architecture and optimizer == "sgd":
            found.append(Case(*of, "linear", 1.0, 0, seed))
            found += [Case(*of, "width", 1.0, w, seed) for w in WIDTHS[half]]
    return shuffled(found)


def build(case: Case) -> nn.Module:
    """The network of a case."""
    torch.manual_seed(case.seed)
    c = 2 if case.loss == "cross_entropy" else 1
    if case.kind == "linear":
        return nn.Linear(DIM, c)
    model = ARCHITECTURES[case.half][case.architecture](case.width, c)
    if case.kind == "linearized":
        return lzt.linearize(model)
    return lzt.scale_output(model, case.alpha) if case.kind == "scaled" else model


def rates(case: Case) -> float:
    """The learning rate: by α⁻² for SGD and α⁻¹ for Adam when lazy, bounded when rich."""
    if case.optimizer == "adam":
        return 0.01 / max(case.alpha, 1.0)
    rate = {"sgd": 0.2, "momentum": 0.02}[case.optimizer]
    return rate / case.alpha**2 if case.alpha >= 1 else rate / case.alpha


def train(model: nn.Module, case: Case, x: Tensor, y: Tensor) -> tuple[dict | None, float]:
    """Train; the state when the labels are fitted (None if they never are), and the end's loss."""
    criterion = (
        nn.functional.cross_entropy if case.loss == "cross_entropy" else (nn.functional.mse_loss)
    )
    parameters, rate = list(model.parameters()), rates(case)
    optimizer = (
        torch.optim.Adam(parameters, rate)
        if case.optimizer == "adam"
        else torch.optim.SGD(parameters, rate, momentum=0.9 * (case.optimizer == "momentum"))
    )
    fitted, first = None, None
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        first = loss.item() if first is None else first
        if fitted is None and loss.item() < 0.1 * first:
            fitted = {k: v.clone() for k, v in model.state_dict().items()}
    return fitted, loss.item() / first


def measured(case: Case) -> list[dict[str, Any]]:
    """A case at the fit and at the end."""
    torch.manual_seed(1000 + case.seed)
    x = torch.randn(N, DIM)
    y = labels(case.half, case.loss, x)
    model = build(case)
    start = copy.deepcopy(model.state_dict())
    fitted, remaining = train(model, case, x, y)

    def diagnosed(after: dict | None) -> Diagnosis:
        return lzt.diagnose(model, before=start, after=after, x=x, y=y, loss=case.loss)

    checkpoints = [("end", None)] if fitted is None else [("fit", fitted), ("end", None)]
    return [row(case, when, remaining, partial(diagnosed, at)) for when, at in checkpoints]


def main() -> None:
    """Measure a half and write it down."""
    given = arguments("calibrate", "test")
    torch.set_num_threads(1)
    versions = {"torch": torch.__version__}
    measure_all(given.half, cases(given.half), measured, versions, given.seconds)


if __name__ == "__main__":
    main()
