# SPDX-License-Identifier: MIT
"""Compares the optimizers with PyTorch's in float32 and float64: every weight after every step.

Usage: optimizers_vs_pytorch.py OPTIMIZER_ORACLE
Exit status: 0 all equal, 1 something differs, 77 PyTorch is not installed.
"""

import itertools
import random
import subprocess
import sys

try:
    import torch
    from torch import nn
except ImportError as error:
    print(f"skipped: {error} (needs python3-torch)")
    sys.exit(77)

SIZES, STEPS = (7, 1, 40), 60
# Relative to the largest weight: rounding errors of that many steps.
TOLERANCES = {torch.float64: 1e-14, torch.float32: 4e-6}


def text(tensor):
    return " ".join(value.hex() for value in tensor.detach().double().flatten().tolist())


def sgd(lr, momentum, dampening, weight_decay, nesterov):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, momentum=momentum, dampening=dampening,
                                              weight_decay=weight_decay, nesterov=bool(nesterov))


def adam(kind):
    def make(lr, beta1, beta2, eps, weight_decay):
        return lambda parameters: kind(parameters, lr=lr, betas=(float(beta1), float(beta2)), eps=eps,
                                       weight_decay=weight_decay)
    return make


KINDS = {
    "sgd": (sgd, [(0.1, 0, 0, 0, 0), (0.1, 0.9, 0, 0.01, 0), (0.05, 0.9, 0.2, 0.1, 0), (0.05, 0.8, 0, 0.1, 1)]),
    **{name: (adam(kind), list(itertools.product((1e-3, 0.1), (0, 0.9), (0.9, 0.999), (1e-8, 1e-3), (0, 0.1))))
       for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW))},
}


def case(draws, name, options, dtype):
    """The request, and the lines of the answer that PyTorch gives."""
    make = KINDS[name][0](*options)
    parameters = [nn.Parameter(torch.randn(size, dtype=dtype)) for size in SIZES]
    words = [name, str(dtype).split(".")[1], *map(str, options), str(len(SIZES)), *map(str, SIZES),
             *map(text, parameters), str(STEPS)]
    optimizer, lines = make(parameters), []
    for step in range(STEPS):
        rate = options[0] * (0.5 if step % 20 == 19 else 1)
        optimizer.param_groups[0]["lr"] = rate
        words.append(str(rate))
        for parameter in parameters:
            parameter.grad = None
            if draws.random() < 0.2:
                words.append("0")
                continue
            # Gradients of many sizes, as Adam divides by them.
            parameter.grad = torch.randn_like(parameter) * 10 ** draws.uniform(-4, 1)
            words.append("1 " + text(parameter.grad))
        optimizer.step()
        lines.append([value for parameter in parameters for value in parameter.detach().double().tolist()])
    return " ".join(words), lines


def compare(oracle, draws, name, dtype):
    requests, expected = zip(*(case(draws, name, options, dtype) for options in KINDS[name][1]))
    expected = [line for lines in expected for line in lines]
    result = subprocess.run([oracle], input="\n".join(requests) + "\n", stdout=subprocess.PIPE, text=True, check=True)
    actual = [[float.fromhex(word) for word in line.split()] for line in result.stdout.splitlines()]
    if [len(line) for line in actual] != [len(line) for line in expected]:
        print(f"{name}: {len(actual)} steps came back, expected {len(expected)}, or their sizes differ")
        return False
    errors = [abs(a - e) / max(map(abs, wanted)) for got, wanted in zip(actual, expected) for a, e in zip(got, wanted)]
    passed = all(error <= TOLERANCES[dtype] for error in errors)  # false for NaN
    print(f"{name}, {dtype}: {len(requests)} runs, {len(expected)} steps, largest deviation {max(errors):.1e} "
          f"(at most {TOLERANCES[dtype]:.0e})")
    return passed


def main():
    torch.manual_seed(1)
    draws = random.Random(1)
    results = [compare(sys.argv[1], draws, name, dtype) for name in KINDS for dtype in TOLERANCES]
    sys.exit(0 if all(results) else 1)


main()
