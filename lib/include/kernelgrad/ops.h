// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "kernelgrad/export.h"
#include "kernelgrad/random.h"
#include "kernelgrad/tensor.h"

/// The differentiable operations. Unless said otherwise every operation takes float32 or float64 tensors, all
/// of one dtype and on one device, has the meaning of PyTorch's function of that name, and throws Error if
/// shapes, dtypes or devices do not fit, before anything is computed.

namespace KG_API kg {

/// Vertical and horizontal value of an option; one number stands for both.
struct Pair {
  std::int64_t h, w;
  constexpr Pair(std::int64_t both) : h(both), w(both) {}
  constexpr Pair(std::int64_t h, std::int64_t w) : h(h), w(w) {}
};

/// a + b, a - b, a * b and a / b, element by element. The operands are broadcast against each other as NumPy
/// does (at most 8 dimensions).
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
/// The larger and the smaller of a and b, broadcast likewise; NaN where one is NaN. Equal operands each get
/// half of the gradient.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);

/// The same with a number on one side.
Tensor add(const Tensor& input, double number);
Tensor sub(const Tensor& input, double number);
Tensor sub(double number, const Tensor& input);
Tensor mul(const Tensor& input, double factor);
Tensor div(const Tensor& input, double number);
Tensor div(double number, const Tensor& input);

/// max(input, 0); the gradient at 0 is 0, at NaN 1.
Tensor relu(const Tensor& input);
/// input where it is positive, else negative_slope * input.
Tensor leaky_relu(const Tensor& input, double negative_slope = 0.01);
/// input where it is positive, else alpha * (exp(input) - 1) (Clevert et al., 2016).
Tensor elu(const Tensor& input, double alpha = 1);
/// 1 / (1 + exp(-input)).
Tensor sigmoid(const Tensor& input);
Tensor tanh(const Tensor& input);

struct SoftplusOptions {
  double beta = 1;
  double threshold = 20;  ///< From where beta * input exceeds it on, the result is input.
};

/// log(1 + exp(beta * input)) / beta.
Tensor softplus(const Tensor& input, const SoftplusOptions& options = {});
/// input * the standard normal distribution function of input (Hendrycks & Gimpel, 2016), not approximated.
Tensor gelu(const Tensor& input);
/// input * sigmoid(input).
Tensor silu(const Tensor& input);
/// input * min(max(input + 3, 0), 6) / 6 (Howard et al., 2019).
Tensor hardswish(const Tensor& input);

Tensor exp(const Tensor& input);
/// The natural logarithm.
Tensor log(const Tensor& input);
Tensor sqrt(const Tensor& input);
Tensor square(const Tensor& input);
/// |input|; the gradient at 0 is 0.
Tensor abs(const Tensor& input);
/// -input.
Tensor neg(const Tensor& input);
/// input to the power of a number.
Tensor pow(const Tensor& input, double exponent);

struct ClampOptions {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

/// input, but not below min and not above max; max where min is larger. The gradient passes where input is
/// not changed.
Tensor clamp(const Tensor& input, const ClampOptions& options);

inline Tensor operator-(const Tensor& input) { return neg(input); }
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& input, double number) { return add(input, number); }
inline Tensor operator-(const Tensor& input, double number) { return sub(input, number); }
inline Tensor operator*(const Tensor& input, double number) { return mul(input, number); }
inline Tensor operator/(const Tensor& input, double number) { return div(input, number); }
inline Tensor operator+(double number, const Tensor& input) { return add(input, number); }
inline Tensor operator-(double number, const Tensor& input) { return sub(number, input); }
inline Tensor operator*(double number, const Tensor& input) { return mul(input, number); }
inline Tensor operator/(double number, const Tensor& input) { return div(number, input); }

/// What sum() and mean() reduce.
struct ReduceOptions {
  /// Dimensions to reduce, each named once, negative ones counted from the last; empty: all.
  std::vector<int> dims = {};
  bool keepdim = false;  ///< Keep reduced dimensions with extent 1.
};

/// Sum over the dimensions that the options name.
Tensor sum(const Tensor& input, const ReduceOptions& options = {});
/// sum / number of elements reduced.
Tensor mean(const Tensor& input, const ReduceOptions& options = {});

/// See Tensor::reshape.
Tensor reshape(const Tensor& input, Shape shape);
/// Merges the dimensions from start_dim to the last into one.
Tensor flatten(const Tensor& input, int start_dim = 0);

/// Column of the largest element of each row of a [rows, columns] tensor, as int64 [rows]; the first among
/// equals. Not differentiable.
Tensor argmax(const Tensor& input);

struct Conv2dOptions {
  Pair stride = 1;
  Pair padding = 0;  ///< Zeros added on each side.
  Pair dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;  ///< Whether nn::Conv2d has one. conv2d() goes by its argument.
};

/// 2-d cross-correlation: input [n, c_in, h, w], weight [c_out, c_in / groups, k_h, k_w], bias [c_out] or
/// undefined; output [n, c_out, (h + 2 padding - dilation (k_h - 1) - 1) / stride + 1, ...].
Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});
inline Tensor conv2d(const Tensor& input, const Tensor& weight, const Conv2dOptions& options) {
  return conv2d(input, weight, {}, options);
}

struct ConvTranspose2dOptions {
  Pair stride = 1;
  Pair padding = 0;
  /// Rows and columns more at the end, less than the stride: several sizes of output have one size of input.
  Pair output_padding = 0;
  Pair dilation = 1;
  std::int64_t groups = 1;
};

/// The gradient of conv2d in its input, applied to `input` (a "deconvolution"): input [n, c_in, h, w], weight
/// [c_in, c_out / groups, k_h, k_w], bias [c_out] or undefined; output [n, c_out, (h - 1) stride - 2 padding
/// + dilation (k_h - 1) + output_padding + 1, ...].
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose2dOptions& options = {});

/// input weight^T + bias: input [..., in_features], weight [out_features, in_features], bias [out_features]
/// or undefined.
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = {});

/// Multiplies each element by 0 with probability p and the others by 1 / (1 - p): NaN and infinity come out
/// as NaN where they are dropped. With p = 0 returns input. Throws Error unless 0 <= p <= 1. (Inactive
/// outside training: see nn::Dropout.)
Tensor dropout(const Tensor& input, double p, Generator& generator = default_generator());

struct BatchNormOptions {
  bool training = false;            ///< Normalise with the batch's statistics and update the running ones.
  double momentum = 0.1;            ///< running = (1 - momentum) * running + momentum * batch; 0 to 1.
  double epsilon = 1e-5;            ///< Not below 0.
  Tensor num_batches_tracked = {};  ///< int64 []; goes up by one in training, if defined.
  // Neighbours computed in the same pass over memory. The result is that of the separate operations:
  // dropout(relu(batch_norm(relu(input)))), each where asked for; p > 0 takes one draw of `generator`.
  bool relu_before = false;
  bool relu_after = false;
  double dropout = 0;
  Generator* generator = nullptr;  ///< nullptr: default_generator().
};

/// Batch normalisation (Ioffe & Szegedy, 2015) over all dimensions but the second: input [n, channels, ...],
/// gamma (weight), beta (bias), running_mean and running_var [channels]. Training normalises with the biased
/// variance and moves running_var towards the unbiased one. gamma and beta may be undefined together; the
/// running statistics may in training. Throws Error also for fewer than two values per channel in training.
Tensor batch_norm(const Tensor& input, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
                  const Tensor& running_var, const BatchNormOptions& options = {});

struct PoolOptions {
  Pair stride = 0;                ///< 0: the kernel size.
  Pair padding = 0;               ///< At most half the kernel size.
  bool count_include_pad = true;  ///< Average pooling: padding counts in the divisor. Max pooling ignores it.
};

/// Largest element per window: input [n, c, h, w] to [n, c, (h + 2 padding - kernel) / stride + 1, ...].
/// Padding never wins, NaN does; the gradient goes to the first of equal elements.
Tensor max_pool2d(const Tensor& input, Pair kernel, const PoolOptions& options = {});
/// Mean per window.
Tensor avg_pool2d(const Tensor& input, Pair kernel, const PoolOptions& options = {});
/// Mean of each image: [n, c, h, w] to [n, c, 1, 1].
Tensor global_avg_pool2d(const Tensor& input);

/// input - log(sum(exp(input))) over the last dimension.
Tensor log_softmax(const Tensor& input);

/// What a loss makes of the terms of its rows.
enum class Reduction { mean, sum };

/// Negative log-likelihood of integer labels [n] in [0, classes) under log-probabilities [n, classes]: a
/// scalar. Throws Error on a label out of range where the labels are on the CPU; on another device the loss
/// becomes NaN.
Tensor nll_loss(const Tensor& log_probabilities, const Tensor& labels, Reduction reduction = Reduction::mean);

/// nll_loss(log_softmax(logits), labels) in one pass, without the log-probabilities in memory: logits [n,
/// classes], labels and errors as there.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, Reduction reduction = Reduction::mean);

}  // namespace kg
