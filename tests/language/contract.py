"""The examples of the language contract: what they declare, and their text."""

EXAMPLES: dict[str, tuple[list[str], str]] = {
    "lenet": (
        ["Network"],
        """\
# LeNet-5 as it is taught today (LeCun et al., 1998).
network lenet5(classes = 10) {
  input image: 1x32x32

  conv1: conv(6, 5x5) -> tanh
  avg_pool(2x2)
  conv2: conv(16, 5x5) -> tanh
  avg_pool(2x2)
  expect 16x5x5

  flatten
  fc1: dense(120) -> tanh
  fc2: dense(84) -> tanh
  fc3: dense(classes)

  expect params == 61_706
}
""",
    ),
    "resnet": (
        ["Block", "Network"],
        """\
# The bottleneck block (He et al., 2015), stride on the 3x3 convolution.
block bottleneck(width, stride = 1) {
  let out = 4 * width
  add {
    | conv1: conv(width, 1x1, bias = false) -> bn1: batch_norm -> relu
      conv2: conv(width, 3x3, stride = stride, padding = 1, bias = false) -> bn2: batch_norm -> relu
      conv3: conv(out, 1x1, bias = false) -> bn3: batch_norm
    | downsample: if stride != 1 or x.channels != out {
        conv(out, 1x1, stride = stride, bias = false) -> batch_norm
      }
  }
  relu
}

network resnet(layers = [3, 4, 6, 3], unit = bottleneck, classes = 1000) {
  variant resnet50(layers = [3, 4, 6, 3])  expect params == 25_557_032, macs == 4_089_184_256
  variant resnet101(layers = [3, 4, 23, 3]) expect params == 44_549_160

  input image: 3x224x224
  preprocess resize(256) -> center_crop(224) -> normalize(imagenet)

  conv1: conv(64, 7x7, stride = 2, padding = 3, bias = false) -> bn1: batch_norm -> relu
  max_pool(3x3, stride = 2, padding = 1)
  for i, n in enumerate(layers) {
    layer{i + 1}: repeat n as j {
      unit(64 * 2 ** i, stride = 2 if i > 0 and j == 0 else 1)
    }
  }
  global_avg_pool -> flatten
  fc: dense(classes)
}
""",
    ),
    "inception": (
        ["Block"],
        """\
block inception(c1, c3r, c3, c5r, c5, pool) {
  concat {
    | branch1: conv_bn(c1, 1x1)
    | branch2: { conv_bn(c3r, 1x1) -> conv_bn(c3, 3x3, padding = 1) }
    | branch3: { conv_bn(c5r, 1x1) -> conv_bn(c5, 3x3, padding = 1) }
    | branch4: { max_pool(3x3, stride = 1, padding = 1, ceil_mode = true) -> conv_bn(pool, 1x1) }
  }
}
""",
    ),
    "auxiliary": (
        ["Network"],
        """\
network n() {
  input image: 3x224x224
  inception4a: inception(192, 96, 208, 16, 48, 64)
  relu
  output logits: dense(10)
  auxiliary aux1: from inception4a -> auxiliary_head(classes)      # runs in training only
}
""",
    ),
    "efficientnet": (
        ["Function", "Network"],
        """\
# Rounds channels the way the MobileNet and EfficientNet authors do.
fn round_channels(channels, width) = make_divisible(channels * width, 8)

network efficientnet(width = 1.0, depth = 1.0, resolution = 224, dropout_rate = 0.2, classes = 1000) {
  variant efficientnet_b0()                                                expect params == 5_288_548
  variant efficientnet_b1(width = 1.0, depth = 1.1, resolution = 240)      expect params == 7_794_184
  variant efficientnet_b7(width = 2.0, depth = 3.1, resolution = 600, dropout_rate = 0.5) expect params == 66_347_960

  input image: (3, resolution, resolution)
  for expand, kernel, stride, channels, n in [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2)] {
    unit(channels, kernel, stride, expand, n)
  }
}
""",
    ),
    "edges": (
        ["Const", "Network"],
        """\
const sobel = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]

# Horizontal and vertical Sobel filters and the strength of the edge they see.
network edges() {
  input image: 3x?x?                      # ? is an extent that is only known when the network runs
  grayscale
  magnitude {
    | vertical:   conv(1, 3x3, padding = half, bias = false, weight = sobel, trainable = false)
    | horizontal: conv(1, 3x3, padding = half, bias = false, weight = transpose(sobel), trainable = false)
  }
}
""",
    ),
    "recipe": (
        ["Recipe"],
        """\
recipe pets for resnet50(classes = 37) {
  data      folder("pets", validation = 20%, seed = 7)
  weights   "resnet50.safetensors" except fc
  augment   random_flip -> random_crop(224, padding = 16) -> rotate(15) -> shear(10) -> color(brightness = 0.2, hue = 0.05)
  optimizer sgd(lr = 0.01, momentum = 0.9, weight_decay = 1e-4)
  batch     64

  phase head { freeze all except fc;     epochs 3;  cache features }
  phase tune { freeze conv1 to layer2;   epochs 10; lr 1e-3; schedule cosine(warmup = 1) }
}
""",
    ),
    "imports": (
        ["Import"],
        """\
from common import conv_bn, squeeze_excite      # next to this file, else the library that ships with netdsl
""",
    ),
}
