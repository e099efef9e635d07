# SPDX-License-Identifier: MIT
"""Compares training in float64 with PyTorch: every weight after every step, and the learning rate and momentum it had.

First torch.optim.SGD and the schedules on random gradients; then whole schedules, long ones and those of the published
systems; then every network of systems.json as a whole (dropout off, which draws other numbers).

Usage: training_vs_pytorch.py TRAINING_ORACLE SYSTEMS_JSON
Exit status: 0 all equal, 1 something differs, 77 PyTorch is not installed.
"""

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

try:
    import torch
    from torch import nn
except ImportError as error:
    print(f"skipped: {error} (needs python3-torch)")
    sys.exit(77)

SGD = dict(lr=0.04, momentum=0.9, dampening=0, weight_decay=0, nesterov=False)


class Constant:
    words = ["constant"]

    def scheduler(self, optimizer, steps):
        return None


class Step:
    def __init__(self, step_size, gamma):
        self.arguments = dict(step_size=step_size, gamma=gamma)
        self.words = ["step", step_size, gamma]

    def scheduler(self, optimizer, steps):
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, **self.arguments)
        return None, lambda loss: scheduler.step()


class Plateau:
    def __init__(self, factor, patience, threshold=1e-4, min_lr=0):
        self.arguments = dict(factor=factor, patience=patience, threshold=threshold, min_lr=min_lr)
        self.words = ["plateau", factor, patience, threshold, min_lr]

    def scheduler(self, optimizer, steps):
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", **self.arguments)
        return None, scheduler.step


class Cycle:
    """What PyTorch is given as max_lr is the learning rate of the optimizer here."""

    def __init__(self, every, pct_start=0.3, div_factor=25, final_div_factor=1e4, base_momentum=0.85, max_momentum=0.95):
        self.every = every
        self.arguments = dict(pct_start=pct_start, div_factor=div_factor, final_div_factor=final_div_factor,
                              base_momentum=base_momentum, max_momentum=max_momentum)
        self.words = ["cycle", *self.arguments.values(), every]

    def scheduler(self, optimizer, steps):
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=optimizer.param_groups[0]["lr"],
                                                        total_steps=steps, **self.arguments)
        if self.every == "batch":
            return scheduler.step, None
        return None, lambda loss: scheduler.step()


def options_text(sgd, schedule, epochs, steps):
    numbers = [sgd["lr"], sgd["momentum"], sgd["dampening"], sgd["weight_decay"], int(sgd["nesterov"])]
    return " ".join(map(str, [*numbers, *schedule.words, epochs, steps]))


def text(tensors):
    return " ".join(value.hex() for tensor in tensors for value in tensor.detach().double().flatten().tolist())


def answer(oracle, requests):
    result = subprocess.run([oracle], input="\n".join(requests) + "\n", stdout=subprocess.PIPE, text=True, check=True)
    return [[float.fromhex(word) for word in line.split()] for line in result.stdout.splitlines()]


def flat(tensors):
    return [value for tensor in tensors for value in tensor.detach().flatten().tolist()]


def train(parameters, sgd, schedule, losses, steps, words, set_gradients, state):
    """A line per step as the oracle prints it. An epoch for each test loss, which is added to the request's words."""
    optimizer = torch.optim.SGD(parameters, **sgd)
    after_batch, after_epoch = schedule.scheduler(optimizer, len(losses) * steps) or (None, None)
    lines = []
    for loss in losses:
        for _ in range(steps):
            for parameter in parameters:
                parameter.grad = None
            set_gradients()
            optimizer.step()
            group = optimizer.param_groups[0]
            lines.append([group["lr"], group["momentum"], *flat(state)])
            if after_batch:
                after_batch()
        if after_epoch:
            after_epoch(loss)
        words.append(str(loss))
    return lines


def sgd_case(draws, sgd, schedule, sizes=(7, 1, 12), epochs=5, steps=3):
    parameters = [nn.Parameter(torch.randn(size, dtype=torch.float64)) for size in sizes]
    words = [f"sgd {options_text(sgd, schedule, epochs, steps)}", *map(str, [len(sizes), *sizes]), text(parameters)]

    def set_gradients():
        for parameter in parameters:
            if draws.random() < 0.25:
                words.append("0")
                continue
            parameter.grad = torch.randn_like(parameter)
            words.append("1 " + text([parameter.grad]))

    # Losses that go down by less and less, with noise: some epochs are better than the best, some are not.
    losses = [1 / (1 + epoch) + draws.uniform(0, 0.2) for epoch in range(epochs)]
    expected = train(parameters, sgd, schedule, losses, steps, words, set_gradients, parameters)
    return " ".join(words), expected


def sgd_cases(draws):
    table = itertools.product((0, 0.5, 0.9), (0, 0.3), (0, 0.01), (False, True))
    for momentum, dampening, weight_decay, nesterov in table:
        if nesterov and (momentum == 0 or dampening != 0):
            continue
        sgd = dict(lr=0.04, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)
        schedules = [Step(1, 0.7), Step(2, 0.1), Step(7, 0.1), Plateau(0.5, 0), Constant()]
        if momentum:
            schedules += [Cycle("batch"), Cycle("epoch")]
        for schedule in schedules:
            yield sgd_case(draws, sgd, schedule)


def schedule_cases(draws):
    """One weight, many steps."""
    long = [Step(7, 0.1), Step(6, 0.3), Step(1, 0.9), Cycle("batch"), Cycle("epoch"), Cycle("batch", 0.2, 10, 100, 0.8, 0.99),
            Cycle("batch", 0.0, 4, 50), Cycle("epoch", 0.07, 3)]
    long += [Plateau(factor, patience, threshold, min_lr) for factor in (0.1, 0.5) for patience in (0, 1, 2, 5)
             for threshold in (1e-4, 0.05) for min_lr in (0, 1e-3)]
    for schedule in long:
        for epochs, steps in ((15, 3), (15, 40), (60, 1)):
            yield sgd_case(draws, dict(SGD, lr=0.017), schedule, sizes=(1,), epochs=epochs, steps=steps)


def published_schedule(system):
    """As systems.json has it."""
    schedule = dict(system["schedule"] or dict(name="none"))
    name = schedule.pop("name")
    if name == "StepLR":
        return Step(schedule["step_size"], schedule["gamma"])
    if name == "ReduceLROnPlateau":
        return Plateau(schedule["factor"], schedule["patience"], schedule["threshold"], schedule["min_lr"])
    if name == "OneCycleLR":
        return Cycle(schedule["step"], *(schedule[argument] for argument in (
            "pct_start", "div_factor", "final_div_factor", "base_momentum", "max_momentum")))
    return Constant()


def module(layer, channels):
    op = layer["op"]
    if op == "conv":
        return nn.Conv2d(channels, layer["out"][0], layer["kernel"], padding=layer["padding"], bias=False)
    if op == "batch_norm":
        return nn.BatchNorm2d(channels)
    if op in ("relu", "functional_relu"):
        return nn.ReLU()
    if op == "max_pool":
        return nn.MaxPool2d(layer["kernel"])
    if op == "avg_pool":
        return nn.AvgPool2d(layer["kernel"])
    if op == "adaptive_avg_pool":
        return nn.AdaptiveAvgPool2d(1)
    return {"flatten": nn.Flatten(), "log_softmax": nn.LogSoftmax(dim=1)}.get(op)  # None: dropout, names of blocks


def build(layers):
    modules, channels = [], 1
    for layer in layers:
        modules.append(module(layer, channels))
        channels = layer["out"][0]
    return nn.Sequential(*filter(None, modules)).double()


def network_case(system, layers):
    """Learning rate, momentum and schedule of the system, for a few steps."""
    sgd = dict(SGD, lr=system["learning_rate"], momentum=system["momentum"])
    schedule = published_schedule(system)
    losses, steps, batch = [2, 1], 2, 3
    network = build(layers)
    state = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    words = [f"network {system['id']} {options_text(sgd, schedule, len(losses), steps)} {batch}", text(state)]

    def set_gradients():
        images = torch.randn(batch, 1, 28, 28, dtype=torch.float64)
        labels = torch.randint(0, 10, (batch,))
        words.append(text([images]) + " " + " ".join(map(str, labels.tolist())))
        nn.functional.nll_loss(network(images), labels).backward()

    expected = train(list(network.parameters()), sgd, schedule, losses, steps, words, set_gradients, state)
    return " ".join(words), expected


def compare(oracle, name, cases, tolerance):
    requests, sequences = zip(*cases)
    expected = [line for lines in sequences for line in lines]
    actual = answer(oracle, requests)
    if [len(line) for line in actual] != [len(line) for line in expected]:
        print(f"{name}: {len(actual)} steps came back, expected {len(expected)}, or their sizes differ")
        return False
    pairs = [(a, e) for got, wanted in zip(actual, expected) for a, e in zip(got, wanted)]
    error = max(abs(a - e) for a, e in pairs)
    rates_equal = all(got[:2] == wanted[:2] for got, wanted in zip(actual, expected))
    passed = rates_equal and all(abs(a - e) <= tolerance for a, e in pairs)  # false for NaN
    print(f"{name}: {len(requests)} runs, {len(expected)} steps, largest deviation {error:.1e} (at most {tolerance:.0e}), "
          f"learning rates and momenta {'equal' if rates_equal else 'DIFFERENT'}")
    return passed


def main():
    oracle, systems = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    torch.manual_seed(1)
    draws = random.Random(1)
    networks = (network_case(system, systems["networks"][system["network"]]) for system in systems["systems"])
    results = [
        compare(oracle, "SGD with schedules", sgd_cases(draws), 1e-14),
        compare(oracle, "whole schedules", schedule_cases(draws), 1e-12),
        compare(oracle, "published systems", networks, 1e-12),
    ]
    sys.exit(0 if all(results) else 1)


main()
