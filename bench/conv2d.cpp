// SPDX-License-Identifier: MIT
#include "kernels/conv2d.h"

#include "bench.h"
#include "convolutions.h"

namespace {

struct Case {
  kg::Shape input;
  std::int64_t out, k = 3, stride = 1, padding = 0, groups = 1;

  kg::kernels::Conv2dProblem problem() const {
    return {.n = input[0],
            .c_in = input[1],
            .h = input[2],
            .w = input[3],
            .c_out = out,
            .k_h = k,
            .k_w = k,
            .stride_h = stride,
            .stride_w = stride,
            .padding_h = padding,
            .padding_w = padding,
            .groups = groups};
  }
  std::string name() const {
    return bench::shape_suffix(input) + bench::option_suffix("out", static_cast<double>(out), 0) +
           bench::option_suffix("k", static_cast<double>(k), 0) +
           bench::option_suffix("stride", static_cast<double>(stride), 1) +
           bench::option_suffix("padding", static_cast<double>(padding), 0) +
           bench::option_suffix("groups", static_cast<double>(groups), 1);
  }
};

const Case cases[] = {
    // s7_final
    {.input = {128, 1, 28, 28}, .out = 4},
    {.input = {128, 4, 26, 26}, .out = 8},
    {.input = {128, 8, 24, 24}, .out = 16},
    {.input = {128, 16, 22, 22}, .out = 8, .k = 1},
    {.input = {128, 8, 11, 11}, .out = 16},
    {.input = {128, 16, 9, 9}, .out = 16},
    {.input = {128, 16, 7, 7}, .out = 16, .padding = 1},
    {.input = {128, 16, 7, 7}, .out = 10, .k = 1},
    // Layers of larger networks: ResNet's 3x3, its downsampling and its 1x1, and a depthwise one
    {.input = {8, 64, 56, 56}, .out = 64, .padding = 1},
    {.input = {8, 64, 56, 56}, .out = 128, .stride = 2, .padding = 1},
    {.input = {8, 64, 56, 56}, .out = 128, .k = 1},
    {.input = {8, 64, 56, 56}, .out = 64, .padding = 1, .groups = 64},
    {.input = {8, 128, 28, 28}, .out = 128, .padding = 1},
    {.input = {8, 256, 14, 14}, .out = 256, .padding = 1},
    {.input = {8, 256, 14, 14}, .out = 512, .stride = 2, .padding = 1},
    {.input = {8, 256, 14, 14}, .out = 1024, .k = 1},
    {.input = {8, 512, 7, 7}, .out = 512, .padding = 1},
    {.input = {8, 3, 224, 224}, .out = 64, .k = 7, .stride = 2, .padding = 3},
    {.input = {1, 64, 56, 56}, .out = 64, .padding = 1},
    {.input = {1, 512, 7, 7}, .out = 512, .padding = 1},
};

void add_all(const std::string& operation, bench::Direction direction) {
  for (const Case& c : cases)
    bench::add(operation + c.name(), bench::work_of(c.problem()),
               [=] { return bench::call_of(c.problem(), direction); });
}

const bench::Registrar registrar([] {
  add_all("conv2d_forward", bench::Direction::forward);
  add_all("conv2d_backward_input", bench::Direction::backward_input);
  add_all("conv2d_backward_weight", bench::Direction::backward_weight);
});

}  // namespace
