// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/ops.h"
#include "kernels/conv2d.h"
#include "reference/values.h"

namespace kg::reference {

/// Calls term(output element, input element, weight element) for every product that a convolution adds up.
template <class Term>
void for_conv2d_terms(const kernels::Conv2dProblem& p, const Term& term) {
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups, out_h = p.out_h(),
                     out_w = p.out_w();
  std::int64_t out = 0;
  for (std::int64_t n = 0; n < p.n; ++n)
    for (std::int64_t o = 0; o < p.c_out; ++o)
      for (std::int64_t y = 0; y < out_h; ++y)
        for (std::int64_t x = 0; x < out_w; ++x, ++out)
          for (std::int64_t c = 0; c < c_in; ++c)
            for (std::int64_t i = 0; i < p.k_h; ++i) {
              const std::int64_t in_y = y * p.stride_h - p.padding_h + i * p.dilation_h;
              if (in_y < 0 || in_y >= p.h) continue;
              const std::int64_t in_row = ((n * p.c_in + o / c_out * c_in + c) * p.h + in_y) * p.w,
                                 weight_row = ((o * c_in + c) * p.k_h + i) * p.k_w;
              for (std::int64_t j = 0; j < p.k_w; ++j) {
                const std::int64_t in_x = x * p.stride_w - p.padding_w + j * p.dilation_w;
                if (in_x >= 0 && in_x < p.w) term(out, in_row + in_x, weight_row + j);
              }
            }
}

/// The problem of kg::conv2d with valid arguments of these shapes.
inline kernels::Conv2dProblem conv2d_problem(const Shape& input, const Shape& weight,
                                             const Conv2dOptions& o) {
  return {.n = input[0],
          .c_in = input[1],
          .h = input[2],
          .w = input[3],
          .c_out = weight[0],
          .k_h = weight[2],
          .k_w = weight[3],
          .stride_h = o.stride.h,
          .stride_w = o.stride.w,
          .padding_h = o.padding.h,
          .padding_w = o.padding.w,
          .dilation_h = o.dilation.h,
          .dilation_w = o.dilation.w,
          .groups = o.groups};
}

inline void add_bias(const kernels::Conv2dProblem& p, const std::vector<double>& bias, Values& output) {
  const std::int64_t plane = p.out_h() * p.out_w();
  for (std::int64_t i = 0; i < p.n * p.c_out * plane; ++i)
    output.add(i, bias[static_cast<std::size_t>(i / plane % p.c_out)]);
}

/// `bias` may be empty.
inline Values conv2d(const kernels::Conv2dProblem& p, const std::vector<double>& input,
                     const std::vector<double>& weight, const std::vector<double>& bias) {
  Values output({p.n, p.c_out, p.out_h(), p.out_w()});
  for_conv2d_terms(p, [&](std::int64_t out, std::int64_t in, std::int64_t w) {
    output.add(out, input[static_cast<std::size_t>(in)] * weight[static_cast<std::size_t>(w)]);
  });
  if (!bias.empty()) add_bias(p, bias, output);
  return output;
}

struct Conv2dGradients {
  Values input, weight, bias;
};

inline Conv2dGradients conv2d_backward(const kernels::Conv2dProblem& p, const std::vector<double>& input,
                                       const std::vector<double>& weight,
                                       const std::vector<double>& gradient) {
  Conv2dGradients result{Values({p.n, p.c_in, p.h, p.w}), Values({p.c_out, p.c_in / p.groups, p.k_h, p.k_w}),
                         Values({p.c_out})};
  for_conv2d_terms(p, [&](std::int64_t out, std::int64_t in, std::int64_t w) {
    const double g = gradient[static_cast<std::size_t>(out)];
    result.input.add(in, g * weight[static_cast<std::size_t>(w)]);
    result.weight.add(w, g * input[static_cast<std::size_t>(in)]);
  });
  const std::int64_t plane = p.out_h() * p.out_w();
  for (std::int64_t i = 0; i < p.n * p.c_out * plane; ++i)
    result.bias.add(i / plane % p.c_out, gradient[static_cast<std::size_t>(i)]);
  return result;
}

}  // namespace kg::reference
