// SPDX-License-Identifier: MIT
#include "kernels/cpu/conv2d_direct.h"

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// The pixel (y, x) of a plane of h x w, 0 outside of it. Zeros are multiplied like other pixels: a weight
/// that is not a number must show.
template <class T>
T pixel(const T* plane, std::int64_t h, std::int64_t w, std::int64_t y, std::int64_t x) {
  return y >= 0 && y < h && x >= 0 && x < w ? plane[y * w + x] : T(0);
}

/// What tap (i, j) of the filter meets for the output's pixel (y, x).
template <class T>
T met(const Conv2dProblem& p, const T* plane, std::int64_t y, std::int64_t x, std::int64_t i,
      std::int64_t j) {
  return pixel(plane, p.h, p.w, y * p.stride_h - p.padding_h + i * p.dilation_h,
               x * p.stride_w - p.padding_w + j * p.dilation_w);
}

template <class T>
void forward(const Conv2dProblem& p, const T* input, const T* weight, const T* bias, T* output) {
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups, out_h = p.out_h(),
                     out_w = p.out_w();
  const auto value = [&](const T* image, const T* filter, std::int64_t y, std::int64_t x) {
    T sum = 0;
    for (std::int64_t c = 0; c < c_in; ++c)
      for (std::int64_t i = 0; i < p.k_h; ++i)
        for (std::int64_t j = 0; j < p.k_w; ++j)
          sum += filter[(c * p.k_h + i) * p.k_w + j] * met(p, image + c * p.h * p.w, y, x, i, j);
    return sum;
  };
  parallel_for(p.n * p.c_out, [&](std::int64_t plane) {
    const std::int64_t n = plane / p.c_out, o = plane % p.c_out;
    const T* image = input + (n * p.c_in + o / c_out * c_in) * p.h * p.w;
    for (std::int64_t y = 0; y < out_h; ++y)
      for (std::int64_t x = 0; x < out_w; ++x)
        output[(plane * out_h + y) * out_w + x] =
            value(image, weight + o * c_in * p.k_h * p.k_w, y, x) + (bias ? bias[o] : T(0));
  });
}

template <class T>
void backward_input(const Conv2dProblem& p, const T* grad_output, const T* weight, T* grad_input) {
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups, out_h = p.out_h(),
                     out_w = p.out_w();
  // Of the pixel that lies at (y, x) of the padded image.
  const auto value = [&](const T* gradient, const T* filters, std::int64_t y, std::int64_t x) {
    T sum = 0;
    for (std::int64_t o = 0; o < c_out; ++o)
      for (std::int64_t i = 0; i < p.k_h; ++i) {
        const std::int64_t row = y - i * p.dilation_h;
        if (row % p.stride_h != 0) continue;
        for (std::int64_t j = 0; j < p.k_w; ++j) {
          const std::int64_t column = x - j * p.dilation_w;
          if (column % p.stride_w != 0) continue;
          sum += filters[(o * c_in * p.k_h + i) * p.k_w + j] *
                 pixel(gradient + o * out_h * out_w, out_h, out_w, row / p.stride_h, column / p.stride_w);
        }
      }
    return sum;
  };
  parallel_for(p.n * p.c_in, [&](std::int64_t plane) {
    const std::int64_t n = plane / p.c_in, c = plane % p.c_in, first = c / c_in * c_out;
    const T* gradient = grad_output + (n * p.c_out + first) * out_h * out_w;
    const T* filters = weight + (first * c_in + c % c_in) * p.k_h * p.k_w;
    for (std::int64_t y = 0; y < p.h; ++y)
      for (std::int64_t x = 0; x < p.w; ++x)
        grad_input[(plane * p.h + y) * p.w + x] = value(gradient, filters, y + p.padding_h, x + p.padding_w);
  });
}

template <class T>
void backward_weight(const Conv2dProblem& p, const T* input, const T* grad_output, T* grad_weight) {
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups, out_h = p.out_h(),
                     out_w = p.out_w();
  parallel_for(p.c_out * c_in * p.k_h, [&](std::int64_t row) {
    const std::int64_t o = row / p.k_h / c_in, c = o / c_out * c_in + row / p.k_h % c_in, i = row % p.k_h;
    for (std::int64_t j = 0; j < p.k_w; ++j) {
      double sum = 0;
      for (std::int64_t n = 0; n < p.n; ++n)
        for (std::int64_t y = 0; y < out_h; ++y)
          for (std::int64_t x = 0; x < out_w; ++x)
            sum += static_cast<double>(grad_output[((n * p.c_out + o) * out_h + y) * out_w + x] *
                                       met(p, input + (n * p.c_in + c) * p.h * p.w, y, x, i, j));
      grad_weight[row * p.k_w + j] = static_cast<T>(sum);
    }
  });
}

template <class T>
constexpr Conv2dKernels<T> direct{plain<forward<T>>, plain<backward_input<T>>, plain<backward_weight<T>>,
                                  nullptr};

}  // namespace

Tables<Conv2dKernels> conv2d_direct() { return {&direct<float>, &direct<double>}; }

}  // namespace kg::kernels::cpu
