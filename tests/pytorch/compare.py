# SPDX-License-Identifier: MIT
"""Compares kernelgrad's operations and their gradients with PyTorch's, on random problems: in float64, the element-wise
ones in float32 too, and at 0, infinity and NaN.

Usage: compare.py RUN_PROBLEMS [SEED]
Exit status: 0 all agree, 1 something differs, 77 PyTorch is not installed.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"skipped: {error} (needs python3-torch)")
    sys.exit(77)

PROBLEMS = 200  # per operation
TOLERANCE = 1e-13  # in proportion to an entry's own size, see sizes_of()
LAST_BIT = 2.0**-24  # of float32
SINGLE_TOLERANCE = 1e-6  # of results in float32
DTYPE_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.int64: "I64"}
DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}


def save(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        values = tensor.detach().contiguous().numpy().tobytes()
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def load(path):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    data = bytearray(content[8 + length:])
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = data[begin:end]
        flat = torch.frombuffer(values, dtype=DTYPES[entry["dtype"]]) if values else torch.empty(0, dtype=torch.float64)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def pair(draw, low, high):
    """Two numbers, the same in half of the cases."""
    first = draw.randint(low, high)
    return (first, first if draw.random() < 0.5 else draw.randint(low, high))


def fitting_images(draw, kernel, padding, dilation=(1, 1)):
    """An image that the kernel fits into, with up to 12 pixels to spare."""
    return [max(1, (k - 1) * d + 1 - 2 * p) + draw.randint(0, 12) for k, p, d in zip(kernel, padding, dilation)]


def text(*options):
    numbers = []
    for option in options:
        numbers += option if isinstance(option, tuple) else [option]
    return " ".join(repr(float(number)) for number in numbers)


# Each returns the tensors, the options as the C++ side reads them, and PyTorch's function of the tensors; some also a
# function for terms of results that float32 does not show.


def conv2d(draw):
    kernel, stride, padding, dilation = pair(draw, 1, 5), pair(draw, 1, 4), pair(draw, 0, 4), pair(draw, 1, 3)
    groups = draw.choice([1, 1, 2, 3])
    c_in, c_out = groups * draw.randint(1, 4), groups * draw.randint(1, 5)
    tensors = {
        "input": normal(draw.randint(1, 5), c_in, *fitting_images(draw, kernel, padding, dilation)),
        "weight": normal(c_out, c_in // groups, *kernel),
    }
    if draw.random() < 0.5:
        tensors["bias"] = normal(c_out)
    return tensors, text(stride, padding, dilation, groups), lambda t: F.conv2d(
        t["input"], t["weight"], t.get("bias"), stride, padding, dilation, groups)


def conv_transpose2d(draw):
    kernel, stride, dilation = pair(draw, 1, 5), pair(draw, 1, 4), pair(draw, 1, 3)
    padding = tuple(draw.randint(0, min(4, d * (k - 1) // 2)) for k, d in zip(kernel, dilation))
    output_padding = tuple(draw.randint(0, s - 1) for s in stride)
    groups = draw.choice([1, 1, 2, 3])
    c_in, c_out = groups * draw.randint(1, 4), groups * draw.randint(1, 5)
    tensors = {
        "input": normal(draw.randint(1, 5), c_in, draw.randint(1, 9), draw.randint(1, 9)),
        "weight": normal(c_in, c_out // groups, *kernel),
    }
    if draw.random() < 0.5:
        tensors["bias"] = normal(c_out)
    return tensors, text(stride, padding, output_padding, dilation, groups), lambda t: F.conv_transpose2d(
        t["input"], t["weight"], t.get("bias"), stride, padding, output_padding, groups, dilation)


def batch_norm(draw):
    channels, training = draw.randint(1, 7), draw.random() < 0.5
    momentum, epsilon = draw.choice([0.0, 0.1, 0.7, 1.0]), draw.choice([1e-5, 1e-3, 0.5])
    inner = [[], [draw.randint(1, 40)], [draw.randint(1, 9), draw.randint(1, 9)]][draw.randint(0, 2)]
    tensors = {"input": normal(draw.randint(2, 6), channels, *inner) * draw.choice([0.1, 1, 10]) + draw.uniform(-3, 3)}
    if draw.random() < 0.7:
        tensors |= {"weight": normal(channels), "bias": normal(channels)}
    if not training or draw.random() < 0.7:
        tensors |= {"running_mean": normal(channels), "running_var": normal(channels).abs() + 0.1}
    return tensors, text(training, momentum, epsilon), lambda t: F.batch_norm(
        t["input"], t.get("running_mean"), t.get("running_var"), t.get("weight"), t.get("bias"), training, momentum,
        epsilon)


def pooling(draw):
    kernel = pair(draw, 1, 5)
    stride = pair(draw, 1, 5)
    padding = tuple(draw.randint(0, k // 2) for k in kernel)
    images = normal(draw.randint(1, 4), draw.randint(1, 5), *fitting_images(draw, kernel, padding))
    return kernel, stride, padding, images


def max_pool2d(draw):
    kernel, stride, padding, images = pooling(draw)
    return {"input": images}, text(kernel, stride, padding), lambda t: F.max_pool2d(t["input"], kernel, stride, padding)


def avg_pool2d(draw):
    kernel, stride, padding, images = pooling(draw)
    count = draw.random() < 0.5
    return {"input": images}, text(kernel, stride, padding, count), lambda t: F.avg_pool2d(
        t["input"], kernel, stride, padding, count_include_pad=count)


def linear(draw):
    inputs, outputs = draw.randint(1, 40), draw.randint(1, 40)
    leading = [[draw.randint(1, 40)], [draw.randint(1, 5), draw.randint(1, 5)], []][draw.randint(0, 2)]
    tensors = {"input": normal(*leading, inputs), "weight": normal(outputs, inputs)}
    if draw.random() < 0.5:
        tensors["bias"] = normal(outputs)
    return tensors, text(), lambda t: F.linear(t["input"], t["weight"], t.get("bias"))


def classification(draw):
    rows, classes, mean = draw.randint(1, 40), draw.randint(1, 30), draw.random() < 0.5
    tensors = {"input": normal(rows, classes) * draw.choice([1, 30]), "labels": torch.randint(classes, (rows,))}

    def terms(t):
        # Probability minus 1 at the label; float32 makes exactly 0 of what is nearly 0.
        probabilities = F.softmax(t["input"], -1) + F.one_hot(t["labels"], classes)
        return {"grad_input": probabilities * t["direction"].abs() / (rows if mean else 1)}

    return tensors, text(mean), "mean" if mean else "sum", terms


def loss(draw):
    tensors, options, reduction, terms = classification(draw)
    function = lambda t: F.nll_loss(F.log_softmax(t["input"], -1), t["labels"], reduction=reduction)
    return tensors, options, function, terms


def cross_entropy(draw):
    tensors, options, reduction, terms = classification(draw)
    return tensors, options, lambda t: F.cross_entropy(t["input"], t["labels"], reduction=reduction), terms


# As tests/cases/elementwise.h has them.
UNARY = {
    "relu": F.relu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "elu": lambda x: F.elu(x, 1.5), "sigmoid": torch.sigmoid,
    "tanh": torch.tanh, "softplus": lambda x: F.softplus(x, 2, 6), "gelu": F.gelu, "silu": F.silu,
    "hardswish": F.hardswish, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "square": torch.square,
    "abs": torch.abs, "neg": torch.neg, "pow": lambda x: x**3, "clamp": lambda x: torch.clamp(x, -1, 3),
    "add": lambda x: 2.5 + x, "sub": lambda x: x - 2.5, "rsub": lambda x: 2.5 - x, "mul": lambda x: x * 2.5,
    "div": lambda x: x / 2.5, "rdiv": lambda x: 2.5 / x,
}
BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "maximum": torch.maximum,
          "minimum": torch.minimum}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 3.0, -3.0, float("inf"), float("-inf"), float("nan")]


def compare_elementwise(program, name, function, operands):
    """Whether the function agrees, NaN included. Special arguments meet each other in every combination."""
    passed = True
    for dtype, tolerance in ((torch.float64, TOLERANCE), (torch.float32, SINGLE_TOLERANCE)):
        combinations = torch.cartesian_prod(*[torch.tensor(SPECIAL, dtype=torch.float64)] * operands).reshape(-1, operands)
        values = torch.cat([combinations, 4 * normal(500, operands)]).to(dtype)
        tensors = dict(zip(("input", "weight"), (column.clone() for column in values.unbind(1))))
        tensors["direction"] = normal(len(values)).to(dtype)
        of = lambda t: function(*[t[key] for key in ("input", "weight")[:operands]])
        expected = results_of(tensors, of)
        if name == "gelu" and dtype == torch.float32:
            # PyTorch 2.6 has NaN at infinity there, other versions have infinity.
            at_fault = (tensors["input"] == float("inf")) & expected["output"].isnan()
            expected["output"] = expected["output"].masked_fill(at_fault, float("inf"))
        wide = {key: tensor.double() for key, tensor in tensors.items()}
        sizes = sizes_of(wide, of, results_of(wide, of))
        # Beside a kink the size has no meaning: there a gradient is off by as much as comes in, or not at all.
        plain = torch.arange(len(values)) >= len(combinations)
        actual = run(program, {f"0.{key}": tensor for key, tensor in tensors.items()}, {"0": name})
        for key, tensor in expected.items():
            # In float32 the factors of a gradient, of the size of 1, leave their rounding errors behind.
            rounded = key != "output" and dtype == torch.float32
            size = sizes[key].maximum(wide["direction"].abs()) if rounded else sizes[key]
            size = torch.where(plain, size, tensor.double().abs() + wide["direction"].abs())
            found, wanted = actual[f"0.{key}"].double(), tensor.double()
            both_nan = found.isnan() & wanted.isnan()
            error = deviation(torch.where(both_nan, 0.0, found), torch.where(both_nan, 0.0, wanted), size)
            if not error <= tolerance:
                print(f"{name} {key}, {dtype}: deviates by {error}")
                off = ((found - wanted).abs() / size).nan_to_num(float("inf"))
                i = torch.where(both_nan | (found == wanted), 0.0, off).argmax().item()
                print(f"  at {[tensors[k][i].item() for k in ('input', 'weight')[:operands]]}: {found[i]}, PyTorch {wanted[i]}")
                passed = False
    return passed


def results_of(tensors, function):
    """Output, gradients by the direction and running statistics, as PyTorch gives them."""
    leaves = {name: tensor.clone() for name, tensor in tensors.items()}
    learned = [name for name in ("input", "weight", "bias") if name in leaves]
    for name in learned:
        leaves[name].requires_grad_()
    output = function(leaves)
    output.backward(leaves["direction"])
    expected = {"output": output.detach()}
    expected |= {f"grad_{name}": leaves[name].grad for name in learned}
    expected |= {name: tensor for name, tensor in leaves.items() if name.startswith("running_")}
    return expected


def in_float32(tensor):
    """With every element moved by up to its last bit."""
    if not tensor.is_floating_point():
        return tensor
    return (tensor * (1 + LAST_BIT * (2 * torch.rand_like(tensor) - 1))).float()


def sizes_of(tensors, function, expected, *terms):
    """What rounding errors are in proportion to: of each entry its own size, and that of the terms whose sum it is. The
    latter as seen from how far the entry is off in float32; in float64 rounding leaves as much of it in proportion."""
    sizes = {name: entry.abs() for name, entry in expected.items()}
    for terms_of in terms:
        sizes |= {name: torch.maximum(sizes[name], size) for name, size in terms_of(tensors).items()}
    for _ in range(4):
        single = results_of({name: in_float32(tensor) for name, tensor in tensors.items()}, function)
        for name, entry in expected.items():
            sizes[name] = torch.maximum(sizes[name], (single[name].double() - entry).abs() / LAST_BIT)
    return sizes


def deviation(actual, expected, size):
    """Largest deviation of an entry in proportion to its size; infinite where shapes differ or NaN appears."""
    if actual is None or actual.shape != expected.shape:
        return float("inf")
    if expected.numel() == 0:
        return 0.0
    error = ((actual - expected).abs() / size).nan_to_num(float("inf"))
    return torch.where(actual == expected, torch.zeros_like(error), error).max().item()


def run(program, problems, metadata):
    """The results of the program that computes problems."""
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "problems", Path(directory) / "results"
        save(source, problems, metadata)
        subprocess.run([program, source, target], check=True)
        return load(target)


def main():
    program = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    draw = random.Random(seed)
    torch.manual_seed(seed)
    operations = [conv2d, conv_transpose2d, batch_norm, max_pool2d, avg_pool2d, linear, loss, cross_entropy]

    problems, metadata, expected, sizes = {}, {}, {}, {}
    for operation in operations:
        for i in range(PROBLEMS):
            number = f"{operation.__name__}-{i}"
            tensors, options, function, *terms = operation(draw)
            with torch.no_grad():
                tensors["direction"] = normal(*function({name: tensor.clone() for name, tensor in tensors.items()}).shape)
            expected[number] = results_of(tensors, function)
            sizes[number] = sizes_of(tensors, function, expected[number], *terms)
            metadata[number] = f"{operation.__name__} {options}"
            problems |= {f"{number}.{name}": tensor for name, tensor in tensors.items()}

    results = run(program, problems, metadata)

    elementwise = [compare_elementwise(program, name, function, operands)
                   for operands, functions in ((1, UNARY), (2, BINARY)) for name, function in functions.items()]
    print(f"element-wise: {sum(elementwise)} of {len(elementwise)} functions agree")
    passed = all(elementwise)
    for operation in operations:
        numbers = [f"{operation.__name__}-{i}" for i in range(PROBLEMS)]
        compared = [(deviation(results.get(f"{number}.{name}"), tensor, sizes[number][name]), number, name)
                    for number in numbers for name, tensor in expected[number].items()]
        wrong = [entry for entry in compared if not entry[0] <= TOLERANCE]
        print(f"{operation.__name__}: {len(compared)} tensors of {PROBLEMS} problems, largest deviation {max(compared)[0]:.1e}")
        for error, number, name in wrong[:5]:
            shapes = {key: list(problems[f"{number}.{key}"].shape) for key in ("input", "weight")
                      if f"{number}.{key}" in problems}
            print(f"  {number} {name} deviates by {error}: {metadata[number]}, {shapes}")
        passed &= not wrong
    sys.exit(0 if passed else 1)


main()
