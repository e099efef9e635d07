// SPDX-License-Identifier: MIT
#include "kernels/avg_pool2d.h"

#include "kernels/cpu/pool2d_window.h"
#include "kernels/global_avg_pool2d.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

template <class T>
T divisor(const Pool2dProblem& p, bool count_include_pad, Window rows, Window columns) {
  return static_cast<T>(count_include_pad ? p.k_h * p.k_w
                                          : (rows.end - rows.begin) * (columns.end - columns.begin));
}

/// Calls body(plane, window rows, window columns, output index) for every window, planes shared out among the
/// threads.
template <class Body>
void for_windows(const Pool2dProblem& p, const Body& body) {
  const std::int64_t out_h = p.out_h(), out_w = p.out_w();
  parallel_for_ranges(p.planes, planes_per_task, [&](Range planes) {
    std::int64_t index = planes.begin * out_h * out_w;
    for (std::int64_t z = planes.begin; z < planes.end; ++z)
      for (std::int64_t y = 0; y < out_h; ++y)
        for (std::int64_t x = 0; x < out_w; ++x) body(z, window_rows(p, y), window_columns(p, x), index++);
  });
}

/// Whether the one window is the whole plane.
bool is_global(const Pool2dProblem& p) {
  return p.k_h == p.h && p.k_w == p.w && p.padding_h == 0 && p.padding_w == 0;
}

template <class T>
void forward(const Pool2dProblem& p, bool count_include_pad, Input<T> input_array, T* output) {
  if (is_global(p))
    return tables<GlobalAvgPool2dKernels>().of<T>()->forward(p.planes, p.h * p.w, input_array, output);
  const T* input = input_array;
  for_windows(p, [&](std::int64_t z, Window rows, Window columns, std::int64_t index) {
    double sum = 0;
    for (std::int64_t y = rows.begin; y < rows.end; ++y)
      for (std::int64_t x = columns.begin; x < columns.end; ++x)
        sum += static_cast<double>(input[(z * p.h + y) * p.w + x]);
    output[index] = static_cast<T>(sum / divisor<double>(p, count_include_pad, rows, columns));
  });
}

template <class T>
void backward(const Pool2dProblem& p, bool count_include_pad, const T* grad_output,
              Output<T> grad_input_array) {
  if (is_global(p))
    return tables<GlobalAvgPool2dKernels>().of<T>()->backward(p.planes, p.h * p.w, grad_output,
                                                              grad_input_array);
  T* grad_input = grad_input_array;
  parallel_for_ranges(p.planes * p.h * p.w, elements_per_piece, [&](Range range) {
    std::fill(grad_input + range.begin, grad_input + range.end, T(0));
  });
  for_windows(p, [&](std::int64_t z, Window rows, Window columns, std::int64_t index) {
    const T share = grad_output[index] / divisor<T>(p, count_include_pad, rows, columns);
    for (std::int64_t y = rows.begin; y < rows.end; ++y)
      for (std::int64_t x = columns.begin; x < columns.end; ++x) grad_input[(z * p.h + y) * p.w + x] += share;
  });
}

template <class T>
constexpr AvgPool2dKernels<T> avg_pool2d{forward<T>, backward<T>};

}  // namespace

template <>
Tables<AvgPool2dKernels> tables() {
  return {&avg_pool2d<float>, &avg_pool2d<double>};
}

}  // namespace kg::kernels::cpu
