"""The story of every diagnostic code: what `netdsl explain E0301` tells.

E01 syntax, E02 names and arguments, E03 shapes, E04 expectations, E05 limits, E06 files, E07 running, E08 drawing, E09 data, training.
"""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """`example` is a spec that yields the code and `mended` one that compiles, where a spec can show it."""

    title: str
    story: str
    example: str = ""
    mended: str = ""


def _body(text: str) -> str:
    """A network around a few lines."""
    lines = "\n".join(f"  {line}" if line else "" for line in text.strip("\n").split("\n"))
    return f"network example {{\n  input image: 3x32x32\n{lines}\n}}\n"


CODES: dict[str, Code] = {
    # ------------------------------------------------------------------------------------------------------- syntax
    "E0101": Code(
        "the text is not a spec",
        "Something stands where the language has no place for it. The message says what was found and what would have "
        "fitted. After an error the rest of the file is read on, so several may be reported at once; a bracket that is "
        "never closed is reported where it was opened.",
        _body("conv(8, 3x3 -> relu"),
        _body("conv(8, 3x3) -> relu"),
    ),
    "E0102": Code(
        "a binary file", "A spec is text. The file holds bytes that no text has, such as those of a picture."
    ),
    "E0103": Code(
        "the file is too large",
        "Specs of more than a few megabytes are refused before they are read. A large network is written with `repeat`, "
        "`for` and blocks, in a few lines.",
    ),
    "E0104": Code(
        "nested too deeply",
        "Brackets within brackets, and operators that hang on one another, make a tree that must not grow deeper "
        "than 100 levels; the deepest of the library has 20. Blocks and `let` take nesting apart.",
        f"const deep = {'[' * 101}{']' * 101}\n\n" + _body("relu"),
        "const flat = []\n\n" + _body("relu"),
    ),
    "E0105": Code(
        "a number is too long",
        "Numbers and shapes are written with at most 400 characters; reading more digits takes more than linear "
        "time, and no network needs them.",
        _body(f"scale({'3' * 500})"),
        _body("scale(3.3e3)"),
    ),
    # ---------------------------------------------------------------------------------------------------- names
    "E0201": Code(
        "an unknown name",
        "A step runs a layer of the vocabulary, a block, or a parameter that holds one; an expression uses parameters, "
        "`let`, `const`, `fn`, labels of tensors and the functions of the language. Names are looked for in the bodies "
        "around, then in the file, then among the layers. A block does not see the labels of its caller.",
        _body("conv(8, 3x3) -> batch_nrm -> relu"),
        _body("conv(8, 3x3) -> batch_norm -> relu"),
    ),
    "E0202": Code(
        "an unknown attribute or parameter",
        "The layer, block or network has nothing of this name. Each layer's page lists its attributes.",
        _body("conv(8, 3x3, pading = 1)"),
        _body("conv(8, 3x3, padding = 1)"),
    ),
    "E0203": Code(
        "a missing argument",
        "An attribute or parameter without a default has to be given, by position or by keyword.",
        _body("conv(8)"),
        _body("conv(8, 3x3)"),
    ),
    "E0204": Code(
        "a value that does not fit",
        "The attribute takes values of another kind or range: whole numbers where things are counted, sizes from 1 up, "
        "rates from 0 to 1, one of a few words. The message quotes the value and says what is expected.",
        _body("conv(8, 3x3, stride = 0)"),
        _body("conv(8, 3x3, stride = 1)"),
    ),
    "E0205": Code(
        "a name used twice",
        "A label is the address of weights, so within its scope it can stand only once; so can a declaration in its "
        "file. To run a step again with the same weights write `share NAME`.",
        _body("stem: conv(8, 3x3) -> stem: conv(8, 3x3)"),
        _body("stem1: conv(8, 3x3) -> stem2: conv(8, 3x3)"),
    ),
    "E0206": Code(
        "an argument too many",
        "More arguments by position than there are parameters, the same one given twice, or more tensors than the layer "
        "takes.",
        _body("relu(3)"),
        _body("relu"),
    ),
    "E0207": Code(
        "an expression without a value",
        "Division by zero, an index beyond the list, text where a number belongs: what Python would refuse is refused.",
        _body("let widths = [8, 16]\nconv(widths[2], 3x3)"),
        _body("let widths = [8, 16]\nconv(widths[1], 3x3)"),
    ),
    "E0208": Code(
        "something in the wrong place",
        "Lanes stand inside a join, `variant` and `input` in a network, a join takes lanes or several tensors, and a step "
        "runs a layer or block: not a number, not `none`.",
        _body("add"),
        _body("add { | conv(3, 3x3, padding = half) | }"),
    ),
    "E0209": Code(
        "recursion",
        "Every spec ends: blocks, functions and constants may not use themselves, directly or through others. Loops say "
        "how often something is repeated.",
        "block tower { conv(8, 3x3) -> tower }\n\n" + _body("tower"),
        "block floor { conv(8, 3x3) }\n\n" + _body("repeat 3 { floor }"),
    ),
    "E0210": Code(
        "an extent that is not known yet",
        "`?` in the shape of an input is an extent that is only known when the network runs. Nothing that decides the "
        "structure can hang on it.",
        "network example {\n  input image: 3x?x?\n  conv(x.height, 3x3)\n}\n",
        "network example {\n  input image: 3x?x?\n  conv(x.channels, 3x3)\n}\n",
    ),
    "E0211": Code(
        "an unknown tensor",
        "`from`, `share` and the command line name tensors by their labels: those made above, in the same block or "
        "network. A tensor of the caller is passed to a block as an argument.",
        _body("stem: conv(8, 3x3)\nrelu -> from stm"),
        _body("stem: conv(8, 3x3)\nrelu -> from stem"),
    ),
    "E0212": Code(
        "nothing to work on",
        "A network begins with an `input`; before it there is no tensor that a step could take. A file without any "
        "network has nothing to build.",
        "network example {\n  relu\n}\n",
        "network example {\n  input image: 3x32x32\n  relu\n}\n",
    ),
    # -------------------------------------------------------------------------------------------------------- shapes
    "E0301": Code(
        "a kernel larger than its input",
        "A window slides over the padded input, floor((n + 2p - f) / s) + 1 times; it has to fit at least once. Padding, a "
        "smaller kernel (or dilation), or a larger input helps. Deep in a network the map has often shrunk more than one "
        "thinks: `netdsl summary` shows where.",
        _body("repeat 5 { max_pool(2x2) }\nconv(8, 3x3)"),
        _body("repeat 5 { max_pool(2x2) }\nconv(8, 3x3, padding = 1)"),
    ),
    "E0302": Code(
        "groups that do not divide",
        "A grouped convolution splits channels and filters into equal groups that do not see each other, so `groups` "
        "divides both. The message lists the numbers that do.",
        _body("conv(8, 3x3, groups = 2)"),
        _body("conv(9, 3x3, groups = 3)"),
    ),
    "E0303": Code(
        "the wrong number of axes",
        "Convolutions and pools slide over images (channels x height x width), sequences and volumes; a dense layer reads "
        "a vector. `flatten` makes a vector of a map.",
        _body("dense(10)"),
        _body("flatten -> dense(10)"),
    ),
    "E0304": Code(
        "a weight of another shape",
        "Values given in the spec have to have the shape of the weight, or one that clearly stands for it (one kernel for "
        "all). Shared weights need inputs with the same channels.",
        _body("grayscale -> conv(1, 3x3, weight = [[1, -1], [1, -1]])"),
        _body("grayscale -> conv(1, 2x2, weight = [[1, -1], [1, -1]])"),
    ),
    "E0305": Code(
        "the wrong number of sizes",
        "A kernel, stride or dilation is one number for all axes or one for each axis; padding is one, one for each axis, "
        "or one for each side.",
        _body("conv(8, 3x3, stride = (2, 2, 2))"),
        _body("conv(8, 3x3, stride = (2, 2))"),
    ),
    "E0306": Code(
        "padding that makes no sense",
        "A window would see nothing but padding, `half` has no half for an even kernel, or a reflection would need more "
        "of the input than there is.",
        _body("avg_pool(2x2, padding = 2)"),
        _body("avg_pool(2x2, padding = 1)"),
    ),
    "E0307": Code(
        "nothing is left",
        "A crop takes away as much as there is, or more, or the padding of a transposed convolution cuts all of its "
        "output off. The message says how much there is.",
        _body("crop(size = 64x64)"),
        _body("crop(size = 16x16)"),
    ),
    "E0308": Code(
        "a connection table that does not fit",
        "`connections` lists for each filter the input channels that it reads, as table I of LeCun et al. 1998 does: a "
        "row for each filter, channels counted from 0.",
        _body("conv(2, 5x5, connections = [[0, 1], [2, 3]])"),
        _body("conv(2, 5x5, connections = [[0, 1], [1, 2]])"),
    ),
    "E0309": Code(
        "an extent has to be known",
        "The size of a weight hangs on this extent, and it is `?`. A global pool makes one number of each map, whatever "
        "its size.",
        "network example {\n  input image: 3x?x?\n  flatten -> dense(10)\n}\n",
        "network example {\n  input image: 3x?x?\n  global_avg_pool -> flatten -> dense(10)\n}\n",
    ),
    "E0311": Code(
        "lanes that cannot be joined",
        "`add` and its like take tensors of the same shape (or with extents of 1, which are repeated); `concat` takes "
        "tensors that differ along one axis only. The message names both shapes. A 1x1 convolution brings the channels "
        "of a shortcut into line, `padding = half` keeps height and width.",
        _body("add { | conv(8, 3x3) | }"),
        _body("add { | conv(8, 3x3, padding = half) | conv(8, 1x1) }"),
    ),
    "E0312": Code(
        "channels that do not divide",
        "The layer splits the channels into parts of equal size, so the number of parts divides the number of "
        "channels. The message lists the numbers that do.",
        _body("channel_shuffle(2)"),
        _body("conv(8, 1x1) -> channel_shuffle(2)"),
    ),
    "E0313": Code(
        "a slice beyond the tensor",
        "`slice(start, stop)` keeps the elements from `start` on and those before `stop`, counted from 0, along the "
        "channels or the `axis` that is named. It begins or ends behind the last one.",
        _body("slice(0, 9)"),
        _body("slice(0, 2)"),
    ),
    "E0314": Code(
        "a reshape that does not fit",
        "A reshape puts the same elements into another shape, so the extents of both shapes multiply to the same "
        "number. One extent may be `?`: it becomes what fits.",
        _body("reshape((5, 5))"),
        _body("reshape((3, 1024))"),
    ),
    "E0315": Code(
        "no such axis",
        "The layer works along an axis that its input does not have: a map has channels, height and width, a vector "
        "has channels only. Put the layer before `flatten`, or reshape the tensor first.",
        _body("flatten -> decimate(2)"),
        _body("decimate(2) -> flatten"),
    ),
    "E0316": Code(
        "axes that are no permutation",
        "`permute` names every axis once, counted from 0 and without the batch.",
        _body("permute((0, 1))"),
        _body("permute((1, 2, 0))"),
    ),
    "E0317": Code(
        "a split that does not fit",
        "`split N` gives N lanes an equal slice of the channels each, so N divides the channels and there are N lanes; a "
        "list of sizes adds up to the channels.",
        _body("concat split 2 { | relu | }"),
        _body("concat split [1, 2] { | relu | }"),
    ),
    "E0318": Code(
        "not one value for each channel",
        "Values that are given channel by channel have to be as many as there are channels.",
        _body("affine(scale = [1, 2])"),
        _body("affine(scale = [1, 2, 3])"),
    ),
    "E0319": Code(
        "fewer channels than there are",
        "`pad_channels` adds channels of zeros, as the shortcuts of CIFAR's residual networks do; it cannot take "
        "some away. A `slice` leaves channels out.",
        _body("pad_channels(to = 1)"),
        _body("pad_channels(to = 8)"),
    ),
    # -------------------------------------------------------------------------------------------------- expectations
    "E0401": Code(
        "an expectation that does not hold",
        "`expect` states what must come out, and every compile checks it. The message says what was expected and what was "
        "found. With parameters or shapes set from outside, expectations in plain numbers are not checked: they are facts "
        "about the spec as it is declared.",
        _body("conv(8, 3x3)\nexpect 8x32x32"),
        _body("conv(8, 3x3)\nexpect 8x30x30"),
    ),
    "E0402": Code(
        "an expectation that cannot be checked",
        "A count hangs on an extent that is `?`, or what is expected is neither true nor false.",
        "network example {\n  input image: 3x?x?\n  conv(8, 3x3)\n  expect macs == 1000\n}\n",
        "network example {\n  input image: 3x?x?\n  conv(8, 3x3)\n  expect params == 224\n}\n",
    ),
    # -------------------------------------------------------------------------------------------------------- limits
    "E0501": Code(
        "too many layers",
        "The expanded network has more layers than the limit `nodes`, which the caller can raise: "
        "`netdsl.load(spec, limits=netdsl.Limits(nodes=...))`.",
    ),
    "E0502": Code(
        "too many steps",
        "Expanding the spec takes more steps than the limit `steps`: loops are counted whether or not their bodies make "
        "layers, and so are the items of lists.",
        _body("repeat 10 ** 12 { relu }"),
        _body("repeat 10 { relu }"),
    ),
    "E0503": Code(
        "a number too large",
        "Whole numbers and extents are bounded, so that an expression cannot take forever.",
        _body("let huge = 9 ** 9 ** 9\nrelu"),
        _body("let large = 9 ** 9\nrelu"),
    ),
    "E0504": Code(
        "a list too long",
        "Lists and strings hold a million items at most, so that `[0] * 10 ** 9` does not fill the memory. The "
        "caller can raise the limit `items`: `netdsl.load(spec, limits=netdsl.Limits(items=...))`.",
        _body("let zeros = [0] * 10 ** 9\nrelu"),
        _body("let zeros = [0] * 10\nrelu"),
    ),
    "E0505": Code(
        "calls nested too deeply",
        "Chains of blocks or functions that call each other are bounded: 64 calls deep, where the library needs "
        "fewer than ten. The caller can raise the limit `depth`: `netdsl.load(spec, "
        "limits=netdsl.Limits(depth=...))`.",
    ),
    # --------------------------------------------------------------------------------------------------------- files
    "E0601": Code(
        "no such file",
        "A spec is named by a path (`nets/mine.net`), by a path and a network or variant in it "
        "(`nets/mine.net@small`), or by the name of a network of the library. What ends in `.net` or holds a slash "
        "is a path; `netdsl list` shows the library.",
    ),
    "E0602": Code(
        "nothing to import",
        "`from FILE import NAME` looks for FILE.net next to the importing file, then in the library that ships with "
        "netdsl, and for a block, function or constant of that name in it.",
        "from nowhere import unit\n\n" + _body("unit"),
        "block unit { relu }\n\n" + _body("unit"),
    ),
    "E0603": Code(
        "files that import each other",
        "Imports may not go in a circle, for then none of the files could be read first. The message shows the "
        "chain. Put what they share into a file of its own that imports none of them.",
    ),
    "E0604": Code(
        "no such network",
        "The file or the library has no network or variant of this name. `netdsl list` shows those of the library. "
        "The network behind the `for` of a recipe is one of the same file or of the library.",
    ),
    "E0605": Code(
        "the file cannot be read",
        "It is a directory, or the system refuses to open it; the message gives the reason. A spec is a single file "
        "whose name ends in `.net`.",
    ),
    "E0606": Code(
        "several networks",
        "The file declares several networks, so it has to be said which one is meant: `netdsl summary "
        'FILE.net@NAME`, or in Python `netdsl.load("FILE.net@NAME")`. A variant can be named in the same way.',
    ),
    "E0607": Code(
        "not UTF-8",
        "A spec is text in UTF-8, of which plain ASCII is a part. An editor that saved it in another encoding "
        "(UTF-16, Latin-1) can save it again. The message gives the place of the first byte that does not fit.",
    ),
    # ------------------------------------------------------------------------------------------------------- running
    "E0701": Code(
        "the weights cannot be opened",
        "There is no such file, it is a folder, or the system refuses to open it. Where the folder holds other files "
        "of weights, the message names them.",
    ),
    "E0702": Code(
        "an unknown format of weights",
        "The end of the file's name says its format; the message lists those that are read and how to convert others.",
    ),
    "E0703": Code(
        "a damaged file of weights",
        "The file is cut short, was changed, or is not what the end of its name says. Most often a download was "
        "interrupted: fetch it again.",
    ),
    "E0704": Code(
        "weights beyond a limit",
        "What the file claims to hold is larger than a limit; a small file that unpacks to a huge one would fill the "
        "memory. The message names the limit and how the caller raises it.",
    ),
    "E0705": Code(
        "the wrong kind of numbers",
        "Weights are floating-point numbers, and counters are whole numbers. What is stored in another kind is not "
        "converted silently. Python objects are never loaded, since unpickling them can run any program.",
    ),
    "E0706": Code(
        "weights that do not fit",
        "Names or shapes of the file are not those of the network. The report lists what is missing, unexpected and of "
        "another shape, each with the nearest name. `--except PATTERN` says what need not be in the file.",
    ),
    "E0707": Code(
        "weights that are not finite",
        "A weight holds NaN or infinity, or a number that float32 cannot hold. Such weights come from a training run "
        "that diverged, or from a damaged file; every output would be NaN.",
    ),
    "E0708": Code(
        "an exception for nothing",
        "A pattern of `--except` matches no weight and no scope, neither in the network nor in the file. It is most "
        "likely misspelt; `netdsl summary SPEC --format json` lists the names of the weights.",
    ),
    "E0709": Code(
        "the weights cannot be written",
        "The folder does not exist, or the system refuses to write there. A file of that name is left as it was.",
    ),
    "E0710": Code(
        "a pickle that asks for more than tensors",
        "PyTorch's files are pickles: small programs, which can name any function and call it. netdsl reads them without "
        "running them, knows the names that tensors are made of, and refuses a file that names anything else. Mostly it "
        "holds a whole model, whose classes are named in it; save its `state_dict()`. It may also be an attack.",
    ),
    "E0711": Code(
        "weights without values",
        "A network with parameters does not run on invented ones by accident: give `--weights FILE`, or ask for random "
        "ones with `--random-weights SEED`.",
    ),
    "E0712": Code(
        "an input that does not fit",
        "An array has another shape or type than the input. Arrays are (N, C, H, W): a batch in front, channels first.",
    ),
    "E0713": Code(
        "no such tensor",
        "`--tap` names a node, a scope or an output of the network, by the path of its labels: `layer1.0.conv2`. "
        "`netdsl summary SPEC` lists them.",
    ),
    "E0714": Code(
        "not enough memory",
        "The output of a layer does not fit into memory. It grows with the number of images and with their size: run "
        "fewer images at a time, or smaller ones.",
    ),
    "E0715": Code(
        "a layer against its own rule",
        "A layer computed another shape than its shape rule says. No spec can cause this: it is a defect of netdsl, "
        "and worth a report with the spec that shows it.",
    ),
    "E0716": Code(
        "a back-end that cannot run here",
        "There is no back-end of that name, it needs something that is not installed, or it computes with other numbers "
        "than were asked for. `numpy` is always there; `reference` also computes in double precision.",
    ),
    "E0717": Code(
        "no number of threads",
        "`NETDSL_NUM_THREADS` in the environment says how many threads compute where a command is not told with "
        "`--threads`. It is a whole number from 1 on; unset, each core that the process may use gets one.",
    ),
    "E0718": Code(
        "the GPU stopped",
        "A kernel read or wrote outside of memory, memory failed beyond repair, a display driver stopped a kernel that took "
        "too long, or the device was taken away. CUDA gives a process no second chance: what was on the device is gone, and "
        "every later call fails. Start the program again; a run that was training goes on from its last checkpoint. "
        "`nvidia-smi -q -d ECC` shows whether the memory is at fault; `--backend native` computes on the CPU.",
    ),
    "E0721": Code(
        "the image cannot be opened",
        "There is no such file, the system refuses to open it, or a folder holds no image. Folders are not searched "
        "below their first level.",
    ),
    "E0722": Code(
        "not an image",
        "The file is no image of a format that is read, or it is damaged; or it holds values beyond black and white. "
        "The message lists the formats; arrays are given as `.npy`.",
    ),
    "E0723": Code(
        "an image too large",
        "The image has more pixels than the limit, or would have after a step of `preprocess`. A small file can "
        "unpack to a huge image and fill the memory.",
    ),
    "E0724": Code(
        "an image of another size",
        "Without `preprocess` an image has to have the size and channels of the input; the message suggests a line.",
    ),
    "E0725": Code(
        "a preprocessing step that does not fit",
        "The image is larger than the frame that it is padded to, or has another number of channels than there are "
        "means and deviations. Steps run in the order in which they are written.",
    ),
    "E0726": Code(
        "an array that cannot be read",
        "A `.npy` input is damaged, cut short, too large, or holds Python objects, which are never loaded. "
        "`numpy.save` writes arrays of numbers in this format.",
    ),
    "E0727": Code(
        "an output that is no picture",
        "A `.png` shows one map of 1 or 3 channels whose values are finite. A `.npy` file holds any array; the end "
        "of the file's name says which is written.",
    ),
    "E0728": Code(
        "labels that do not fit",
        "A file of labels is text with one line for each class, in the order of the network's outputs. Or the output "
        "is no list of classes at all: write it to a file with `--output`.",
    ),
    "E0731": Code(
        "rules that cannot be read",
        "A file of rules is TOML with entries `[[rename]]`, each with `from` and `to`, and `[[drop]]`, each with `name`. "
        "The message says which entry, and what of it, is not understood.",
    ),
    "E0732": Code(
        "rules that cannot be applied",
        "Two arrays would get the same name, or an array cannot take the axes or the shape that its rule gives it. For "
        "each array the first rule that fits counts: put the narrower one first.",
    ),
    # ------------------------------------------------------------------------------------------------------- drawing
    "E0801": Code(
        "nothing to draw with",
        "The graph style needs the package pygraphviz, which brings Graphviz along, or a `dot` on the path; PNG and PDF "
        "need the package typst. It is not there. DOT text (`-o FILE.dot`) can be written without either.",
    ),
    "E0802": Code(
        "an unknown format of drawings", "The end of the file's name says the format: .svg, .png, .pdf, .dot."
    ),
    "E0803": Code(
        "the drawing cannot be written",
        "The folder does not exist, or the system refuses to write there. A file of that name is left as it was.",
    ),
    "E0804": Code(
        "a drawing that is too large",
        "The drawing would have more boxes than the limit, or the PNG more pixels. `--depth` draws inner scopes as one "
        "box each, and `--dpi` makes fewer pixels.",
    ),
    "E0805": Code(
        "the drawing failed",
        "Graphviz could not lay it out, or Typst could not make a PNG or PDF of it; the words of the program follow.",
    ),
    "E0806": Code(
        "an unknown style, theme or scope",
        "A style is one of graph, volumes and board, a theme one of light, dark and print, and `--expand` takes the name "
        "of a scope that the network has.",
    ),
    # ---------------------------------------------------------------------------------------------------------- data
    "E0901": Code(
        "data that cannot be found",
        "The folder, table or archive that `data` of a recipe names does not exist or may not be read. A relative path "
        "starts at the folder of the recipe's file.",
    ),
    "E0902": Code(
        "no images",
        "There is not one image where the data should be. A folder holds one folder for each class, and these hold the "
        "images; hidden files, and files that are no images, do not count.",
    ),
    "E0903": Code(
        "fewer than two classes",
        "A network cannot learn to tell classes apart where there is only one. A folder `train` beside a folder "
        '`validation` is no class: name them, `folder("pets/train", validation = "pets/validation")`.',
    ),
    "E0904": Code(
        "a class without images",
        "The folder of a class is empty, or its class stands in the table without one image. Fill it or remove it: the "
        "network would keep an output for it that it never learns.",
    ),
    "E0905": Code(
        "damaged images",
        "Some files cannot be decoded; the message names them. Replace or remove them, or write `corrupt = skip` in "
        "`data`: then training goes on without them.",
    ),
    "E0906": Code(
        "labels that do not fit",
        "A label is not a class from 0 to classes - 1, there are more or fewer labels than images, or the classes of the "
        "validation data are not those of the training data, or the network has another number of outputs.",
    ),
    "E0907": Code(
        "a table of labels that cannot be read",
        "The table of `csv` is UTF-8 text: a first line with the names of the columns, then a line for each image with its "
        "path and its label. The message says which line is not.",
    ),
    "E0908": Code(
        "arrays that are no images",
        "An archive for `arrays` holds the images, of shape (images, height, width), (images, height, width, channels) or "
        "(images, channels, height, width), and one label for each.",
    ),
    "E0909": Code(
        "more data than a limit",
        "The data has more files, classes or bytes than a named limit. Each limit can be raised by the caller.",
    ),
    "E0910": Code(
        "an optional package is missing",
        "The data comes with a package that is not installed; the message says what to install.",
    ),
    "E0911": Code(
        "a split that leaves nothing",
        "The part for validation would leave no image to train on, or there is nothing to validate on.",
    ),
    "E0912": Code(
        "images of another size than the network reads",
        "After the `preprocess` of the network and the `augment` of the recipe an image is not as large as the input. A "
        "crop at the end of `augment`, or of `preprocess`, sets the size.",
    ),
    "E0913": Code(
        "an augmentation that does not fit the images",
        "E.g. AlexNet's lighting, which moves along the main colours of photographs, on gray images; or a change of "
        "colours on values beyond black (0) and white (1).",
    ),
    # ----------------------------------------------------------------------------------------------------- training
    "E0951": Code(
        "targets that do not fit the loss",
        "`cross_entropy` wants a label for each image, or soft labels of the shape of the output; `mean_squared_error` "
        "an array of the shape of the output; `binary_cross_entropy` numbers from 0 to 1 of that shape, or labels.",
    ),
    "E0952": Code(
        "a label that is no class",
        "Labels are counted from 0, and the last one is one less than the outputs of the network. Targets of "
        "`binary_cross_entropy` are probabilities, from 0 to 1.",
    ),
    "E0953": Code(
        "batch normalization of a single value",
        "In training, batch normalization divides by the spread of a channel over the batch and all positions; of one "
        "value for each channel there is no spread. Take larger batches, leave out a last batch of one image, or freeze "
        "the layer, which then uses its running statistics.",
    ),
    "E0954": Code(
        "nothing to train, or nothing of that name",
        "Training names parameters and outputs that the network has; at least one parameter is trainable, and a loss "
        "depends on each of them. `netdsl weights SPEC` lists the parameters.",
    ),
    "E0955": Code(
        "a gradient cannot pass a layer",
        "A layer without a derivative lies between a trainable parameter and the loss. What lies below it can be frozen.",
    ),
    # ------------------------------------------------------------------------------------------------------- recipes
    "E0961": Code(
        "a recipe that contradicts itself",
        "Two entries of the recipe, or an entry and the network or the data, cannot both hold: a learning rate that is "
        "said twice, warm-up that lasts as long as its phase, mixed labels where there are none. The message says which.",
    ),
    "E0962": Code(
        "nothing to freeze",
        "`freeze` names layers, scopes or weights by the path of their labels, or ranges of them, down the page: `conv1 to "
        "layer2`. The network has none of this name, the range goes up, or what is named has no parameters.",
    ),
    "E0963": Code(
        "a phase that trains nothing",
        "Everything that could be trained is frozen, or fixed by the spec (`trainable = false`). `freeze all except fc` "
        "leaves a layer.",
    ),
    "E0964": Code(
        "features that cannot be cached",
        "`cache features` computes what the frozen part makes of each image once. So something has to be frozen in front "
        "of the first trainable layer, and nothing may be random: with augmentation an image is another one each time. "
        "`cache features(views = 4)` keeps four augmented views of each image.",
    ),
    "E0965": Code(
        "no such recipe",
        "A recipe is named by the file of the spec and its name, `netdsl train pets.net pets`, or by a file of its own, "
        "`netdsl train resnet50 pets.net@pets`. Where a file has one recipe alone its name may be left out.",
    ),
    # ---------------------------------------------------------------------------------------------------------- runs
    "E0971": Code(
        "training that diverged",
        "The loss, a gradient or a weight became NaN or infinite. The message names the step and the layer where it began. "
        "The last checkpoint is from before: resume it with a smaller learning rate, warm-up or clipping in a new run.",
    ),
    "E0972": Code(
        "a checkpoint that cannot be written",
        "The disk is full, or the folder of the run may not be written. Nothing is lost: checkpoints are written beside "
        "each other and renamed when they are complete. Make room and resume.",
    ),
    "E0973": Code(
        "no run, or a damaged one",
        "A run is a folder that `netdsl train` made: run.json, log.jsonl and checkpoints. A checkpoint that is not what was "
        "written is passed over for the one before it.",
    ),
    "E0974": Code(
        "the folder of a run is in use",
        "A run begins in a new or empty folder, and one process at a time trains in it. `--resume` goes on with what is "
        "there.",
    ),
    "E0975": Code(
        "a run that began otherwise",
        "A run that is resumed ends as if it had never been stopped, so spec, recipe and data have to be those that it "
        "began with; the message says what changed. To train on with other settings begin a new run from its weights.",
    ),
    "E0976": Code(
        "a checkpoint of another network",
        "The weights or the state of the optimizer in the checkpoint have other names or shapes than those of the network.",
    ),
    "E0977": Code(
        "a package for an extra is missing",
        "Plots and pictures need matplotlib, mirrors of the log for TensorBoard need tensorboardX; neither is installed "
        "with netdsl. The message says what to install.",
    ),
    "E0978": Code(
        "features that cannot be written",
        "The folder of the cached features, or the file that `netdsl features` should make, cannot be written. Features "
        "take a number for each activation and image; `--dry-run` says how much that is.",
    ),
    "E0979": Code(
        "a log that cannot be read",
        "The log of a run is a file log.jsonl of one JSON object a line, in the folder of the run. There is none, or it "
        "holds something else, or no epoch is complete yet.",
    ),
}


def title(code: str) -> str:
    """The title of a code; the code itself where it has no story."""
    return CODES[code].title if code in CODES else code
