// SPDX-License-Identifier: MIT
#include "approx.h"
#include "catch.h"
#include "standin.h"

// The stand-in's batch normalisation, of mode SPATIAL.

namespace {

const Dims dims{2, 3, 4, 2};
const Dims channel_dims{1, 3, 1, 1};
constexpr double epsilon = 1e-3;
constexpr auto spatial = CUDNN_BATCHNORM_SPATIAL;

double mean_of(const std::vector<double>& x, int c) {
  double sum = 0;
  for (int n = 0; n < dims.n; ++n)
    for (int i = 0; i < dims.h * dims.w; ++i) sum += x[dims.index(n, c, 0, i)];
  return sum / (dims.n * dims.h * dims.w);
}

/// Biased, from E[x^2] - E[x]^2.
double variance_of(std::vector<double> x, int c) {
  const double mean = mean_of(x, c);
  for (double& value : x) value *= value;
  return mean_of(x, c) - mean * mean;
}

std::vector<double> normalise(const std::vector<double>& x, const std::vector<double>& scale,
                              const std::vector<double>& bias, const std::vector<double>& mean,
                              const std::vector<double>& variance) {
  std::vector<double> y(x.size());
  for (int n = 0; n < dims.n; ++n)
    for (std::size_t c = 0; c < 3; ++c)
      for (int i = 0; i < dims.h * dims.w; ++i) {
        const std::size_t at = dims.index(n, static_cast<int>(c), 0, i);
        y[at] = scale[c] * (x[at] - mean[c]) / std::sqrt(variance[c] + epsilon) + bias[c];
      }
  return y;
}

struct Statistics {
  std::vector<double> mean, variance;
  explicit Statistics(const std::vector<double>& x) {
    for (int c = 0; c < dims.c; ++c) {
      mean.push_back(mean_of(x, c));
      variance.push_back(variance_of(x, c));
    }
  }
};

struct BatchNorm {
  Handle handle;
  Tensor desc{dims, CUDNN_DATA_DOUBLE}, channels{channel_dims, CUDNN_DATA_DOUBLE};
  double alpha = 1, beta = 0;
  const std::vector<double> x = values<double>(dims.size(), 1), scale{0.5, -2, 3}, bias{1, 2, -3};
  device::Array<double> x_array{x}, y{dims.size()}, scale_array{scale}, bias_array{bias};
  device::Array<double> running_mean{std::vector<double>{1, 2, 3}},
      running_variance{std::vector<double>{4, 5, 6}};
  device::Array<double> save_mean{3}, save_inv_variance{3};

  cudnnStatus_t train(double* mean, double* variance, double* saved, double* saved_inv,
                      double factor = 0.25) const {
    return cudnn().cudnnBatchNormalizationForwardTraining(
        handle.handle, spatial, &alpha, &beta, desc.descriptor, x_array.data(), desc.descriptor, y.data(),
        channels.descriptor, scale_array.data(), bias_array.data(), factor, mean, variance, epsilon, saved,
        saved_inv);
  }
  cudnnStatus_t train() const {
    return train(running_mean.data(), running_variance.data(), save_mean.data(), save_inv_variance.data());
  }
};

}  // namespace

TEST_CASE("training normalises by the batch's statistics and blends them into the running ones") {
  BatchNorm b;
  const Statistics expected(b.x);
  check(b.train());
  check_close(normalise(b.x, b.scale, b.bias, expected.mean, expected.variance), b.y.values());
  check_close(expected.mean, b.save_mean.values());
  std::vector<double> inverse, mean, variance;
  for (std::size_t c = 0; c < 3; ++c) {
    inverse.push_back(1 / std::sqrt(expected.variance[c] + epsilon));
    mean.push_back(0.75 * static_cast<double>(c + 1) + 0.25 * expected.mean[c]);
    variance.push_back(0.75 * static_cast<double>(c + 4) + 0.25 * expected.variance[c] * 16 / 15);
  }
  check_close(inverse, b.save_inv_variance.values());
  check_close(mean, b.running_mean.values());
  check_close(variance, b.running_variance.values());

  SECTION("alpha and beta") {
    const std::vector<double> y = b.y.values();
    b.alpha = 2;
    b.beta = 3;
    check(b.train());
    std::vector<double> blended;
    for (const double value : y) blended.push_back(5 * value);
    check_close(blended, b.y.values());
  }
  SECTION("statistics that nobody wants") {
    const std::vector<double> y = b.y.values();
    check(b.train(nullptr, nullptr, nullptr, nullptr));
    CHECK(b.y.values() == y);
    CHECK(b.train(b.running_mean.data(), nullptr, nullptr, nullptr) == CUDNN_STATUS_BAD_PARAM);
    CHECK(b.train(nullptr, nullptr, b.save_mean.data(), nullptr) == CUDNN_STATUS_BAD_PARAM);
  }
}

TEST_CASE("inference normalises by the given statistics") {
  const BatchNorm b;
  check(cudnn().cudnnBatchNormalizationForwardInference(
      b.handle.handle, spatial, &b.alpha, &b.beta, b.desc.descriptor, b.x_array.data(), b.desc.descriptor,
      b.y.data(), b.channels.descriptor, b.scale_array.data(), b.bias_array.data(), b.running_mean.data(),
      b.running_variance.data(), epsilon));
  check_close(normalise(b.x, b.scale, b.bias, {1, 2, 3}, {4, 5, 6}), b.y.values());
}

TEST_CASE("the gradients of batch normalisation are those of its formula") {
  const BatchNorm b;
  const std::vector<double> dy = values<double>(dims.size(), 5);
  const device::Array<double> dy_array(dy), dx(std::vector<double>(dims.size(), 1));
  const device::Array<double> dscale(std::vector<double>(3, 1)), dbias(std::vector<double>(3, 1));
  check(b.train());
  const bool saved = GENERATE(true, false);
  const double alpha_data = 2, beta_data = 3, alpha_parameters = 4, beta_parameters = 5;
  check(cudnn().cudnnBatchNormalizationBackward(
      b.handle.handle, spatial, &alpha_data, &beta_data, &alpha_parameters, &beta_parameters,
      b.desc.descriptor, b.x_array.data(), b.desc.descriptor, dy_array.data(), b.desc.descriptor, dx.data(),
      b.channels.descriptor, b.scale_array.data(), dscale.data(), dbias.data(), epsilon,
      saved ? b.save_mean.data() : nullptr, saved ? b.save_inv_variance.data() : nullptr));

  const auto loss = [&](const std::vector<double>& x, const std::vector<double>& scale,
                        const std::vector<double>& bias) {
    const Statistics statistics(x);
    const std::vector<double> y = normalise(x, scale, bias, statistics.mean, statistics.variance);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  // By central differences, exact to about 1e-9 here.
  const auto derivative = [&](auto move) { return (move(1e-4) - move(-1e-4)) / 2e-4; };
  const std::vector<double> actual_dx = dx.values();
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const double expected = derivative([&](double step) {
      std::vector<double> x = b.x;
      x[i] += step;
      return loss(x, b.scale, b.bias);
    });
    CHECK(std::abs(actual_dx[i] - (2 * expected + 3)) < 1e-6);
  }
  for (std::size_t c = 0; c < 3; ++c) {
    const double expected_scale = derivative([&](double step) {
      std::vector<double> scale = b.scale;
      scale[c] += step;
      return loss(b.x, scale, b.bias);
    });
    const double expected_bias = derivative([&](double step) {
      std::vector<double> bias = b.bias;
      bias[c] += step;
      return loss(b.x, b.scale, bias);
    });
    CHECK(std::abs(dscale.values()[c] - (4 * expected_scale + 5)) < 1e-6);
    CHECK(std::abs(dbias.values()[c] - (4 * expected_bias + 5)) < 1e-6);
  }
}

TEST_CASE("batch normalisation refuses what does not fit") {
  const BatchNorm b;
  const Tensor single(channel_dims), longer({1, 4, 1, 1}, CUDNN_DATA_DOUBLE),
      other({2, 3, 2, 4}, CUDNN_DATA_DOUBLE);
  const auto infer = [&](cudnnBatchNormMode_t mode, const Tensor& y, const Tensor& channels, double eps,
                         const double* mean) {
    return cudnn().cudnnBatchNormalizationForwardInference(
        b.handle.handle, mode, &b.alpha, &b.beta, b.desc.descriptor, b.x_array.data(), y.descriptor,
        b.y.data(), channels.descriptor, b.scale_array.data(), b.bias_array.data(), mean,
        b.running_variance.data(), eps);
  };
  const double* const mean = b.running_mean.data();
  CHECK(infer(spatial, b.desc, b.channels, epsilon, mean) == CUDNN_STATUS_SUCCESS);
  CHECK(infer(spatial, other, b.channels, epsilon, mean) == CUDNN_STATUS_BAD_PARAM);
  CHECK(infer(spatial, b.desc, single, epsilon, mean) == CUDNN_STATUS_BAD_PARAM);
  CHECK(infer(spatial, b.desc, longer, epsilon, mean) == CUDNN_STATUS_BAD_PARAM);
  CHECK(infer(spatial, b.desc, b.channels, -1e-9, mean) == CUDNN_STATUS_BAD_PARAM);
  CHECK(infer(spatial, b.desc, b.channels, epsilon, nullptr) == CUDNN_STATUS_BAD_PARAM);
  CHECK(infer(CUDNN_BATCHNORM_PER_ACTIVATION, b.desc, b.channels, epsilon, mean) ==
        CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(infer(static_cast<cudnnBatchNormMode_t>(7), b.desc, b.channels, epsilon, mean) ==
        CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("training and its gradient refuse what does not fit") {
  const BatchNorm b;
  const Tensor other({2, 3, 2, 4}, CUDNN_DATA_DOUBLE), longer({1, 4, 1, 1}, CUDNN_DATA_DOUBLE);
  const device::Array<double> dy(b.x), dx(dims.size()), dscale(3), dbias(3);
  const auto train = [&](const Tensor& y, const Tensor& channels, double eps) {
    return cudnn().cudnnBatchNormalizationForwardTraining(
        b.handle.handle, spatial, &b.alpha, &b.beta, b.desc.descriptor, b.x_array.data(), y.descriptor,
        b.y.data(), channels.descriptor, b.scale_array.data(), b.bias_array.data(), 1, nullptr, nullptr, eps,
        b.save_mean.data(), b.save_inv_variance.data());
  };
  const auto backward = [&](const Tensor& dy_desc, const Tensor& dx_desc, const Tensor& channels, double eps,
                            const double* inv_variance) {
    return cudnn().cudnnBatchNormalizationBackward(
        b.handle.handle, spatial, &b.alpha, &b.beta, &b.alpha, &b.beta, b.desc.descriptor, b.x_array.data(),
        dy_desc.descriptor, dy.data(), dx_desc.descriptor, dx.data(), channels.descriptor,
        b.scale_array.data(), dscale.data(), dbias.data(), eps, b.save_mean.data(), inv_variance);
  };
  const auto bad = CUDNN_STATUS_BAD_PARAM;
  CHECK(train(b.desc, b.channels, epsilon) == CUDNN_STATUS_SUCCESS);
  CHECK(train(other, b.channels, epsilon) == bad);
  CHECK(train(b.desc, longer, epsilon) == bad);
  CHECK(train(b.desc, b.channels, -1e-9) == bad);
  const double* const saved = b.save_inv_variance.data();
  CHECK(backward(b.desc, b.desc, b.channels, epsilon, saved) == CUDNN_STATUS_SUCCESS);
  CHECK(backward(other, b.desc, b.channels, epsilon, saved) == bad);
  CHECK(backward(b.desc, other, b.channels, epsilon, saved) == bad);
  CHECK(backward(b.desc, b.desc, longer, epsilon, saved) == bad);
  CHECK(backward(b.desc, b.desc, b.channels, -1e-9, saved) == bad);
  CHECK(backward(b.desc, b.desc, b.channels, epsilon, nullptr) == bad);
}

TEST_CASE("the descriptor of batch normalisation's parameters is derived from the input's") {
  const BatchNorm b;
  const Tensor derived(dims);
  check(cudnn().cudnnDeriveBNTensorDescriptor(derived.descriptor, b.desc.descriptor, spatial));
  check(cudnn().cudnnBatchNormalizationForwardInference(
      b.handle.handle, spatial, &b.alpha, &b.beta, b.desc.descriptor, b.x_array.data(), b.desc.descriptor,
      b.y.data(), derived.descriptor, b.scale_array.data(), b.bias_array.data(), b.running_mean.data(),
      b.running_variance.data(), epsilon));
  CHECK(cudnn().cudnnDeriveBNTensorDescriptor(nullptr, b.desc.descriptor, spatial) == CUDNN_STATUS_BAD_PARAM);
}
