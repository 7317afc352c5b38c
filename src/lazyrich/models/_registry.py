"""Every net by its kind."""

from typing import Annotated

from pydantic import Field

from ._committee import CommitteeNet
from ._mlp import MLPNet
from ._net import Net
from ._transformer import TransformerNet

NETS: dict[str, type[Net]] = {
    "committee": CommitteeNet,
    "mlp": MLPNet,
    "transformer": TransformerNet,
}

AnyNet = Annotated[CommitteeNet | MLPNet | TransformerNet, Field(discriminator="kind")]
"""Settings of any net, told apart by ``kind``: for fields of configs."""
