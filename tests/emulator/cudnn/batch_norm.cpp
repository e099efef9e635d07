// SPDX-License-Identifier: MIT
#include <cmath>

#include "descriptors.h"

/// Batch normalisation of mode SPATIAL: one mean and one variance for each channel.
namespace standin {

namespace {

void check_mode(cudnnBatchNormMode_t mode) {
  require(mode >= CUDNN_BATCHNORM_PER_ACTIVATION && mode <= CUDNN_BATCHNORM_SPATIAL_PERSISTENT,
          "unknown mode");
  require(mode == CUDNN_BATCHNORM_SPATIAL, "the stand-in knows CUDNN_BATCHNORM_SPATIAL only",
          CUDNN_STATUS_NOT_SUPPORTED);
}

/// The shape of scale, bias, mean and variance, of that of the input.
Shape channels_of(const Shape& x) { return {x.type, 1, x.c, 1, 1}; }

void check_parameters(const Shape& x, const Shape& parameters) {
  require(parameters == channels_of(x),
          "the parameters' descriptor is not 1 x C x 1 x 1 of the input's data type");
}

void check_epsilon(double epsilon) { require(epsilon >= CUDNN_BN_MIN_EPSILON, "epsilon is too small"); }

/// A pair of which a program gives both or none.
void check_pair(const void* a, const void* b, const char* what) {
  require((a == nullptr) == (b == nullptr), std::string("only one is null of ") + what);
}

struct Statistics {
  double mean = 0, variance = 0;
};

/// Calls visit(index) for the elements of a channel.
template <class Visit>
void for_each_element(const Shape& x, int channel, Visit visit) {
  for (int n = 0; n < x.n; ++n)
    for (std::size_t i = 0; i < x.plane(); ++i) visit(x.index(n, channel, 0, 0) + i);
}

double count_of(const Shape& x) { return static_cast<double>(x.n) * static_cast<double>(x.plane()); }

/// Sums are kept in more than double: of many elements they would be off by more than our own kernels' are,
/// which add in pairs.
using Sum = long double;

Statistics statistics_of(const Shape& shape, const Array& x, int channel) {
  Sum sum = 0, squares = 0;
  for_each_element(shape, channel, [&](std::size_t i) { sum += load(x, i); });
  const Sum mean = sum / count_of(shape);
  for_each_element(shape, channel, [&](std::size_t i) {
    const Sum difference = load(x, i) - mean;
    squares += difference * difference;
  });
  return {static_cast<double>(mean), static_cast<double>(squares / count_of(shape))};
}

struct Training {
  Shape shape;
  double alpha, beta, factor, epsilon;
  Array x, y, scale, bias;
  bool running, save;
  Array running_mean, running_variance, save_mean, save_inv_variance;
};

void train_channel(const Training& p, int channel) {
  const auto c = static_cast<std::size_t>(channel);
  const Statistics statistics = statistics_of(p.shape, p.x, channel);
  const double inv_std = 1 / std::sqrt(statistics.variance + p.epsilon);
  const double scale = load(p.scale, c), bias = load(p.bias, c);
  for_each_element(p.shape, channel, [&](std::size_t i) {
    blend(p.y, i, p.alpha, scale * (load(p.x, i) - statistics.mean) * inv_std + bias, p.beta);
  });
  if (p.running) {
    const double unbiased = statistics.variance * count_of(p.shape) / (count_of(p.shape) - 1);
    blend(p.running_mean, c, p.factor, statistics.mean, 1 - p.factor);
    blend(p.running_variance, c, p.factor, unbiased, 1 - p.factor);
  }
  if (p.save) {
    blend(p.save_mean, c, 1, statistics.mean, 0);
    blend(p.save_inv_variance, c, 1, inv_std, 0);
  }
}

struct Backward {
  Shape shape;
  double alpha_data, beta_data, alpha_parameters, beta_parameters, epsilon;
  Array x, dy, dx, scale, dscale, dbias;
  bool saved;
  Array saved_mean, saved_inv_variance;
};

void differentiate_channel(const Backward& p, int channel) {
  const auto c = static_cast<std::size_t>(channel);
  const Statistics statistics = p.saved ? Statistics{} : statistics_of(p.shape, p.x, channel);
  const double mean = p.saved ? load(p.saved_mean, c) : statistics.mean;
  const double inv_std =
      p.saved ? load(p.saved_inv_variance, c) : 1 / std::sqrt(statistics.variance + p.epsilon);
  const auto normalised = [&](std::size_t i) { return (load(p.x, i) - mean) * inv_std; };
  Sum sum = 0, sum_of_normalised = 0;
  for_each_element(p.shape, channel, [&](std::size_t i) {
    sum += load(p.dy, i);
    sum_of_normalised += static_cast<Sum>(load(p.dy, i)) * normalised(i);
  });
  const double dbias = static_cast<double>(sum), dscale = static_cast<double>(sum_of_normalised);
  const double scale = load(p.scale, c), count = count_of(p.shape);
  for_each_element(p.shape, channel, [&](std::size_t i) {
    const double dx = scale * inv_std * (load(p.dy, i) - dbias / count - normalised(i) * dscale / count);
    blend(p.dx, i, p.alpha_data, dx, p.beta_data);
  });
  blend(p.dscale, c, p.alpha_parameters, dscale, p.beta_parameters);
  blend(p.dbias, c, p.alpha_parameters, dbias, p.beta_parameters);
}

/// Array() is for what may be null.
Array array_or_none(const char* argument, const void* memory, const Shape& shape) {
  return memory ? array(argument, memory, shape) : Array{argument, nullptr, 0, shape.is_double()};
}

}  // namespace

}  // namespace standin

using namespace standin;

cudnnStatus_t cudnnDeriveBNTensorDescriptor(cudnnTensorDescriptor_t derivedBnDesc,
                                            const cudnnTensorDescriptor_t xDesc, cudnnBatchNormMode_t mode) {
  return return_status("cudnnDeriveBNTensorDescriptor", [&] {
    cudnnTensorStruct& derived = registry<cudnnTensorStruct>().find(derivedBnDesc, "derivedBnDesc");
    const Shape x = shape_of(xDesc, "xDesc");
    check_mode(mode);
    derived.shape = channels_of(x);
    derived.set = true;
  });
}

cudnnStatus_t cudnnBatchNormalizationForwardTraining(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, const void* alpha, const void* beta,
    const cudnnTensorDescriptor_t xDesc, const void* x, const cudnnTensorDescriptor_t yDesc, void* y,
    const cudnnTensorDescriptor_t bnScaleBiasMeanVarDesc, const void* bnScale, const void* bnBias,
    double exponentialAverageFactor, void* resultRunningMean, void* resultRunningVariance, double epsilon,
    void* resultSaveMean, void* resultSaveInvVariance) {
  return return_status("cudnnBatchNormalizationForwardTraining", [&] {
    check_mode(mode);
    const Shape shape = shape_of(xDesc, "xDesc"), out = shape_of(yDesc, "yDesc");
    const Shape channels = shape_of(bnScaleBiasMeanVarDesc, "bnScaleBiasMeanVarDesc");
    require(shape == out, "xDesc and yDesc differ");
    check_parameters(shape, channels);
    check_epsilon(epsilon);
    check_pair(resultRunningMean, resultRunningVariance, "resultRunningMean and resultRunningVariance");
    check_pair(resultSaveMean, resultSaveInvVariance, "resultSaveMean and resultSaveInvVariance");
    DeviceCall call("cudnnBatchNormalizationForwardTraining", stream_of(handle));
    const Training p{
        .shape = shape,
        .alpha = scalar(call.function(), "alpha", alpha, shape),
        .beta = scalar(call.function(), "beta", beta, shape),
        .factor = exponentialAverageFactor,
        .epsilon = epsilon,
        .x = array("x", x, shape),
        .y = array("y", y, shape),
        .scale = array("bnScale", bnScale, channels),
        .bias = array("bnBias", bnBias, channels),
        .running = resultRunningMean != nullptr,
        .save = resultSaveMean != nullptr,
        .running_mean = array_or_none("resultRunningMean", resultRunningMean, channels),
        .running_variance = array_or_none("resultRunningVariance", resultRunningVariance, channels),
        .save_mean = array_or_none("resultSaveMean", resultSaveMean, channels),
        .save_inv_variance = array_or_none("resultSaveInvVariance", resultSaveInvVariance, channels)};
    for (const Array& array : {p.x, p.scale, p.bias}) call.reads(array);
    call.writes(p.y);
    for (const Array& array : {p.running_mean, p.running_variance, p.save_mean, p.save_inv_variance})
      if (array.memory) call.writes(array);
    run(call, [p] {
      for (int channel = 0; channel < p.shape.c; ++channel) train_channel(p, channel);
    });
  });
}

cudnnStatus_t cudnnBatchNormalizationForwardInference(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, const void* alpha, const void* beta,
    const cudnnTensorDescriptor_t xDesc, const void* x, const cudnnTensorDescriptor_t yDesc, void* y,
    const cudnnTensorDescriptor_t bnScaleBiasMeanVarDesc, const void* bnScale, const void* bnBias,
    const void* estimatedMean, const void* estimatedVariance, double epsilon) {
  return return_status("cudnnBatchNormalizationForwardInference", [&] {
    check_mode(mode);
    const Shape shape = shape_of(xDesc, "xDesc"), out = shape_of(yDesc, "yDesc");
    const Shape channels = shape_of(bnScaleBiasMeanVarDesc, "bnScaleBiasMeanVarDesc");
    require(shape == out, "xDesc and yDesc differ");
    check_parameters(shape, channels);
    check_epsilon(epsilon);
    DeviceCall call("cudnnBatchNormalizationForwardInference", stream_of(handle));
    const double a = scalar(call.function(), "alpha", alpha, shape);
    const double b = scalar(call.function(), "beta", beta, shape);
    const Array from = array("x", x, shape), to = array("y", y, shape);
    const Array scale = array("bnScale", bnScale, channels), bias = array("bnBias", bnBias, channels);
    const Array mean = array("estimatedMean", estimatedMean, channels);
    const Array variance = array("estimatedVariance", estimatedVariance, channels);
    for (const Array& array : {from, scale, bias, mean, variance}) call.reads(array);
    call.writes(to);
    run(call, [=] {
      for (int channel = 0; channel < shape.c; ++channel) {
        const auto c = static_cast<std::size_t>(channel);
        const double factor = load(scale, c) / std::sqrt(load(variance, c) + epsilon);
        for_each_element(shape, channel, [&](std::size_t i) {
          blend(to, i, a, factor * (load(from, i) - load(mean, c)) + load(bias, c), b);
        });
      }
    });
  });
}

cudnnStatus_t cudnnBatchNormalizationBackward(
    cudnnHandle_t handle, cudnnBatchNormMode_t mode, const void* alphaDataDiff, const void* betaDataDiff,
    const void* alphaParamDiff, const void* betaParamDiff, const cudnnTensorDescriptor_t xDesc, const void* x,
    const cudnnTensorDescriptor_t dyDesc, const void* dy, const cudnnTensorDescriptor_t dxDesc, void* dx,
    const cudnnTensorDescriptor_t dBnScaleBiasDesc, const void* bnScale, void* dBnScaleResult,
    void* dBnBiasResult, double epsilon, const void* savedMean, const void* savedInvVariance) {
  return return_status("cudnnBatchNormalizationBackward", [&] {
    check_mode(mode);
    const Shape shape = shape_of(xDesc, "xDesc"), dy_shape = shape_of(dyDesc, "dyDesc");
    const Shape dx_shape = shape_of(dxDesc, "dxDesc"),
                channels = shape_of(dBnScaleBiasDesc, "dBnScaleBiasDesc");
    require(shape == dy_shape && shape == dx_shape, "xDesc, dyDesc and dxDesc differ");
    check_parameters(shape, channels);
    check_epsilon(epsilon);
    check_pair(savedMean, savedInvVariance, "savedMean and savedInvVariance");
    DeviceCall call("cudnnBatchNormalizationBackward", stream_of(handle));
    const Backward p{.shape = shape,
                     .alpha_data = scalar(call.function(), "alphaDataDiff", alphaDataDiff, shape),
                     .beta_data = scalar(call.function(), "betaDataDiff", betaDataDiff, shape),
                     .alpha_parameters = scalar(call.function(), "alphaParamDiff", alphaParamDiff, shape),
                     .beta_parameters = scalar(call.function(), "betaParamDiff", betaParamDiff, shape),
                     .epsilon = epsilon,
                     .x = array("x", x, shape),
                     .dy = array("dy", dy, shape),
                     .dx = array("dx", dx, shape),
                     .scale = array("bnScale", bnScale, channels),
                     .dscale = array("dBnScaleResult", dBnScaleResult, channels),
                     .dbias = array("dBnBiasResult", dBnBiasResult, channels),
                     .saved = savedMean != nullptr,
                     .saved_mean = array_or_none("savedMean", savedMean, channels),
                     .saved_inv_variance = array_or_none("savedInvVariance", savedInvVariance, channels)};
    for (const Array& array : {p.x, p.dy, p.scale, p.saved_mean, p.saved_inv_variance})
      if (array.memory) call.reads(array);
    for (const Array& array : {p.dx, p.dscale, p.dbias}) call.writes(array);
    run(call, [p] {
      for (int channel = 0; channel < p.shape.c; ++channel) differentiate_channel(p, channel);
    });
  });
}
