// SPDX-License-Identifier: MIT
#include <algorithm>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/cuda/vec.h"
#include "training/cuda/kernels.h"

/// One step of an optimizer for all parameters of a network at once, by the rule that says what happens to an
/// element.
///
/// Small networks have dozens of parameters of a few hundred elements, for which a launch each would cost
/// more than the arithmetic. The table of their addresses travels in the launch's arguments, 3,840 of the
/// 4,096 bytes that every GPU takes there. Row y of the grid is a parameter, its blocks take 2 KiB each, a
/// thread a pack of 16 bytes. Blocks beyond a short parameter's end leave at once.
///
/// Moves 20 bytes a float32 element for Sgd (reads w, g, v, writes w, v), 12 without momentum, 28 for Adam.
/// Learning rate and momentum are read from device memory, and so is how many steps a block has made: a
/// recorded launch stays right when the ones change, and whether or not it was recorded before the first
/// step.
///
/// No two threads write to one place, and no operation is fused: same bits as the CPU's.
namespace kg::training::cuda {

namespace {

using kg::cuda::ceil_div;
using kg::cuda::launch;
using kg::cuda::load_pack;
using kg::cuda::Pack;
using kg::cuda::pack_size;
using kg::cuda::SharedLayout;
using kg::cuda::SharedMemory;
using kg::cuda::store_pack;

constexpr int block_size = 128;

template <class T, int kept_values>
struct StepTable {
  ParameterStep<T, kept_values> parameters[parameters_per_launch<T, kept_values>];
};

/// What the first thread has found out for all of a block.
template <class Rule>
struct BlockStep {
  Rule rule;
  bool first;
};

template <class T, class Rule>
__global__ void __launch_bounds__(block_size)
    optimizer_step_kernel(const __grid_constant__ StepTable<T, Rule::kept_values> table,
                          const typename Rule::Constants constants, const double* rates) {
  const ParameterStep<T, Rule::kept_values>& p = table.parameters[blockIdx.y];
  constexpr int elements_per_block = block_size * pack_size<T>;
  const std::int64_t block_begin = std::int64_t{blockIdx.x} * elements_per_block;
  if (!(block_begin < p.count)) return;

  SharedMemory shared;
  BlockStep<Rule>* const block = shared.array<BlockStep<Rule>>(1);
  if (threadIdx.x == 0) {
    const std::int32_t step = p.steps ? ++p.steps[blockIdx.x] : 1;
    *block = {Rule(constants, {rates[0], rates[1]}, step), step == 1};
  }
  __syncthreads();
  const Rule rule = block->rule;
  const bool loads = p.steps && !block->first;

  const std::int64_t begin = block_begin + static_cast<int>(threadIdx.x) * pack_size<T>;
  Pack<T> w = load_pack(p.parameter, begin, p.count);
  const Pack<T> gradient = load_pack(p.gradient, begin, p.count);
  Pack<T> kept[Rule::kept_values] = {};
  for (int k = 0; k < Rule::kept_values; ++k)
    if (loads) kept[k] = load_pack(p.kept[k], begin, p.count);
  for (int i = 0; i < pack_size<T>; ++i) {
    T values[Rule::kept_values];
    for (int k = 0; k < Rule::kept_values; ++k) values[k] = kept[k].values[i];
    rule(w.values[i], gradient.values[i], p.steps ? values : nullptr);
    for (int k = 0; k < Rule::kept_values; ++k) kept[k].values[i] = values[k];
  }
  store_pack(p.parameter, begin, p.count, w);
  for (int k = 0; k < Rule::kept_values; ++k)
    if (p.steps) store_pack(p.kept[k], begin, p.count, kept[k]);
}

template <class Rule, class T = typename Rule::Value>
void step_some(std::span<const ParameterStep<T, Rule::kept_values>> parameters,
               const typename Rule::Constants& constants, const double* rates) {
  StepTable<T, Rule::kept_values> table{};
  std::ranges::copy(parameters, table.parameters);
  std::int64_t blocks = 0;
  for (const auto& p : parameters) blocks = std::max(blocks, step_blocks(p.count, sizeof(T)));
  launch<optimizer_step_kernel<T, Rule>>(
      {.blocks = {kg::cuda::block_count(blocks), static_cast<unsigned>(parameters.size())},
       .threads = block_size,
       .shared_bytes = SharedLayout().array<BlockStep<Rule>>(1).bytes()},
      table, constants, rates);
}

}  // namespace

template <class Rule>
void optimizer_step(std::span<const ParameterStep<typename Rule::Value, Rule::kept_values>> parameters,
                    const typename Rule::Constants& constants, const double* rates) {
  while (!parameters.empty()) {
    const std::size_t some =
        std::min(parameters.size(), parameters_per_launch<typename Rule::Value, Rule::kept_values>);
    step_some<Rule>(parameters.first(some), constants, rates);
    parameters = parameters.subspan(some);
  }
}
KG_INSTANTIATE_OPTIMIZER_STEPS

}  // namespace kg::training::cuda
