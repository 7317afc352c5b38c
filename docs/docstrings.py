"""How docstrings are read for the reference: a Griffe extension."""

import re

import griffe


class HouseStyle(griffe.Extension):
    """Read our section ``Example:`` as the one that holds doctests."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        """Change the docstring of every object that is loaded."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
