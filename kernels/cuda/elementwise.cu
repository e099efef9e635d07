// SPDX-License-Identifier: MIT
#include "kernels/elementwise.h"

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/vec.h"

/// output = value, and the functions of one and of two elements, with their gradients. The operands of two
/// are broadcast.
///
/// A thread owns one 16-byte pack of consecutive output elements, so that every access of a warp to an array
/// as long as the output is 512 contiguous bytes. Memory traffic is all there is: sizeof(T) bytes an element
/// for fill, 2 for a function of one element, 3 for its gradient and for a function of two (2 where an
/// operand is broadcast: what is repeated comes from the cache).
///
/// Functions of two elements see their output as rows: the innermost dimensions that both operands walk
/// through in one stride, merged. Two tensors of one shape, or one and a scalar, are a single row; [n, c, h,
/// w] with [c, 1, 1] has a row for each image and channel. A row is cut into packs, the last of which may be
/// short, and along it an operand either advances with the output (a 16-byte load, where rows keep to 16
/// bytes) or stays (one load for the pack). The row's number is taken apart into the outer coordinates, a
/// division for each dimension and pack. Rows shorter than a pack leave threads partly idle, to no other
/// harm.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;

template <class T>
__global__ void __launch_bounds__(block_size)
    elementwise_fill_kernel(std::int64_t count, T value, T* output) {
  Pack<T> pack;
  for (T& element : pack.values) element = value;
  store_pack(output, global_thread<block_size>() * pack_size<T>, count, pack);
}

// Reads a pack before it writes the same one: the arrays may be one.
template <class T, class Function>
__global__ void __launch_bounds__(block_size)
    elementwise_unary_kernel(std::int64_t count, Function function, const T* input, T* output) {
  const std::int64_t first = global_thread<block_size>() * pack_size<T>;
  Pack<T> pack = load_pack(input, first, count);
  for (T& element : pack.values) element = function(element);
  store_pack(output, first, count, pack);
}

template <class T, class Function>
__global__ void __launch_bounds__(block_size)
    elementwise_unary_backward_kernel(std::int64_t count, Function function, const T* saved,
                                      const T* grad_output, T* grad_input) {
  const std::int64_t first = global_thread<block_size>() * pack_size<T>;
  Pack<T> gradient = load_pack(grad_output, first, count);
  // What is not saved is not read.
  const Pack<T> known = Function::saves == Saves::nothing ? gradient : load_pack(saved, first, count);
  for (int i = 0; i < pack_size<T>; ++i)
    gradient.values[i] = function.gradient(gradient.values[i], known.values[i]);
  store_pack(grad_input, first, count, gradient);
}

/// Elements first, first + 1, ... of an operand's row of `count`. Contiguous operands have no strides but 0
/// and 1 in the innermost dimension.
template <class T>
__device__ Pack<T> load_row_pack(const T* row, std::int64_t stride, std::int64_t first, std::int64_t count) {
  if (stride != 0) return load_pack(row, first, count);
  Pack<T> pack;
  for (T& element : pack.values) element = row[0];
  return pack;
}

/// A thread's packs of both operands.
template <class T>
struct RowPacks {
  Pack<T> a, b;
};

template <class T>
__device__ RowPacks<T> load_operands(const BroadcastRows& p, std::int64_t row, std::int64_t first, const T* a,
                                     const T* b) {
  std::int64_t rest = row;
  // Unrolled, the divisions of rarely more than two rounds would be most of the kernel's code and registers.
#pragma unroll 1
  for (int d = p.outer_rank; d-- > 0;) {
    const std::int64_t outer = rest / p.outer[d].extent, coordinate = rest - outer * p.outer[d].extent;
    a += coordinate * p.outer[d].a_stride;
    b += coordinate * p.outer[d].b_stride;
    rest = outer;
  }
  return {load_row_pack(a, p.row.a_stride, first, p.row.extent),
          load_row_pack(b, p.row.b_stride, first, p.row.extent)};
}

template <class T, class Function>
__global__ void __launch_bounds__(block_size)
    elementwise_binary_kernel(BroadcastRows p, std::int64_t packs_per_row, Function function, const T* a,
                              const T* b, T* output) {
  const std::int64_t row = global_thread<block_size>() / packs_per_row;
  if (row >= p.rows) return;
  const std::int64_t first = (global_thread<block_size>() - row * packs_per_row) * pack_size<T>;
  RowPacks<T> packs = load_operands(p, row, first, a, b);
  for (int i = 0; i < pack_size<T>; ++i) packs.a.values[i] = function(packs.a.values[i], packs.b.values[i]);
  store_pack(output + row * p.row.extent, first, p.row.extent, packs.a);
}

template <class T, class Function, bool of_first>
__global__ void __launch_bounds__(block_size)
    elementwise_binary_backward_kernel(BroadcastRows p, std::int64_t packs_per_row, Function function,
                                       const T* a, const T* b, const T* grad_output, T* gradient) {
  const std::int64_t row = global_thread<block_size>() / packs_per_row;
  if (row >= p.rows) return;
  const std::int64_t first = (global_thread<block_size>() - row * packs_per_row) * pack_size<T>;
  const RowPacks<T> packs = load_operands(p, row, first, a, b);
  Pack<T> result = load_pack(grad_output + row * p.row.extent, first, p.row.extent);
  for (int i = 0; i < pack_size<T>; ++i) {
    const T x = packs.a.values[i], y = packs.b.values[i];
    result.values[i] = of_first ? function.gradient_first(result.values[i], x, y)
                                : function.gradient_second(result.values[i], x, y);
  }
  store_pack(gradient + row * p.row.extent, first, p.row.extent, result);
}

template <class T>
void fill(std::int64_t count, double value, T* output) {
  launch<elementwise_fill_kernel<T>>(grid_for<block_size>(ceil_div(count, pack_size<T>)), count,
                                     static_cast<T>(value), output);
}

template <class T>
void unary(const UnaryFunction& any, std::int64_t count, const T* input, T* output) {
  const auto compute = [&]<class Function>(const Function& function) {
    launch<elementwise_unary_kernel<T, Function>>(grid_for<block_size>(ceil_div(count, pack_size<T>)), count,
                                                  function, input, output);
  };
  std::visit(compute, any);
}

template <class T>
void unary_backward(const UnaryFunction& any, std::int64_t count, const T* saved, const T* grad_output,
                    T* grad_input) {
  const auto compute = [&]<class Function>(const Function& function) {
    launch<elementwise_unary_backward_kernel<T, Function>>(
        grid_for<block_size>(ceil_div(count, pack_size<T>)), count, function, saved, grad_output, grad_input);
  };
  std::visit(compute, any);
}

template <class T>
void binary(const BinaryFunction& any, const BroadcastProblem& p, const T* a, const T* b, T* output) {
  const BroadcastRows rows(p);
  const std::int64_t packs_per_row = ceil_div(rows.row.extent, pack_size<T>);
  const auto compute = [&]<class Function>(const Function& function) {
    launch<elementwise_binary_kernel<T, Function>>(grid_for<block_size>(rows.rows * packs_per_row), rows,
                                                   packs_per_row, function, a, b, output);
  };
  std::visit(compute, any);
}

template <class T>
void binary_backward(const BinaryFunction& any, const BroadcastProblem& p, bool of_first, const T* a,
                     const T* b, const T* grad_output, T* gradient) {
  const BroadcastRows rows(p);
  const std::int64_t packs_per_row = ceil_div(rows.row.extent, pack_size<T>);
  const Grid grid = grid_for<block_size>(rows.rows * packs_per_row);
  const auto compute = [&]<class Function>(const Function& function) {
    if (of_first)
      launch<elementwise_binary_backward_kernel<T, Function, true>>(grid, rows, packs_per_row, function, a, b,
                                                                    grad_output, gradient);
    else
      launch<elementwise_binary_backward_kernel<T, Function, false>>(grid, rows, packs_per_row, function, a,
                                                                     b, grad_output, gradient);
  };
  std::visit(compute, any);
}

template <class T>
constexpr ElementwiseKernels<T> elementwise{fill<T>, plain<unary<T>>, plain<unary_backward<T>>, binary<T>,
                                            binary_backward<T>};

}  // namespace

template <>
Tables<ElementwiseKernels> tables() {
  return {&elementwise<float>, &elementwise<double>};
}

}  // namespace kg::kernels::cuda
