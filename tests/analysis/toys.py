"""A few layers in their plainest form, and a way to wire them up by hand."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, ClassVar

from netdsl.ir.layer import MANY, Arity, Cost, Global, Layer, Weight, Window
from netdsl.ir.network import Call, Network, Node
from netdsl.ir.types import TensorType


class Input(Layer):
    kind: ClassVar[str] = "input"
    category: ClassVar[str] = "input"
    arity: ClassVar[Arity] = Arity(0, 0)
    reference: ClassVar[str] = "toy"
    shape: tuple[int | None, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType(self.shape)


def slid(n: int | None, k: int, s: int, p: int) -> int | None:
    return None if n is None else (n + 2 * p - k) // s + 1


class Conv(Layer):
    """Square windows; one number for kernel, stride and padding."""

    kind: ClassVar[str] = "conv"
    category: ClassVar[str] = "conv"
    reference: ClassVar[str] = "toy"
    positional: ClassVar[tuple[str, ...]] = ("filters", "kernel")
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True
    trainable: bool = True

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        return TensorType((self.filters, *(slid(n, self.kernel, self.stride, self.padding) for n in x.spatial)))

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        (x,) = inputs
        shape = (self.filters, (x.channels or 0) // self.groups, *(self.kernel,) * len(x.spatial))
        found = [Weight("weight", shape, trainable=self.trainable, initial="kaiming")]
        return (*found, Weight("bias", (self.filters,))) if self.bias else tuple(found)

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        elements = output.elements
        if elements is None:
            return None
        inner = (inputs[0].channels or 0) // self.groups * self.kernel ** len(inputs[0].spatial)
        return Cost(elements * inner, elements * self.bias, elements * (inner + self.bias))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        n = len(inputs[0].spatial)
        return Window((self.kernel,) * n, (self.stride,) * n, (self.padding,) * n)


class Pool(Layer):
    kind: ClassVar[str] = "max_pool"
    category: ClassVar[str] = "pool"
    reference: ClassVar[str] = "toy"
    positional: ClassVar[tuple[str, ...]] = ("kernel",)
    kernel: int
    stride: int | None = None
    padding: int = 0

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        step = self.stride or self.kernel
        return TensorType((x.channels, *(slid(n, self.kernel, step, self.padding) for n in x.spatial)))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        n = len(inputs[0].spatial)
        return Window((self.kernel,) * n, (self.stride or self.kernel,) * n, (self.padding,) * n)


class GlobalPool(Layer):
    kind: ClassVar[str] = "global_avg_pool"
    category: ClassVar[str] = "pool"
    reference: ClassVar[str] = "toy"

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType((inputs[0].channels, *(1 for _ in inputs[0].spatial)))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global()


class Upsample(Layer):
    """Every position `factor` times, along each axis."""

    kind: ClassVar[str] = "upsample"
    category: ClassVar[str] = "reshape"
    reference: ClassVar[str] = "toy"
    factor: int = 2

    def infer(self, *inputs: TensorType) -> TensorType:
        spatial = (None if n is None else n * self.factor for n in inputs[0].spatial)
        return TensorType((inputs[0].channels, *spatial))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        n = len(inputs[0].spatial)
        return Window((1,) * n, (Fraction(1, self.factor),) * n, (0,) * n)


class Norm(Layer):
    kind: ClassVar[str] = "batch_norm"
    category: ClassVar[str] = "norm"
    reference: ClassVar[str] = "toy"

    def infer(self, *inputs: TensorType) -> TensorType:
        return inputs[0]

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        width = (inputs[0].channels or 0,)
        return (
            Weight("weight", width, initial="ones"),
            Weight("bias", width),
            Weight("running_mean", width, "buffer", False),
            Weight("running_var", width, "buffer", False, "ones"),
            Weight("num_batches_tracked", (), "buffer", False, dtype="int64"),
        )


class Relu(Layer):
    kind: ClassVar[str] = "relu"
    category: ClassVar[str] = "activation"
    reference: ClassVar[str] = "toy"

    def infer(self, *inputs: TensorType) -> TensorType:
        return inputs[0]


class Flatten(Layer):
    kind: ClassVar[str] = "flatten"
    category: ClassVar[str] = "reshape"
    reference: ClassVar[str] = "toy"

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType((inputs[0].elements,))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return Cost()


class Dense(Layer):
    kind: ClassVar[str] = "dense"
    category: ClassVar[str] = "dense"
    reference: ClassVar[str] = "toy"
    positional: ClassVar[tuple[str, ...]] = ("units",)
    units: int

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType((self.units,))

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        return (Weight("weight", (self.units, inputs[0].channels or 0)), Weight("bias", (self.units,)))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        width = inputs[0].channels
        return None if width is None else Cost(self.units * width, self.units, self.units * (width + 1))

    def window(self, inputs: Sequence[TensorType]) -> Window | Global | None:
        return Global()


class Gain(Layer):
    """A single parameter without a name of its own."""

    kind: ClassVar[str] = "gain"
    category: ClassVar[str] = "norm"
    reference: ClassVar[str] = "toy"

    def infer(self, *inputs: TensorType) -> TensorType:
        return inputs[0]

    def weights(self, *inputs: TensorType) -> tuple[Weight, ...]:
        return (Weight("", (inputs[0].channels or 0, 1, 1), initial="ones"),)


class Add(Layer):
    kind: ClassVar[str] = "add"
    category: ClassVar[str] = "join"
    arity: ClassVar[Arity] = MANY
    reference: ClassVar[str] = "toy"

    def infer(self, *inputs: TensorType) -> TensorType:
        return max(inputs, key=lambda type: type.elements or 0)


class Concat(Layer):
    kind: ClassVar[str] = "concat"
    category: ClassVar[str] = "join"
    arity: ClassVar[Arity] = MANY
    reference: ClassVar[str] = "toy"

    def infer(self, *inputs: TensorType) -> TensorType:
        return TensorType((sum(type.channels or 0 for type in inputs), *inputs[0].spatial))

    def cost(self, inputs: Sequence[TensorType], output: TensorType) -> Cost | None:
        return Cost()


class Wired:
    """A network that grows by one line for each layer."""

    def __init__(self, name: str, *shape: int | None, **inputs: tuple[int | None, ...]) -> None:
        self.network = Network(name)
        self.calls: tuple[Call, ...] = ()
        self.last = ""
        for key, extents in ({"image": shape} if shape else inputs).items():
            self(key, Input(shape=extents), inputs=())
            self.network.inputs.append(key)

    def __call__(self, name: str, layer: Layer, inputs: Sequence[str] | str | None = None, address: str = "") -> str:
        """Adds a layer behind the one before it, or behind `inputs`. Returns its name."""
        sources = (self.last,) if inputs is None else (inputs,) if isinstance(inputs, str) else tuple(inputs)
        type = layer.infer(*self.network.types_of(sources))
        self.network.add(Node(name, layer, sources, type, None, address or name, self.calls))
        self.last = name
        return name

    def output(self, node: str | None = None, name: str = "output") -> Network:
        self.network.outputs[name] = node or self.last
        return self.network


def chain(name: str, shape: Sequence[int | None], *layers: Any) -> Network:
    """One layer behind the other, named 0, 1, 2, ...."""
    wired = Wired(name, *shape)
    for number, layer in enumerate(layers):
        wired(str(number), layer)
    return wired.output()


def residual_network(name: str = "resnet", depths: Sequence[int] = (3, 4, 6, 3), classes: int = 1000) -> Network:
    """ResNet-50, with the names that torchvision gives its modules."""
    wired = Wired(name, 3, 224, 224)
    wired("conv1", Conv(filters=64, kernel=7, stride=2, padding=3, bias=False))
    wired("bn1", Norm())
    wired("relu", Relu())
    x = wired("maxpool", Pool(kernel=3, stride=2, padding=1))
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        for number in range(depth):
            scope = f"layer{stage + 1}.{number}"
            wired.calls = (Call("bottleneck", scope, None),)  # type: ignore[arg-type]
            stride = 2 if stage and not number else 1
            wired(f"{scope}.conv1", Conv(filters=width, kernel=1, bias=False), x)
            wired(f"{scope}.bn1", Norm())
            wired(f"{scope}.0", Relu())
            wired(f"{scope}.conv2", Conv(filters=width, kernel=3, stride=stride, padding=1, bias=False))
            wired(f"{scope}.bn2", Norm())
            wired(f"{scope}.1", Relu())
            wired(f"{scope}.conv3", Conv(filters=4 * width, kernel=1, bias=False))
            lane = wired(f"{scope}.bn3", Norm())
            shortcut = x
            if not number:
                wired(f"{scope}.downsample.0", Conv(filters=4 * width, kernel=1, stride=stride, bias=False), x)
                shortcut = wired(f"{scope}.downsample.1", Norm())
            wired(f"{scope}.2", Add(), [lane, shortcut])
            x = wired(f"{scope}.3", Relu())
            wired.network.tensors[scope] = x
        wired.network.tensors[f"layer{stage + 1}"] = x
    wired.calls = ()
    wired("avgpool", GlobalPool())
    wired("flatten", Flatten())
    wired("fc", Dense(units=classes))
    return wired.output()
