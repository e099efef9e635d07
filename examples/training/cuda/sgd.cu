#include <algorithm>

#include "kernels/cuda/common/launch.h"
#include "kernels/cuda/common/vec.h"
#include "training/cuda/kernels.h"
#include "training/cuda/unfused.h"

/// One step of stochastic gradient descent for all parameters of a network at once:
///
///     g += weight_decay * w
///     v  = momentum * v + (1 - dampening) * g     (v = g in the first step)
///     w -= learning_rate * (nesterov ? g + momentum * v : v)
///
/// Small networks have dozens of parameters of a few hundred elements, for which a launch each would cost
/// more than the arithmetic. The table of their addresses travels in the launch's arguments, 3,840 of the
/// 4,096 bytes that every GPU takes there. Row y of the grid is a parameter, its blocks take 2 KiB each, a
/// thread a pack of 16 bytes. Blocks beyond a short parameter's end leave at once.
///
/// Moves 20 bytes a float32 element (reads w, g, v, writes w, v) and 12 without momentum, for 7 or 4
/// operations. Learning rate and momentum are read from device memory, and so is whether a block has stepped
/// before: a recorded launch stays right when the ones change, and whether or not it was recorded before the
/// first step.
///
/// No two threads write to one place, and no operation is fused: same bits as the CPU's.
namespace kg::training::cuda {

namespace {

using kernels::Stream;
using kernels::cuda::ceil_div;
using kernels::cuda::launch;
using kernels::cuda::load_pack;
using kernels::cuda::Pack;
using kernels::cuda::pack_size;
using kernels::cuda::store_pack;

constexpr int block_size = 128;

template <class T>
struct SgdTable {
  SgdParameter<T> parameters[sgd_parameters_per_launch];
};

template <class T>
struct Factors {
  T kept, decay;
  bool nesterov;
};

template <class T>
__global__ void __launch_bounds__(block_size)
    sgd_step_kernel(const __grid_constant__ SgdTable<T> table, const Factors<T> factors,
                    const SgdRates* rates) {
  const SgdParameter<T>& p = table.parameters[blockIdx.y];
  constexpr int elements_per_block = block_size * pack_size<T>;
  const std::int64_t block_begin = std::int64_t{blockIdx.x} * elements_per_block;
  if (!(block_begin < p.count)) return;

  bool first = false;
  if (p.velocity) {
    first = p.started[blockIdx.x] == 0;
    // All threads must have read the flag before it changes.
    __syncthreads();
    if (threadIdx.x == 0) p.started[blockIdx.x] = 1;
  }

  const T rate = static_cast<T>(rates->learning_rate), momentum = static_cast<T>(rates->momentum);
  const std::int64_t begin = block_begin + static_cast<int>(threadIdx.x) * pack_size<T>;
  Pack<T> w = load_pack(p.parameter, begin, p.count);
  const Pack<T> gradient = load_pack(p.gradient, begin, p.count);
  Pack<T> v{};
  if (p.velocity && !first) v = load_pack(p.velocity, begin, p.count);
  for (int i = 0; i < pack_size<T>; ++i) {
    const T slope = sum(gradient.values[i], product(factors.decay, w.values[i]));
    T move = slope;
    if (p.velocity) {
      v.values[i] = first ? slope : sum(product(momentum, v.values[i]), product(factors.kept, slope));
      move = factors.nesterov ? sum(slope, product(momentum, v.values[i])) : v.values[i];
    }
    w.values[i] = sum(w.values[i], -product(rate, move));
  }
  store_pack(p.parameter, begin, p.count, w);
  if (p.velocity) store_pack(p.velocity, begin, p.count, v);
}

template <class T>
void step_some(std::span<const SgdParameter<T>> parameters, const Factors<T>& factors, const SgdRates* rates,
               Stream stream) {
  SgdTable<T> table{};
  std::ranges::copy(parameters, table.parameters);
  std::int64_t blocks = 0;
  for (const SgdParameter<T>& p : parameters) blocks = std::max(blocks, sgd_blocks(p.count, sizeof(T)));
  launch<sgd_step_kernel<T>>(
      {.blocks = {kernels::cuda::block_count(blocks), static_cast<unsigned>(parameters.size())},
       .threads = block_size},
      stream, table, factors, rates);
}

}  // namespace

template <class T>
void sgd_step(std::span<const SgdParameter<T>> parameters, const SgdConstants& constants,
              const SgdRates* rates, Stream stream) {
  const Factors<T> factors{.kept = static_cast<T>(1 - constants.dampening),
                           .decay = static_cast<T>(constants.weight_decay),
                           .nesterov = constants.nesterov};
  while (!parameters.empty()) {
    const std::size_t some = std::min(parameters.size(), sgd_parameters_per_launch);
    step_some(parameters.first(some), factors, rates, stream);
    parameters = parameters.subspan(some);
  }
}
template void sgd_step(std::span<const SgdParameter<float>>, const SgdConstants&, const SgdRates*, Stream);
template void sgd_step(std::span<const SgdParameter<double>>, const SgdConstants&, const SgdRates*, Stream);

}  // namespace kg::training::cuda
