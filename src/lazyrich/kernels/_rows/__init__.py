"""Whether the rows of a predictor are independent and the same function of their inputs.

Decided from the traced program where it tells (``_dependence``, ``_places``, ``_masks``),
else by trying (``_checks``).
"""
