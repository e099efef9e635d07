"""Compares kernelgrad's operations and their gradients with PyTorch's in float64, on random problems.

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
TOLERANCE = 1e-10  # relative to the largest entry of a tensor
DTYPE_NAMES = {torch.float64: "F64", torch.int64: "I64"}
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


# Each returns the tensors, the options as the C++ side reads them, and PyTorch's function of the tensors.


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
    return tensors, text(mean), "mean" if mean else "sum"


def loss(draw):
    tensors, options, reduction = classification(draw)
    return tensors, options, lambda t: F.nll_loss(F.log_softmax(t["input"], -1), t["labels"], reduction=reduction)


def cross_entropy(draw):
    tensors, options, reduction = classification(draw)
    return tensors, options, lambda t: F.cross_entropy(t["input"], t["labels"], reduction=reduction)


def expected_of(tensors, function):
    """What PyTorch gives, with a random direction for the gradients, which becomes part of the problem."""
    leaves = {name: tensor.clone() for name, tensor in tensors.items()}
    learned = [name for name in ("input", "weight", "bias") if name in leaves]
    for name in learned:
        leaves[name].requires_grad_()
    output = function(leaves)
    tensors["direction"] = normal(*output.shape)
    output.backward(tensors["direction"])
    expected = {"output": output.detach()}
    expected |= {f"grad_{name}": leaves[name].grad for name in learned}
    expected |= {name: tensor for name, tensor in leaves.items() if name.startswith("running_")}
    return expected


def deviation(actual, expected):
    """Largest deviation relative to the largest entry; infinite where shapes differ or NaN appears."""
    if actual is None or actual.shape != expected.shape:
        return float("inf")
    if expected.numel() == 0:
        return 0.0
    error = ((actual - expected).abs().max() / max(expected.abs().max().item(), 1e-3)).item()
    return error if error == error else float("inf")


def main():
    program = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    draw = random.Random(seed)
    torch.manual_seed(seed)
    operations = [conv2d, batch_norm, max_pool2d, avg_pool2d, linear, loss, cross_entropy]

    problems, metadata, expected = {}, {}, {}
    for operation in operations:
        for i in range(PROBLEMS):
            number = f"{operation.__name__}-{i}"
            tensors, options, function = operation(draw)
            expected[number] = expected_of(tensors, function)
            metadata[number] = f"{operation.__name__} {options}"
            problems |= {f"{number}.{name}": tensor for name, tensor in tensors.items()}

    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "problems", Path(directory) / "results"
        save(source, problems, metadata)
        subprocess.run([program, source, target], check=True)
        results = load(target)

    passed = True
    for operation in operations:
        numbers = [f"{operation.__name__}-{i}" for i in range(PROBLEMS)]
        compared = [(deviation(results.get(f"{number}.{name}"), tensor), number, name)
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
