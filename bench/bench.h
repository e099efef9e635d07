// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor_impl.h"
#include "dispatch/kernels.h"
#include "kernelgrad/kernelgrad.h"

namespace bench {

/// What one call has to do at least.
struct Work {
  /// Bytes that must be read or written once even with a cache of infinite size: every argument and every
  /// result counts once.
  std::int64_t bytes = 0;
  /// Additions and multiplications, those with padding included; 0 where counting them says little.
  std::int64_t flops = 0;
  bool trains = false;  ///< The call records a graph for backward.
};

/// Seconds below which no implementation can stay on device(), 0 where its peaks are not known.
double roof_seconds(const Work& work);

/// Registers a benchmark. `prepare` makes the arguments and returns the call to time; wall-clock time,
/// GFLOP/s and GB/s from `work`, and where the device's peaks are known the share of the roof, are what is
/// printed.
///
/// The name says all that a peer needs to time the same call: operation, shape of the input, and what else
/// differs from the defaults: "conv2d_forward/128x8x24x24/out:16/k:3". See peer_ops.py.
void add(const std::string& name, Work work, std::function<std::function<void()>()> prepare);

/// Runs `add_benchmarks` before main(): each operation registers its benchmarks from its own file.
struct Registrar {
  explicit Registrar(void (*add_benchmarks)()) { add_benchmarks(); }
};

/// "/128x8x24x24"
std::string shape_suffix(const kg::Shape& shape);
/// "/k:3", or nothing where the value is the default.
std::string option_suffix(const std::string& name, double value, double standard);

/// Where the operations run: --device.
kg::Device device();
/// Of float32 tensors there.
inline kg::TensorOptions options() { return {.device = device()}; }
inline kg::Tensor empty(const kg::Shape& shape, kg::DType dtype = kg::DType::float32) {
  return kg::Tensor::empty(shape, {.dtype = dtype, .device = device()});
}
/// Calls a function of an operation's table, of the implementation that runs it on device().
template <template <class> class Kernels, class Body>
void run(std::string_view function, const kg::Description& problem, const Body& body) {
  kg::dispatch::run<Kernels>(function, options(), problem, body);
}
/// The description of a problem of so many elements, or of a two-dimensional one.
inline kg::Description count(std::int64_t elements) { return kg::Description().extents("", {elements}); }
/// A float32 tensor of numbers uniform in [-1, 1), the same in every run.
kg::Tensor random_tensor(const kg::Shape& shape);
/// A label for each row of scores [rows, classes].
kg::Tensor labels_for(const kg::Shape& shape);

/// Bytes of float32 tensors with so many elements in all.
constexpr std::int64_t float_bytes(std::int64_t elements) { return 4 * elements; }

/// Activations of s7_final at batch 128 (input of each element-wise operation, in the order of the network),
/// and of a ResNet's first stage.
inline const std::vector<kg::Shape> activation_shapes = {
    {128, 4, 26, 26}, {128, 8, 24, 24}, {128, 16, 22, 22}, {128, 16, 9, 9}, {128, 16, 7, 7}, {32, 64, 56, 56},
};

}  // namespace bench
