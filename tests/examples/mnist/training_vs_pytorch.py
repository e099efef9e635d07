"""Compares training in float64 with PyTorch: every weight after every step.

First torch.optim.SGD and StepLR on random gradients, then s7_final as a whole (dropout off, which draws other numbers).

Usage: training_vs_pytorch.py TRAINING_ORACLE
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


def options_text(sgd, schedule, epochs, steps):
    numbers = [sgd["lr"], sgd["momentum"], sgd["dampening"], sgd["weight_decay"], int(sgd["nesterov"])]
    return " ".join(map(str, [*numbers, schedule["step_size"], schedule["gamma"], epochs, steps]))


def text(tensors):
    return " ".join(value.hex() for tensor in tensors for value in tensor.detach().double().flatten().tolist())


def answer(oracle, requests):
    result = subprocess.run([oracle], input="\n".join(requests) + "\n", stdout=subprocess.PIPE, text=True, check=True)
    return [[float.fromhex(word) for word in line.split()] for line in result.stdout.splitlines()]


def flat(tensors):
    return [value for tensor in tensors for value in tensor.detach().flatten().tolist()]


def train(parameters, sgd, schedule, epochs, steps, set_gradients, state):
    """A line per step as the oracle prints it: the learning rate, then the values of `state`."""
    optimizer = torch.optim.SGD(parameters, **sgd)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, **schedule)
    lines = []
    for _ in range(epochs):
        for _ in range(steps):
            for parameter in parameters:
                parameter.grad = None
            set_gradients()
            optimizer.step()
            lines.append([optimizer.param_groups[0]["lr"], *flat(state)])
        scheduler.step()
    return lines


def sgd_case(draws, sgd, schedule):
    epochs, steps, sizes = 5, 3, [7, 1, 12]
    parameters = [nn.Parameter(torch.randn(size, dtype=torch.float64)) for size in sizes]
    words = [f"sgd {options_text(sgd, schedule, epochs, steps)}", *map(str, [len(sizes), *sizes]), text(parameters)]

    def set_gradients():
        for parameter in parameters:
            if draws.random() < 0.25:
                words.append("0")
                continue
            parameter.grad = torch.randn_like(parameter)
            words.append("1 " + text([parameter.grad]))

    expected = train(parameters, sgd, schedule, epochs, steps, set_gradients, parameters)
    return " ".join(words), expected


def sgd_cases(draws):
    table = itertools.product((0, 0.5, 0.9), (0, 0.3), (0, 0.01), (False, True), (1, 2, 7))
    for momentum, dampening, weight_decay, nesterov, step_size in table:
        if nesterov and (momentum == 0 or dampening != 0):
            continue
        sgd = dict(lr=0.04, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)
        yield sgd_case(draws, sgd, dict(step_size=step_size, gamma=draws.choice([0.1, 0.7])))


def block(channels_in, channels_out, padding=0):
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=padding, bias=False), nn.ReLU(),
                         nn.BatchNorm2d(channels_out), nn.Dropout(0))


def s7_final():
    transition = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.MaxPool2d(2))
    return nn.Sequential(block(1, 4), block(4, 8), block(8, 16), transition, block(8, 16), block(16, 16),
                         block(16, 16, padding=1), nn.Conv2d(16, 10, 1, bias=False), nn.AvgPool2d(7), nn.Flatten(),
                         nn.LogSoftmax(dim=1)).double()


def network_case():
    """The recipe's learning rate and momentum, its schedule in short."""
    sgd = dict(lr=0.04, momentum=0.9, dampening=0, weight_decay=0, nesterov=False)
    schedule = dict(step_size=1, gamma=0.1)
    epochs, steps, batch = 2, 3, 5
    network = s7_final()
    state = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    words = [f"network s7_final {options_text(sgd, schedule, epochs, steps)} {batch}", text(state)]

    def set_gradients():
        images = torch.randn(batch, 1, 28, 28, dtype=torch.float64)
        labels = torch.randint(0, 10, (batch,))
        words.append(text([images]) + " " + " ".join(map(str, labels.tolist())))
        nn.functional.nll_loss(network(images), labels).backward()

    expected = train(list(network.parameters()), sgd, schedule, epochs, steps, set_gradients, state)
    return " ".join(words), expected


def compare(oracle, name, cases, tolerance):
    requests, sequences = zip(*cases)
    expected = [line for lines in sequences for line in lines]
    actual = answer(oracle, requests)
    if [len(line) for line in actual] != [len(line) for line in expected]:
        print(f"{name}: {len(actual)} steps came back, expected {len(expected)}, or their sizes differ")
        return False
    error = max((abs(a - e) for got, wanted in zip(actual, expected) for a, e in zip(got, wanted)), default=0)
    rates_equal = all(got[0] == wanted[0] for got, wanted in zip(actual, expected))
    passed = error <= tolerance and rates_equal  # false for NaN
    print(f"{name}: {len(requests)} runs, {len(expected)} steps, largest deviation {error:.1e} "
          f"(at most {tolerance:.0e}), learning rates {'equal' if rates_equal else 'DIFFERENT'}")
    return passed


def main():
    oracle = sys.argv[1]
    torch.manual_seed(1)
    results = [
        compare(oracle, "SGD with StepLR", sgd_cases(random.Random(1)), 1e-14),
        compare(oracle, "s7_final", [network_case()], 1e-10),
    ]
    sys.exit(0 if all(results) else 1)


main()
