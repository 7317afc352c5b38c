"""Oracle: the numbers given to the axes, read back from what was drawn."""

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Rectangle

from lazyrich.plots import (
    figure_style,
    new_figure,
    plot_map,
    plot_path,
    plot_sweep,
    sweep_colors,
    sweep_ticks,
    write_figure,
)

INF, NAN = float("inf"), float("nan")


def test_a_dial_shows_the_median_every_seed_and_how_many_never_got_there():
    _, [axes] = new_figure(1, 1)
    table = [[1.0, 2.0, INF], [3.0, 4.0, INF], [2.0, INF, 9.0]]
    plot_sweep(axes, [0.5, 1.0, 2.0], table, color="k", label="delay")
    median, *seeds, censored = axes.get_lines()
    np.testing.assert_array_equal(median.get_ydata(), [2.0, 4.0, NAN])
    assert [list(line.get_ydata()) for line in seeds] == [[1.0, 2.0], [3.0, 4.0], [2.0, 9.0]]
    np.testing.assert_array_equal(censored.get_xdata(), [1.0, 2.0])
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    assert "never, in so many seeds" in axes.get_legend_handles_labels()[1]


def test_a_map_hatches_what_was_censored_and_leaves_out_what_is_missing(tmp_path):
    with figure_style():
        figure, [axes] = new_figure(1, 1)
        cells = [[1.0, 10.0, 100.0], [INF, 50.0, NAN]]
        plot_map(axes, [0.1, 0.2, 0.4], [1.0, 2.0], cells, label="delay / steps")
        [path, _] = write_figure(figure, tmp_path, "map")
    assert path.stat().st_size > 0
    mesh = axes.collections[0]
    shown = np.ma.masked_invalid(mesh.get_array()).ravel()
    np.testing.assert_array_equal(shown.compressed(), [1.0, 10.0, 100.0, 50.0])
    assert isinstance(mesh.norm, mpl.colors.LogNorm)
    [hatched] = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    x, y = hatched.get_xy()
    assert x < 0.1 < x + hatched.get_width() < 0.2
    assert y < 2.0 < y + hatched.get_height()
    # Borders lie halfway in log between the centres.
    assert np.isclose(x + hatched.get_width(), np.sqrt(0.1 * 0.2))


def test_colours_are_distinct_and_in_the_order_of_the_dial():
    colors = sweep_colors([1.0, 2.0, 4.0])
    assert list(colors) == [1.0, 2.0, 4.0]
    lightness = [np.mean(color[:3]) for color in colors.values()]
    assert lightness == sorted(lightness)


def test_a_path_has_its_last_moment_filled_and_leaves_out_what_never_came():
    _, [axes] = new_figure(1, 1)
    marks = [(0.5, 1.0), (INF, 2.0), (3.0, 9.0)]
    plot_path(axes, [0.0, 1.0, 3.0], [0.0, 2.0, 9.0], color="k", label="a run", marks=marks)
    line, *dots = axes.get_lines()
    np.testing.assert_array_equal(line.get_xydata(), [[0, 0], [1, 2], [3, 9]])
    assert [np.asarray(dot.get_xydata()).tolist() for dot in dots] == [[[0.5, 1.0]], [[3.0, 9.0]]]
    assert [dot.get_markerfacecolor() for dot in dots] == ["white", "k"]


def test_ticks_of_a_dial_are_its_values_as_far_as_they_have_room():
    _, [axes] = new_figure(1, 1)
    swept = 0.02 * np.arange(1, 15)  # fourteen values, closer and closer in log
    sweep_ticks(axes.yaxis, swept)
    shown = axes.yaxis.get_majorticklocs()
    assert axes.get_yscale() == "log"
    assert set(shown) <= set(swept)
    assert shown[0] == swept[0]
    assert 4 <= len(shown) <= 7
    # None is nearer to the one before it than a sixth of the whole, in log.
    assert np.diff(np.log(shown)).min() >= np.log(swept[-1] / swept[0]) / 6 + np.log(0.99)
    assert [text.get_text() for text in axes.yaxis.get_ticklabels()] == [f"{v:.4g}" for v in shown]
    sweep_ticks(axes.xaxis, [3.0])
    assert list(axes.xaxis.get_majorticklocs()) == [3.0]
