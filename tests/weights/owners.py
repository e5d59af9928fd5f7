"""Networks built by hand that own whatever weights a test wants."""

from typing import Any, ClassVar

from netdsl.ir.layer import Layer, Weight
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType


class Owner(Layer):
    """Passes its input on and owns whatever weights it is told to."""

    kind: ClassVar[str] = "owner"
    category: ClassVar[str] = "fixed"
    reference: ClassVar[str] = "none"

    owned: Any = ()

    def infer(self, *inputs: TensorType) -> TensorType:
        return inputs[0]

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        return self.owned


TYPE = TensorType((3, 4, 4))


def build(*steps: tuple[str, tuple[Weight, ...]], auxiliary: str | None = None) -> Network:
    """A chain of owners; `auxiliary` names a node that only a train-only head reads."""
    network = Network("built")
    network.add(Node("image", Owner(), (), TYPE, None, "image", ()))
    network.inputs.append("image")
    last = "image"
    for name, owned in steps:
        network.add(Node(name, Owner(owned=owned), (last,), TYPE, None, name, ()))
        if name == auxiliary:
            network.auxiliary["head"] = name
        else:
            last = name
    network.outputs["output"] = last
    return network


CONV = (Weight("weight", (8, 3, 3, 3), initial="kaiming"), Weight("bias", (8,)))
NORM = (
    Weight("weight", (8,), initial="ones"),
    Weight("bias", (8,)),
    Weight("running_mean", (8,), role="buffer"),
    Weight("running_var", (8,), role="buffer", initial="ones"),
    Weight("num_batches_tracked", (), role="buffer", dtype="int64"),
)
DENSE = (Weight("weight", (10, 8), initial="kaiming"), Weight("bias", (10,)))
SOBEL = (Weight("weight", (1, 1, 1, 3), trainable=False, initial=((((1.0, 0.0, -1.0),),),)),)
