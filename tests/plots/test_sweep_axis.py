"""Oracle: the limits that matplotlib gives to known numbers."""

import numpy as np
import pytest

from lazyrich.plots import new_figure, plot_sweep, sweep_axis, sweep_ticks, write_figure


@pytest.mark.parametrize("measured", [[10.0, 1000.0], [np.inf, np.inf], [np.nan, np.inf]])
def test_a_dial_has_log_scales_and_room_around_it_also_if_all_is_censored(measured):
    figure, [axes] = new_figure(1, 1)
    plot_sweep(axes, [1.0, 100.0], [measured], color="C0", label="steps")
    sweep_axis(axes, title="delay", xlabel="swept parameter", ylabel="steps")
    figure.canvas.draw()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    if np.isfinite(measured).all():
        # A quarter of two decades above and below, 12 % of two decades to each side.
        assert axes.get_ylim() == pytest.approx((10**0.5, 10**3.5))
        assert axes.get_xlim() == pytest.approx((10**-0.24, 10**2.24))


def test_within_two_decades_ticks_stand_at_plain_numbers():
    figure, [axes] = new_figure(1, 1)
    plot_sweep(axes, [0.25, 4.0], [[200.0, 1500.0]], color="C0", label="steps")
    sweep_axis(axes, title="delay", xlabel="swept parameter", ylabel="steps")
    figure.canvas.draw()
    for axis, limits, wanted in [
        (axes.xaxis, axes.get_xlim(), ["0.2", "0.5", "1", "2", "5"]),
        (axes.yaxis, axes.get_ylim(), ["200", "500", "1000", "2000"]),
    ]:
        ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
        seen = [text.get_text() for place, text in ticks if limits[0] <= place <= limits[1]]
        assert seen == wanted


def test_logarithmic_axes_on_which_nothing_was_drawn_can_be_written(tmp_path):
    """Every delay censored, set to a log scale by the caller: matplotlib refused to draw it."""
    figure, [axes] = new_figure(1, 1)
    axes.plot([1.0, 2.0], [np.nan, np.nan])
    axes.set(xscale="log", yscale="log")
    sweep_ticks(axes.yaxis, [])
    paths = write_figure(figure, tmp_path, "empty")
    assert all(path.stat().st_size > 1000 for path in paths)
    assert axes.get_ylim() == (1, 10)
    assert 0 < axes.get_xlim()[0] < 2 < axes.get_xlim()[1]  # where something was, it stays
