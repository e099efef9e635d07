// SPDX-License-Identifier: MIT
#include "kernels/global_avg_pool2d.h"

#include <memory>
#include <utility>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/scratch.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

constexpr std::int64_t planes_per_task = 128;

template <class T>
void forward_in_blocks(const Blocks<T>& input, std::int64_t plane, T* output) {
  const std::int64_t channels = input.count() / plane, lanes = input.lanes();
  parallel_for(input.blocks(), [&](std::int64_t index) {
    thread_local Scratch<T> memory;
    thread_local Scratch<double> sum_memory;
    const T* block = input.block(index, memory.reserve(input.block_size()));
    double* sums = sum_memory.reserve(lanes);
    for (std::int64_t c = 0; c < channels; ++c) {
      block_loops().of<T>()->sum_lanes(block + c * plane * lanes, plane, sums);
      for (std::int64_t i = 0; i < input.images_of(index); ++i)
        output[(index * lanes + i) * channels + c] = static_cast<T>(sums[i] / static_cast<double>(plane));
    }
  });
}

template <class T>
void forward(std::int64_t planes, std::int64_t plane, Input<T> input_array, T* output) {
  if (const auto blocks = input_array.template form<Blocks<T>>();
      blocks && blocks->images() * blocks->count() == planes * plane && blocks->count() % plane == 0)
    return forward_in_blocks(*blocks, plane, output);
  const T* input = input_array;
  parallel_for_ranges(planes, planes_per_task, [&](Range range) {
    for (std::int64_t z = range.begin; z < range.end; ++z) {
      double sum = 0;
      for (std::int64_t i = 0; i < plane; ++i) sum += static_cast<double>(input[z * plane + i]);
      output[z] = static_cast<T>(sum / static_cast<double>(plane));
    }
  });
}

template <class T>
void backward(std::int64_t planes, std::int64_t plane, const T* grad_output, Output<T> grad_input) {
  Array<T> values(grad_output, grad_output + planes);
  for (T& value : values) value /= static_cast<T>(plane);
  grad_input.keep(std::make_shared<ConstantPlanes<T>>(std::move(values), plane));
}

template <class T>
constexpr GlobalAvgPool2dKernels<T> global_avg_pool2d{forward<T>, backward<T>};

}  // namespace

template <>
Tables<GlobalAvgPool2dKernels> tables() {
  return {&global_avg_pool2d<float>, &global_avg_pool2d<double>};
}

}  // namespace kg::kernels::cpu
