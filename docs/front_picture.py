"""Draws the picture of the front page, Figure 1(b) in the authors' own draw, from the records."""

import hashlib
from pathlib import Path

from PIL import Image

from lazyrich.paper._files import read_panels
from lazyrich.plots import COLORS, figure_style, new_figure

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "results" / "authors" / "fig1.nc"
PICTURE = ROOT / "docs" / "images" / "late.png"
KEY = "made_from"  # in the PNG file: the digest of the records
CURVES = [  # record, colour, dashed, label, where it stands
    ("test_loss", "net", False, "network, test", (15_000, 0.34)),
    ("train_loss", "net", True, "network, train", (170, 0.22)),
    ("linearized_test_loss", "linearized", False, "linearized network, test", (70, 1.36)),
    ("linearized_train_loss", "linearized", True, "linearized\nnetwork, train", (130, 0.88)),
]


def digest() -> str:
    """Of the records."""
    return hashlib.sha256(RECORDED.read_bytes()).hexdigest()


def draw() -> None:
    """Write the picture."""
    run = read_panels(RECORDED.read_bytes())["runs"].isel(seed=0)
    start = float(run.test_loss[0])
    with figure_style():
        figure, [axes] = new_figure(1, 1)
        figure.set_size_inches(4.8, 3.2)  # for text of 11 points to be read on a phone
        for name, color, dashed, label, place in CURVES:
            dash = "--" if dashed else "-"
            axes.plot(run.step, run[name] / start, dash, color=COLORS[color], linewidth=2)
            axes.annotate(label, place, color=COLORS[color], fontsize=11)
        line = float(run.kernel_regression_loss[0]) / start
        axes.axhline(line, color="0.4", linestyle=":")
        axes.annotate("regression with the initial kernel, test", (1.15, line - 0.09), color="0.3")
        axes.set(xscale="log", xlim=(1, float(run.step.max())), ylim=(0, 1.45))
        axes.set_xlabel("steps of gradient descent, no weight decay", fontsize=11)
        axes.set_ylabel("loss / initial test loss", fontsize=11)
        axes.tick_params(labelsize=10)
    figure.savefig(PICTURE, dpi=210, metadata={KEY: digest()})


def drawn_from() -> str:
    """The digest that the picture names."""
    with Image.open(PICTURE) as picture:
        return str(picture.info[KEY])


if __name__ == "__main__":
    draw()
