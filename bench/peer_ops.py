# SPDX-License-Identifier: MIT
"""What kernelgrad_bench times, done by PyTorch. Used by compare_ops."""

import torch
import torch.nn.functional as F

aten = torch.ops.aten


class Case:
    """A benchmark's name taken apart: operation, shape of the input, options.

    "conv2d_forward/128x8x24x24/out:16/k:3" is op "conv2d_forward", shape [128, 8, 24, 24] and options
    {"out": 16, "k": 3}; numbers keep their type, what is not named has the default given where it is read.
    """

    def __init__(self, name):
        self.op, shape, *options = name.split("/")
        self.shape = [int(extent) for extent in shape.split("x")]
        pairs = (option.split(":") for option in options)
        self.options = {key: float(value) if "." in value else int(value) for key, value in pairs}

    def get(self, option, default=None):
        return self.options[option] if default is None else self.options.get(option, default)

    def input(self):
        return torch.rand(self.shape) * 2 - 1


def prepare(name):
    """The call to time for a benchmark's name; KeyError where PyTorch has no counterpart here."""
    case = Case(name)
    return PEERS[case.op](case)


def conv2d_arguments(case):
    x, groups = case.input(), case.get("groups", 1)
    weight = torch.rand(case.get("out"), case.shape[1] // groups, case.get("k"), case.get("k"))
    return x, weight, {"stride": case.get("stride", 1), "padding": case.get("padding", 0), "groups": groups}


def conv2d_forward(case):
    x, weight, options = conv2d_arguments(case)
    return lambda: F.conv2d(x, weight, **options)


def conv2d_backward(case, wanted):
    x, weight, options = conv2d_arguments(case)
    grad_output = torch.rand_like(F.conv2d(x, weight, **options))
    stride, padding = [options["stride"]] * 2, [options["padding"]] * 2
    return lambda: aten.convolution_backward(
        grad_output, x, weight, None, stride, padding, [1, 1], False, [0, 0], options["groups"], wanted
    )


def batch_norm_arguments(case):
    channels = case.shape[1]
    ones, zeros = torch.ones(channels), torch.zeros(channels)
    return case.input(), ones, zeros, case.get("relu_before", 0), case.get("dropout", 0)


def batch_norm_forward(case):
    x, gamma, beta, relu_before, dropout = batch_norm_arguments(case)
    mean, var = beta.clone(), gamma.clone()

    def call():
        y = F.batch_norm(F.relu(x) if relu_before else x, mean, var, gamma, beta, training=True)
        return F.dropout(y, dropout) if dropout > 0 else y

    return call


def batch_norm_backward(case):
    x, gamma, beta, relu_before, dropout = batch_norm_arguments(case)
    mean, inv_std = beta, gamma
    grad_output, scaled_mask = torch.rand_like(x), F.dropout(torch.ones_like(x), dropout)

    def call():
        grad = grad_output * scaled_mask if dropout > 0 else grad_output
        grad, _, _ = aten.native_batch_norm_backward(
            grad, x, gamma, None, None, mean, inv_std, True, 1e-5, [True, True, True]
        )
        return aten.threshold_backward(grad, x, 0) if relu_before else grad

    return call


def relu_forward(case):
    x = case.input()
    return lambda: F.relu(x)


def relu_backward(case):
    y, grad_output = F.relu(case.input()), case.input()
    return lambda: aten.threshold_backward(grad_output, y, 0)


def dropout_forward(case):
    x, p = case.input(), case.get("p")
    return lambda: F.dropout(x, p)


def dropout_backward(case):
    grad_output, scaled_mask = case.input(), F.dropout(torch.ones(case.shape), case.get("p"))
    return lambda: grad_output * scaled_mask


def pool_arguments(case):
    k = case.get("k")
    return case.input(), [k, k], [case.get("stride", k)] * 2, [case.get("padding", 0)] * 2


def max_pool2d_forward(case):
    x, kernel, stride, padding = pool_arguments(case)
    return lambda: aten.max_pool2d_with_indices(x, kernel, stride, padding)


def max_pool2d_backward(case):
    x, kernel, stride, padding = pool_arguments(case)
    y, indices = aten.max_pool2d_with_indices(x, kernel, stride, padding)
    grad_output = torch.rand_like(y)
    return lambda: aten.max_pool2d_with_indices_backward(
        grad_output, x, kernel, stride, padding, [1, 1], False, indices
    )


def avg_pool2d_forward(case):
    x, kernel, stride, padding = pool_arguments(case)
    return lambda: F.avg_pool2d(x, kernel, stride, padding)


def avg_pool2d_backward(case):
    x, kernel, stride, padding = pool_arguments(case)
    grad_output = torch.rand_like(F.avg_pool2d(x, kernel, stride, padding))
    return lambda: aten.avg_pool2d_backward(
        grad_output, x, kernel, stride, padding, False, True, None
    )


def global_avg_pool2d_forward(case):
    x = case.input()
    return lambda: F.adaptive_avg_pool2d(x, 1)


def global_avg_pool2d_backward(case):
    x = case.input()
    grad_output, plane = torch.rand(*case.shape[:2], 1, 1), case.shape[2] * case.shape[3]
    # The derivative of the mean, which is what adaptive_avg_pool2d computes for an output of 1 x 1.
    return lambda: (grad_output / plane).expand_as(x).contiguous()


def linear_forward(case):
    x, weight = case.input(), torch.rand(case.get("out"), case.shape[1])
    return lambda: F.linear(x, weight)


def linear_backward_input(case):
    grad_output, weight = torch.rand(case.shape[0], case.get("out")), torch.rand(case.get("out"), case.shape[1])
    return lambda: grad_output.mm(weight)


def linear_backward_weight(case):
    grad_output, x = torch.rand(case.shape[0], case.get("out")), case.input()
    return lambda: grad_output.t().mm(x)


def log_softmax_forward(case):
    x = case.input()
    return lambda: F.log_softmax(x, 1)


def log_softmax_backward(case):
    y, grad_output = F.log_softmax(case.input(), 1), case.input()
    return lambda: aten._log_softmax_backward_data(grad_output, y, 1, torch.float32)


def nll_loss_arguments(case):
    return case.input(), torch.arange(case.shape[0]) % case.shape[1]


def nll_loss_forward(case):
    x, labels = nll_loss_arguments(case)
    return lambda: F.nll_loss(x, labels)


def nll_loss_backward(case):
    x, labels = nll_loss_arguments(case)
    grad_loss, mean, total_weight = torch.tensor(1.0), 1, torch.tensor(float(case.shape[0]))
    return lambda: aten.nll_loss_backward(grad_loss, x, labels, None, mean, -100, total_weight)


def cross_entropy_forward(case):
    x, labels = nll_loss_arguments(case)
    return lambda: F.cross_entropy(x, labels)


def cross_entropy_backward(case):
    x, labels = nll_loss_arguments(case)
    log_probabilities, total_weight = F.log_softmax(x, 1), torch.tensor(float(case.shape[0]))
    grad_loss, mean = torch.tensor(1.0), 1

    # What autograd runs: the log-probabilities are saved by forward.
    def call():
        grad = aten.nll_loss_backward(grad_loss, log_probabilities, labels, None, mean, -100, total_weight)
        return aten._log_softmax_backward_data(grad, log_probabilities, 1, torch.float32)

    return call


def binary(function):
    def prepare_binary(case):
        a = case.input()
        b = torch.rand(1, case.shape[1], 1, 1) if case.get("per_channel", 0) else case.input()
        return lambda: function(a, b)

    return prepare_binary


def scale(case):
    x = case.input()
    return lambda: x * 0.5


def accumulate(case):
    x, accumulator = case.input(), torch.zeros(case.shape)
    return lambda: accumulator.add_(x)


def sum_over(dims):
    def prepare_sum(case):
        x = case.input()
        return lambda: x.sum(dims)

    return prepare_sum


PEERS = {
    "conv2d_forward": conv2d_forward,
    "conv2d_backward_input": lambda case: conv2d_backward(case, [True, False, False]),
    "conv2d_backward_weight": lambda case: conv2d_backward(case, [False, True, False]),
    "batch_norm_forward": batch_norm_forward,
    "batch_norm_backward": batch_norm_backward,
    "relu_forward": relu_forward,
    "relu_backward": relu_backward,
    "dropout_forward": dropout_forward,
    "dropout_backward": dropout_backward,
    "max_pool2d_forward": max_pool2d_forward,
    "max_pool2d_backward": max_pool2d_backward,
    "avg_pool2d_forward": avg_pool2d_forward,
    "avg_pool2d_backward": avg_pool2d_backward,
    "global_avg_pool2d_forward": global_avg_pool2d_forward,
    "global_avg_pool2d_backward": global_avg_pool2d_backward,
    "linear_forward": linear_forward,
    "linear_backward_input": linear_backward_input,
    "linear_backward_weight": linear_backward_weight,
    "log_softmax_forward": log_softmax_forward,
    "log_softmax_backward": log_softmax_backward,
    "nll_loss_forward": nll_loss_forward,
    "nll_loss_backward": nll_loss_backward,
    "cross_entropy_forward": cross_entropy_forward,
    "cross_entropy_backward": cross_entropy_backward,
    "add": binary(torch.add),
    "mul": binary(torch.mul),
    "mul_forward": scale,
    "accumulate": accumulate,
    "sum_all": sum_over([0, 1, 2, 3]),
    "sum_per_channel": sum_over([0, 2, 3]),
    "sum_last": sum_over([3]),
}
