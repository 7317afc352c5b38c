"""Oracle: the numbers given to the axes, read back from what was drawn."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from lazyrich.paper._seed_values import caption_above
from lazyrich.plots import (
    figure_style,
    find_figure,
    new_figure,
    plot_curve,
    plot_line,
    plot_network_and_linearized,
    plot_sweep_losses,
    write_figure,
)

VALUES = np.array([[1.0, 2.0, 4.0], [3.0, 4.0, 8.0], [2.0, 9.0, np.nan]])


def dataset():
    return xr.Dataset(
        {"loss": (("seed", "step"), VALUES), "line": ("seed", [0.1, 0.5, 0.3])},
        coords={"step": [0, 1, 10], "seed": [0, 1, 2]},
    )


def test_the_median_and_the_range_are_drawn_without_step_zero():
    _, [axes] = new_figure(1, 1)
    plot_curve(axes, dataset(), "loss", color="k", label="test", dashed=True)
    [line], [band] = axes.get_lines(), axes.collections
    np.testing.assert_array_equal(line.get_xdata(), [1, 10])
    np.testing.assert_array_equal(line.get_ydata(), [4.0, 6.0])
    assert line.get_linestyle() == "--"
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == 2.0
    assert corners[:, 1].max() == 9.0


def test_a_number_without_steps_is_a_line_with_its_range():
    _, [axes] = new_figure(1, 1)
    plot_line(axes, dataset()["line"], color="k", label="K₀")
    assert axes.get_lines()[0].get_ydata()[0] == pytest.approx(0.3)


def test_one_seed_has_no_band():
    _, [axes] = new_figure(1, 1)
    plot_curve(axes, dataset().isel(seed=[0]), "loss", color="k", label="test")
    assert not axes.collections


def test_a_picture_says_what_its_bands_are_and_says_nothing_where_it_has_none():
    for seeds, is_said in (([0, 1, 2], True), ([0], False)):
        figure, [axes] = new_figure(1, 1)
        plot_curve(axes, dataset().isel(seed=seeds), "loss", color="k", label="test")
        assert len(axes.get_legend_handles_labels()[0]) == 1  # the band is in no legend
        caption_above(figure, "quick")
        said = figure.get_suptitle()
        assert ("bands: from the lowest to the highest seed" in said) == is_said
        curves = dataset().isel(seed=seeds).expand_dims(alpha=[1.0])
        losses = xr.Dataset({"train_loss": curves.loss, "test_loss": curves.loss})
        [swept] = plot_sweep_losses(losses, title="one α").axes
        assert ("bands: lowest to highest run" in swept.get_title("left")) == is_said


def test_pictures_are_written_whole_and_the_callers_settings_left_alone(tmp_path):
    before = dict(mpl.rcParams)
    with figure_style():
        figure, [axes] = new_figure(1, 1)
        plot_curve(axes, dataset(), "loss", color="k", label="test")
        paths = write_figure(figure, tmp_path, "picture")
    assert dict(mpl.rcParams) == before
    assert [path.name for path in paths] == ["picture.png", "picture.pdf"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().rstrip().endswith(b"%%EOF")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_picture_is_found_again_only_if_it_is_made_from_the_same(tmp_path):
    figure, _ = new_figure(1, 1)
    assert find_figure(tmp_path, "picture", "runs 1") == []
    paths = write_figure(figure, tmp_path, "picture", made_from="runs 1")
    assert find_figure(tmp_path, "picture", "runs 1") == paths
    assert find_figure(tmp_path, "picture", "runs 2") == []
    paths[1].unlink()
    assert find_figure(tmp_path, "picture", "runs 1") == []
    paths[0].write_bytes(b"half")
    assert find_figure(tmp_path, "picture", "runs 1") == []


def test_net_and_linearized_are_drawn_by_the_start_of_each_seed():
    made = xr.Dataset(
        {
            name: (("seed", "step"), factor * VALUES)
            for name, factor in (
                ("train_loss", 0.5),
                ("test_loss", 1.0),
                ("linearized_train_loss", 2.0),
                ("linearized_test_loss", 3.0),
                ("kernel_regression_loss", 0.25),
            )
        },
        coords={"step": [0, 1, 10], "seed": [0, 1, 2]},
    )
    _, [axes] = new_figure(1, 1)
    plot_network_and_linearized(axes, made)
    lines = {line.get_label(): line for line in axes.get_lines()}
    # At step 1 the seeds stand at 2/1, 4/3 and 9/2 of their start.
    for label, factor in (("network, train", 0.5), ("linearized network, test", 3.0)):
        assert lines[label].get_ydata()[0] == pytest.approx(2 * factor)
    assert lines["network, train"].get_linestyle() == "--"
    assert lines["regression with $K_0$, test"].get_ydata()[0] == 0.25
