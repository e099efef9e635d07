// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench.h"
#include "kernels/conv2d.h"

namespace bench {

/// The same for all three directions: each reads two of input, weight and output and writes the third.
Work work_of(const kg::kernels::Conv2dProblem& problem);

enum class Direction : std::uint8_t { forward, backward_input, backward_weight };

/// A call of the chosen kernel. Its tensors, random ones, are its own, and the result takes the place of the
/// one that it does not read.
std::function<void()> call_of(const kg::kernels::Conv2dProblem& problem, Direction direction);

/// Adds to what is compared; one for each file that has some, before main().
struct ConvolutionSource {
  using List = std::vector<kg::kernels::Conv2dProblem> (*)();
  explicit ConvolutionSource(List list);
};

/// Prints a Markdown table: for every convolution from the sources whose text has `text` in it, and each
/// direction, the time of our own kernel, of cuDNN's, and the time that no kernel can be below.
/// Throws kg::Error unless device() is CUDA and cuDNN can be loaded.
void compare_convolutions(const std::string& text);

}  // namespace bench
