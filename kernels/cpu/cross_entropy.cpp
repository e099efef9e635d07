// SPDX-License-Identifier: MIT
#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/memory.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

constexpr std::int64_t rows_per_task = 64;

bool is_valid(std::int64_t label, std::int64_t classes) { return label >= 0 && label < classes; }

/// softmax(x) = exp(x - largest) / sum.
template <class T>
struct Softmax {
  T largest, sum = 0;

  Softmax(const T* x, std::int64_t classes) : largest(*std::max_element(x, x + classes)) {
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - largest);
  }
};

template <class T>
void forward(std::int64_t rows, std::int64_t classes, double scale, const T* logits,
             const std::int64_t* labels, T* loss) {
  Array<double> losses(static_cast<std::size_t>(rows), std::numeric_limits<double>::quiet_NaN());
  parallel_for_ranges(rows, rows_per_task, [&](Range range) {
    for (std::int64_t r = range.begin; r < range.end; ++r) {
      if (!is_valid(labels[r], classes)) continue;
      const T* x = logits + r * classes;
      const Softmax<T> softmax(x, classes);
      // The difference first: the logarithm would drown in a large maximum.
      losses[static_cast<std::size_t>(r)] =
          static_cast<double>(std::log(softmax.sum) - (x[labels[r]] - softmax.largest));
    }
  });
  double sum = 0;
  for (const double row_loss : losses) sum += row_loss;
  *loss = static_cast<T>(sum * scale);
}

template <class T>
void backward(std::int64_t rows, std::int64_t classes, double scale, const T* grad_loss, const T* logits,
              const std::int64_t* labels, T* grad_logits) {
  const T factor = static_cast<T>(scale) * *grad_loss;
  parallel_for_ranges(rows, rows_per_task, [&](Range range) {
    for (std::int64_t r = range.begin; r < range.end; ++r) {
      const T* x = logits + r * classes;
      T* grad = grad_logits + r * classes;
      std::fill_n(grad, classes, T(0));
      if (!is_valid(labels[r], classes)) continue;
      const Softmax<T> softmax(x, classes);
      for (std::int64_t c = 0; c < classes; ++c)
        grad[c] = factor * (std::exp(x[c] - softmax.largest) / softmax.sum - T(c == labels[r]));
    }
  });
}

template <class T>
constexpr CrossEntropyKernels<T> cross_entropy{forward<T>, backward<T>};

}  // namespace

template <>
Tables<CrossEntropyKernels> tables() {
  return {&cross_entropy<float>, &cross_entropy<double>};
}

}  // namespace kg::kernels::cpu
