"""Whether the rows of a predictor are independent and the same function of their inputs.

Decided from the traced program where that is possible (``_dependence``, ``_places``,
``_masks``), else by running the predictor on changed rows (``_checks``).
"""
