#include "kernels/batch_norm.h"

#include <cmath>
#include <vector>

#include "kernels/cpu/batch_norm_plane.h"
#include "kernels/cpu/dropout.h"
#include "kernels/parallel.h"
#include "kernels/cpu/scratch.h"

namespace kg::kernels::cpu {

namespace {

constexpr std::int64_t planes_per_task = 64;

/// The constants of every channel.
template <class T>
std::vector<Channel<T>> channels_of(const BatchNormProblem& p, const T* gamma, const T* beta, const T* mean,
                                    const T* inv_std) {
  std::vector<Channel<T>> channels;
  for (std::int64_t c = 0; c < p.channels; ++c) {
    const T scale = (gamma ? gamma[c] : T(1)) * inv_std[c];
    channels.push_back({.relu_before = p.relu_before,
                        .relu_after = p.relu_after,
                        .mean = mean[c],
                        .inv_std = inv_std[c],
                        .scale = scale,
                        .shift = (beta ? beta[c] : T(0)) - mean[c] * scale});
  }
  return channels;
}

/// Calls body(plane number, channel number, index of the plane's first element) for every plane, on all
/// threads.
template <class Body>
void for_planes(const BatchNormProblem& p, const Body& body) {
  parallel_for_ranges(p.n * p.channels, planes_per_task, [&](Range planes) {
    for (std::int64_t i = planes.begin; i < planes.end; ++i) body(i, i % p.channels, i * p.plane);
  });
}

/// output = a plane times its dropout factors.
template <class T>
void drop(const BatchNormProblem& p, std::int64_t first, const T* input, T* output) {
  thread_local Scratch<T> memory;
  T* factors = memory.reserve(p.plane);
  dropout_factors(p.dropout, first, p.plane, factors);
  plane_loops<T>().drop(input, factors, p.plane, output);
}

template <class T>
void normalize_planes(const BatchNormProblem& p, const std::vector<Channel<T>>& channels, const T* input,
                      T* output) {
  const PlaneLoops<T>& loops = plane_loops<T>();
  for_planes(p, [&](std::int64_t, std::int64_t c, std::int64_t first) {
    loops.normalize(channels[static_cast<std::size_t>(c)], input + first, p.plane, output + first);
    if (p.dropout.p > 0) drop(p, first, output + first, output + first);
  });
}

/// Combines the planes' moments (Chan, Golub & LeVeque, 1979), which loses no precision where the mean is far
/// from 0.
Moments combined(const BatchNormProblem& p, const std::vector<Moments>& planes, std::int64_t c) {
  Moments result{0, 0};
  for (std::int64_t n = 0; n < p.n; ++n)
    result.mean += planes[static_cast<std::size_t>(n * p.channels + c)].mean;
  result.mean /= static_cast<double>(p.n);
  for (std::int64_t n = 0; n < p.n; ++n) {
    const Moments& plane = planes[static_cast<std::size_t>(n * p.channels + c)];
    const double shift = plane.mean - result.mean;
    result.squares += plane.squares + static_cast<double>(p.plane) * shift * shift;
  }
  return result;
}

template <class T>
void forward_training(const BatchNormProblem& p, const T* input, const T* gamma, const T* beta,
                      double momentum, T* running_mean, T* running_var, T* mean, T* inv_std, T* output,
                      Stream) {
  const PlaneLoops<T>& loops = plane_loops<T>();
  std::vector<Moments> planes(static_cast<std::size_t>(p.n * p.channels));
  for_planes(p, [&](std::int64_t i, std::int64_t, std::int64_t first) {
    planes[static_cast<std::size_t>(i)] = loops.moments(input + first, p.plane, p.relu_before);
  });
  const double count = static_cast<double>(p.n * p.plane);
  for (std::int64_t c = 0; c < p.channels; ++c) {
    const Moments moments = combined(p, planes, c);
    mean[c] = static_cast<T>(moments.mean);
    inv_std[c] = static_cast<T>(1 / std::sqrt(moments.squares / count + p.epsilon));
    if (!running_mean) continue;
    const auto move = [momentum](T& running, double batch) {
      running = static_cast<T>((1 - momentum) * static_cast<double>(running) + momentum * batch);
    };
    move(running_mean[c], moments.mean);
    move(running_var[c], moments.squares / (count - 1));
  }
  normalize_planes(p, channels_of(p, gamma, beta, mean, inv_std), input, output);
}

template <class T>
void forward_inference(const BatchNormProblem& p, const T* input, const T* gamma, const T* beta,
                       const T* mean, const T* var, T* inv_std, T* output, Stream) {
  for (std::int64_t c = 0; c < p.channels; ++c)
    inv_std[c] = static_cast<T>(1 / std::sqrt(static_cast<double>(var[c]) + p.epsilon));
  normalize_planes(p, channels_of(p, gamma, beta, mean, inv_std), input, output);
}

template <class T>
void backward(const BatchNormProblem& p, bool batch_statistics, const T* input, const T* grad_output,
              const T* gamma, const T* beta, const T* mean, const T* inv_std, T* grad_input, T* grad_gamma,
              T* grad_beta, Stream) {
  const PlaneLoops<T>& loops = plane_loops<T>();
  const std::vector<Channel<T>> channels = channels_of(p, gamma, beta, mean, inv_std);
  // The mask is drawn once for each of the two passes: cheaper than a pass that would store the masked
  // gradient.
  const auto behind_dropout = [&](std::int64_t first) {
    thread_local Scratch<T> memory;
    if (p.dropout.p == 0) return grad_output + first;
    T* masked = memory.reserve(p.plane);
    drop(p, first, grad_output + first, masked);
    return static_cast<const T*>(masked);
  };
  std::vector<GradientSums> planes(static_cast<std::size_t>(p.n * p.channels));
  for_planes(p, [&](std::int64_t i, std::int64_t c, std::int64_t first) {
    planes[static_cast<std::size_t>(i)] = loops.gradient_sums(channels[static_cast<std::size_t>(c)],
                                                              input + first, behind_dropout(first), p.plane);
  });
  std::vector<GradientSums> sums(static_cast<std::size_t>(p.channels));
  for (std::size_t i = 0; i < planes.size(); ++i) {
    GradientSums& sum = sums[i % sums.size()];
    sum.plain += planes[i].plain;
    sum.normalized += planes[i].normalized;
  }
  for (std::size_t c = 0; c < sums.size() && grad_gamma; ++c) {
    grad_gamma[c] = static_cast<T>(sums[c].normalized);
    grad_beta[c] = static_cast<T>(sums[c].plain);
  }
  if (!grad_input) return;
  // Constant statistics pass nothing on from one value to the others.
  const double share = batch_statistics ? 1 / static_cast<double>(p.n * p.plane) : 0;
  for_planes(p, [&](std::int64_t, std::int64_t c, std::int64_t first) {
    const GradientSums& sum = sums[static_cast<std::size_t>(c)];
    loops.input_gradient(channels[static_cast<std::size_t>(c)], static_cast<T>(sum.plain * share),
                         static_cast<T>(sum.normalized * share), input + first, behind_dropout(first),
                         p.plane, grad_input + first);
  });
}

}  // namespace

template <class T>
const BatchNormKernels<T>& batch_norm() {
  static constexpr BatchNormKernels<T> kernels{forward_training<T>, forward_inference<T>, backward<T>};
  return kernels;
}
template const BatchNormKernels<float>& batch_norm();
template const BatchNormKernels<double>& batch_norm();

}  // namespace kg::kernels::cpu
