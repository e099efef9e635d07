// SPDX-License-Identifier: MIT
#include "cases/batch_norm.h"

#include "reference/batch_norm.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using kernels::BatchNormProblem;

/// What batch_norm is called with besides its tensors.
struct Configuration {
  bool training, relu_before, relu_after, affine;
  double dropout;

  std::string describe() const {
    return std::string(training ? "training" : "inference") + (relu_before ? ", relu before" : "") +
           (relu_after ? ", relu after" : "") + (affine ? ", affine" : "") +
           (dropout > 0 ? ", dropout " + std::to_string(dropout) : "");
  }
};

std::vector<Configuration> every_configuration() {
  std::vector<Configuration> all;
  for (const bool training : {false, true})
    for (const bool relu_before : {false, true})
      for (const bool relu_after : {false, true})
        for (const bool affine : {false, true})
          for (const double dropout : {0.0, 0.4})
            all.push_back({training, relu_before, relu_after, affine, dropout});
  return all;
}

BatchNormProblem with(BatchNormProblem p, const Configuration& configuration) {
  p.relu_before = configuration.relu_before;
  p.relu_after = configuration.relu_after;
  return p;
}

/// Input, gamma, beta; then the running statistics, which take part in no gradient.
struct Inputs {
  std::vector<Tensor> differentiable;
  Tensor running_mean, running_var;
};

Inputs inputs_of(const BatchNormProblem& p, bool affine, DType dtype, Device device, std::uint32_t seed = 1) {
  Tensor x = random({p.n, p.channels, p.plane}, DType::float64, seed);
  for (double& value : x.span<double>()) value += value < 0 ? -0.05 : 0.05;
  const Tensor ones = Tensor::ones({p.channels}, {.dtype = DType::float64});
  const auto per_channel = [&](std::uint32_t which) {
    return random({p.channels}, DType::float64, seed + which);
  };
  const auto move = [&](const Tensor& t) { return t.to(dtype).to(device); };
  return {{move(x), affine ? move(per_channel(1000) * 0.5 + ones) : Tensor(),
           affine ? move(per_channel(2000)) : Tensor()},
          move(per_channel(3000) * 0.5),
          move(per_channel(4000) * 0.5 + ones)};
}

Inputs in_dtype(const Inputs& inputs, DType dtype) {
  Inputs result{{}, inputs.running_mean.to(dtype), inputs.running_var.to(dtype)};
  for (const Tensor& input : inputs.differentiable)
    result.differentiable.push_back(input.defined() ? input.to(dtype) : Tensor());
  return result;
}

/// Every call draws the same mask and leaves the given running statistics as they are.
Function function_of(const BatchNormProblem& p, const Configuration& configuration, const Inputs& inputs) {
  return [=](const std::vector<Tensor>& t) {
    Generator generator(7);
    const auto statistic = [&](const Tensor& s) { return s.to(t[0].dtype()).clone(); };
    return batch_norm(t[0], t[1], t[2], statistic(inputs.running_mean), statistic(inputs.running_var),
                      {.training = configuration.training,
                       .epsilon = p.epsilon,
                       .relu_before = configuration.relu_before,
                       .relu_after = configuration.relu_after,
                       .dropout = configuration.dropout,
                       .generator = &generator});
  };
}

std::vector<double> doubles_or_none(const Tensor& t) {
  return t.defined() ? to_doubles(t) : std::vector<double>();
}

std::vector<reference::ChannelMoments> moments_of(const BatchNormProblem& p,
                                                  const Configuration& configuration, const Inputs& inputs) {
  if (configuration.training)
    return reference::batch_moments(with(p, configuration), to_doubles(inputs.differentiable[0]));
  std::vector<reference::ChannelMoments> moments;
  const std::vector<double> mean = to_doubles(inputs.running_mean), var = to_doubles(inputs.running_var);
  for (std::size_t c = 0; c < mean.size(); ++c) moments.push_back({mean[c], var[c], var[c]});
  return moments;
}

/// What is normalised, before relu_after and dropout.
reference::Values normalized(const BatchNormProblem& p, const Configuration& configuration,
                             const Inputs& inputs) {
  const std::vector<Tensor>& t = inputs.differentiable;
  return reference::batch_norm(with(p, configuration), moments_of(p, configuration, inputs), to_doubles(t[0]),
                               doubles_or_none(t[1]), doubles_or_none(t[2]));
}

/// What dropout multiplies each element by.
std::vector<double> dropout_factors(const Shape& shape, const Configuration& configuration) {
  Generator generator(7);
  const Tensor ones = Tensor::ones(shape);
  std::vector<double> factors = to_doubles(dropout(ones, configuration.dropout, generator));
  for (double& factor : factors) factor = factor == 0 ? 0 : 1 / (1 - configuration.dropout);
  return factors;
}

/// relu_after and dropout, by the separate operations' rules.
reference::Values finished(reference::Values y, const Configuration& configuration) {
  const std::vector<double> factors = dropout_factors(y.shape, configuration);
  for (std::size_t i = 0; i < y.sum.size(); ++i) {
    if (configuration.relu_after) y.sum[i] = std::max(y.sum[i], 0.0);
    y.sum[i] *= factors[i];
    y.terms[i] *= factors[i];
  }
  return y;
}

void check_values(const BatchNormProblem& p, const Configuration& configuration, DType dtype, Device device) {
  INFO(configuration.describe() << ", " << name_of(dtype));
  const Inputs inputs = inputs_of(p, configuration.affine, dtype, device);
  const Tensor actual = function_of(p, configuration, inputs)(inputs.differentiable);
  const reference::Values expected = finished(normalized(p, configuration, inputs), configuration);
  CHECK(difference(actual, expected, dtype == DType::float32 ? 3e-6 : 1e-12) == "");
}

TEST_CASE("batch_norm agrees with its formula", "[batch_norm]") {
  const auto check = [](Device device, const BatchNormProblem& p) {
    for (const Configuration& configuration : every_configuration())
      for (const DType dtype : {DType::float32, DType::float64})
        check_values(p, configuration, dtype, device);
  };
  SECTION("small problems") { for_each_case(cases::batch_norm, check); }
  SECTION("the layers of s7_final") { for_each_case(cases::batch_norm_s7_final, check); }
  SECTION("large problems") { for_each_case(cases::batch_norm_large, check); }
}

/// Moves the inputs behind those outputs that relu_after would switch within a finite difference; true if
/// there were any.
bool move_from_kinks(const reference::Values& outputs, Tensor& x) {
  bool moved = false;
  for (std::size_t i = 0; i < outputs.sum.size(); ++i) {
    if (std::abs(outputs.sum[i]) > 2e-4) continue;
    // By a hundredth away from 0, where relu_before has its kink.
    double& value = x.span<double>()[i];
    value += value < 0 ? -0.01 : 0.01;
    moved = true;
  }
  return moved;
}

/// Inputs at which the function is smooth: no value that relu_after would switch within a finite difference,
/// no channel without variance, whose slope would be enormous.
Inputs smooth_inputs(const BatchNormProblem& p, const Configuration& configuration, Device device) {
  constexpr int rounds = 20;  // moving one value shifts the others of its channel a little
  for (std::uint32_t seed = 1;; ++seed) {
    REQUIRE(seed < 1000);
    Inputs inputs = inputs_of(p, configuration.affine, DType::float64, Device::cpu(), seed);
    bool clear = !configuration.relu_after;
    for (int round = 0; round < rounds && !clear; ++round)
      clear = !move_from_kinks(normalized(p, configuration, inputs), inputs.differentiable[0]);
    const bool varied = std::ranges::all_of(moments_of(p, configuration, inputs),
                                            [](const auto& m) { return m.biased_variance > 0.02; });
    if (!clear || !varied) continue;
    for (Tensor& input : inputs.differentiable)
      if (input.defined()) input = input.to(device);
    inputs.running_mean = inputs.running_mean.to(device);
    inputs.running_var = inputs.running_var.to(device);
    return inputs;
  }
}

TEST_CASE("batch_norm passes the gradient check", "[batch_norm][gradcheck]") {
  const auto for_each_configuration = [](const auto& table, const auto& check) {
    for_each_case(table, [&](Device device, const BatchNormProblem& p) {
      for (const Configuration& configuration : every_configuration()) {
        INFO(configuration.describe());
        const Inputs inputs = smooth_inputs(p, configuration, device);
        check(function_of(p, configuration, inputs), inputs.differentiable);
      }
    });
  };
  SECTION("small problems") { for_each_configuration(cases::batch_norm, check_gradients); }
  SECTION("the layers of s7_final") {
    for_each_configuration(cases::batch_norm_s7_final, check_gradients_along_directions);
  }
  SECTION("large problems") {
    for_each_configuration(cases::batch_norm_large, check_gradients_along_directions);
  }
}

void check_gradient_values(const BatchNormProblem& p, const Configuration& configuration, DType dtype,
                           const Inputs& smooth) {
  INFO(configuration.describe() << ", " << name_of(dtype));
  const Inputs inputs = in_dtype(smooth, dtype);
  const Run actual = run(function_of(p, configuration, inputs), requiring(inputs.differentiable));
  std::vector<double> gradient = to_doubles(random(actual.output.shape(), dtype, 99));
  const std::vector<double> factors = dropout_factors(actual.output.shape(), configuration);
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] *= factors[i];
  const std::vector<Tensor>& t = inputs.differentiable;
  const reference::BatchNormGradients expected = reference::batch_norm_backward(
      with(p, configuration), moments_of(p, configuration, inputs), configuration.training, to_doubles(t[0]),
      doubles_or_none(t[1]), doubles_or_none(t[2]), gradient);
  const double tolerance = dtype == DType::float32 ? 5e-7 : 1e-12;
  CHECK(difference(actual.gradients[0], expected.input, tolerance) == "");
  if (!configuration.affine) return;
  CHECK(difference(actual.gradients[1], expected.gamma, tolerance) == "");
  CHECK(difference(actual.gradients[2], expected.beta, tolerance) == "");
}

TEST_CASE("batch_norm's gradients agree with their formula", "[batch_norm]") {
  const auto check = [](Device device, const BatchNormProblem& p) {
    for (const Configuration& configuration : every_configuration()) {
      const Inputs inputs = smooth_inputs(p, configuration, device);
      for (const DType dtype : {DType::float32, DType::float64})
        check_gradient_values(p, configuration, dtype, inputs);
    }
  };
  SECTION("small problems") { for_each_case(cases::batch_norm, check); }
  SECTION("the layers of s7_final") { for_each_case(cases::batch_norm_s7_final, check); }
  SECTION("large problems") { for_each_case(cases::batch_norm_large, check); }
}

TEST_CASE("batch_norm gives each gradient alone as it gives all", "[batch_norm]") {
  for_each_case(cases::batch_norm, [](Device device, const BatchNormProblem& p) {
    for (const Configuration& configuration : every_configuration()) {
      INFO(configuration.describe());
      const Inputs inputs = inputs_of(p, configuration.affine, DType::float32, device);
      check_gradient_subsets(function_of(p, configuration, inputs), inputs.differentiable);
    }
  });
}

TEST_CASE("Fused batch_norm is the separate operations", "[batch_norm]") {
  const auto check = [](Device device, const BatchNormProblem& p) {
    for (const Configuration& configuration : every_configuration()) {
      INFO(configuration.describe());
      const Inputs inputs = smooth_inputs(p, configuration, device);
      const Configuration plain{configuration.training, false, false, configuration.affine, 0};
      const Function separate = [&](const std::vector<Tensor>& t) {
        std::vector<Tensor> moved = t;
        if (configuration.relu_before) moved[0] = relu(t[0]);
        Tensor y = function_of(p, plain, inputs)(moved);
        if (configuration.relu_after) y = relu(y);
        Generator generator(7);
        return dropout(y, configuration.dropout, generator);
      };
      const Run fused = run(function_of(p, configuration, inputs), requiring(inputs.differentiable));
      const ExpectedRun apart = expected_run(separate, requiring(inputs.differentiable));
      CHECK(difference(fused.output, apart.output, 1e-13) == "");
      for (std::size_t i = 0; i < (configuration.affine ? 3u : 1u); ++i)
        CHECK(difference(fused.gradients[i], apart.gradients[i], 1e-12) == "");
    }
  };
  for_each_case(cases::batch_norm, check);
}

TEST_CASE("batch_norm takes any dimensions behind the channels", "[batch_norm]") {
  const Shape shape =
      GENERATE(Shape{5, 3}, Shape{5, 3, 7}, Shape{2, 3, 5, 7}, Shape{2, 3, 5, 1, 7}, Shape{1, 3, 1, 9, 5});
  const bool training = GENERATE(false, true);
  const std::int64_t plane = numel(shape) / (shape[0] * 3);
  for (const Device device : devices()) {
    INFO(device.name() << ", " << to_string(shape) << (training ? ", training" : ""));
    const Configuration configuration{training, true, false, true, 0};
    const BatchNormProblem p{.n = shape[0], .channels = 3, .plane = plane};
    const Inputs inputs = inputs_of(p, true, DType::float32, device);
    std::vector<Tensor> shaped = requiring(inputs.differentiable);
    shaped[0] = shaped[0].detach().reshape(shape).clone().set_requires_grad();
    const Run flat = run(function_of(p, configuration, inputs), requiring(inputs.differentiable)),
              deep = run(function_of(p, configuration, inputs), shaped);
    CHECK(deep.output.shape() == shape);
    // run() draws the gradient by the number of elements.
    CHECK(same_bits(deep.output.reshape(flat.output.shape()), flat.output));
    CHECK(same_bits(deep.gradients[0].reshape(flat.output.shape()), flat.gradients[0]));
    CHECK(same_bits(deep.gradients[1], flat.gradients[1]));
    CHECK(same_bits(deep.gradients[2], flat.gradients[2]));
  }
}

TEST_CASE("batch_norm takes one draw for its dropout, and none without", "[batch_norm][dropout]") {
  const Tensor x = random({3, 2, 5}, DType::float32);
  Generator generator(3);
  batch_norm(x, {}, {}, {}, {}, {.training = true, .generator = &generator});
  CHECK(generator.draws() == 0);
  batch_norm(x, {}, {}, {}, {}, {.training = true, .dropout = 0.5, .generator = &generator});
  CHECK(generator.draws() == 1);
  manual_seed(5);
  batch_norm(x, {}, {}, {}, {}, {.training = true, .dropout = 0.5});
  CHECK(default_generator().draws() == 1);
}

TEST_CASE("batch_norm moves the running statistics in training, and only there", "[batch_norm]") {
  for_each_case(cases::batch_norm, [](Device device, const BatchNormProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const bool relu_before : {false, true})
        for (const double momentum : {0.0, 0.1, 1.0}) {
          INFO(name_of(dtype) << ", momentum " << momentum << (relu_before ? ", relu before" : ""));
          const Inputs inputs = inputs_of(p, true, dtype, device);
          const std::vector<Tensor>& t = inputs.differentiable;
          Tensor mean = inputs.running_mean.clone(), var = inputs.running_var.clone();
          batch_norm(t[0], t[1], t[2], mean, var,
                     {.training = true, .momentum = momentum, .relu_before = relu_before});
          const auto moments =
              reference::batch_moments(with(p, {true, relu_before, false, true, 0}), to_doubles(t[0]));
          reference::Values expected_mean({p.channels}), expected_var({p.channels});
          for (std::int64_t c = 0; c < p.channels; ++c) {
            const std::size_t i = static_cast<std::size_t>(c);
            expected_mean.add(c, (1 - momentum) * to_doubles(inputs.running_mean)[i]);
            expected_mean.add(c, momentum * moments[i].mean);
            expected_mean.terms[i] += momentum;  // the batch's mean is itself a sum of terms of up to 1
            expected_var.add(c, (1 - momentum) * to_doubles(inputs.running_var)[i]);
            expected_var.add(c, momentum * moments[i].unbiased_variance);
          }
          const double tolerance = dtype == DType::float32 ? 1e-6 : 1e-12;
          CHECK(difference(mean, expected_mean, tolerance) == "");
          CHECK(difference(var, expected_var, tolerance) == "");

          batch_norm(t[0], t[1], t[2], inputs.running_mean, inputs.running_var, {.momentum = 1.0});
          CHECK(same_bits(inputs.running_mean, inputs_of(p, true, dtype, device).running_mean));
          CHECK(same_bits(inputs.running_var, inputs_of(p, true, dtype, device).running_var));
        }
  });
}

TEST_CASE("batch_norm's backward uses the statistics of its forward", "[batch_norm]") {
  const bool training = GENERATE(false, true), relu_after = GENERATE(false, true);
  const BatchNormProblem p{.n = 3, .channels = 2, .plane = 5};
  for (const Device device : devices()) {
    INFO(device.name() << (training ? ", training" : "") << (relu_after ? ", relu after" : ""));
    const Inputs inputs = inputs_of(p, true, DType::float64, device);
    const auto gradients = [&](bool disturb) {
      const Function disturbed = [&](const std::vector<Tensor>& t) {
        Tensor mean = inputs.running_mean.clone(), var = inputs.running_var.clone();
        const Tensor y =
            batch_norm(t[0], t[1], t[2], mean, var, {.training = training, .relu_after = relu_after});
        if (disturb) mean.copy_from(mean * 3), var.copy_from(var * 5);
        return y;
      };
      return run(disturbed, requiring(inputs.differentiable)).gradients;
    };
    const std::vector<Tensor> expected = gradients(false), actual = gradients(true);
    for (std::size_t i = 0; i < 3; ++i) CHECK(same_bits(actual[i], expected[i]));
  }
}

TEST_CASE("batch_norm stays accurate where the mean is far from 0", "[batch_norm]") {
  const DType dtype = GENERATE(DType::float32, DType::float64);
  const double spread = GENERATE(1.0, 0.01);
  const double offset = 1000, tolerance = dtype == DType::float32 ? 3e-4 : 1e-12;
  for (const Device device : devices())
    for (const BatchNormProblem& p : {BatchNormProblem{.n = 4, .channels = 3, .plane = 100},
                                      BatchNormProblem{.n = 41, .channels = 2, .plane = 677}}) {
      INFO(device.name() << ", " << describe(p));
      const Tensor noise = random({p.n, p.channels, p.plane}, DType::float64, 1) * spread;
      const Tensor x = (noise + Tensor::full({}, offset, {.dtype = DType::float64})).to(dtype).to(device);
      Tensor mean = Tensor::zeros({p.channels}, {dtype, device}),
             var = Tensor::zeros({p.channels}, {dtype, device});
      const Tensor y = batch_norm(x, {}, {}, mean, var, {.training = true, .momentum = 1});
      const auto moments = reference::batch_moments(p, to_doubles(x));
      reference::Values expected = reference::batch_norm(p, moments, to_doubles(x), {}, {});
      // In proportion to the deviation from the mean, as the terms are whose difference is taken.
      for (double& terms : expected.terms) terms = dtype == DType::float32 ? 1 / spread : terms;
      CHECK(difference(y, expected, tolerance) == "");
      reference::Values expected_var({p.channels});
      for (std::int64_t c = 0; c < p.channels; ++c)
        expected_var.add(c, moments[static_cast<std::size_t>(c)].unbiased_variance);
      CHECK(difference(var, expected_var, dtype == DType::float32 ? 1e-6 : 1e-12) == "");
    }
}

TEST_CASE("batch_norm of a constant gives beta, however many values there are", "[batch_norm]") {
  const std::int64_t plane = GENERATE(7, 784, 1 << 20);
  for (const Device device : devices()) {
    INFO(device.name());
    Tensor mean = Tensor::zeros({1}, {.device = device}), var = Tensor::zeros({1}, {.device = device});
    const Tensor y = batch_norm(Tensor::full({1, 1, plane}, 0.1, {.device = device}), {}, {}, mean, var,
                                {.training = true, .momentum = 1});
    double largest = 0;
    for (const double value : to_doubles(y)) largest = std::max(largest, std::abs(value));
    // An error of 1e-6 in the mean, relative to it, over sqrt(epsilon); and the rounding of x * scale +
    // shift.
    CHECK(largest < 0.1 * 1e-6 / std::sqrt(1e-5) + 2e-6);
    CHECK(to_doubles(var)[0] >= 0);
    CHECK(to_doubles(var)[0] < 1e-13);
  }
}

/// So many that each of a GPU's blocks takes its share in several steps, and nothing divides.
TEST_CASE("batch_norm of half a million values per channel agrees with its formula", "[batch_norm]") {
  const BatchNormProblem p{.n = 3, .channels = 2, .plane = 375 * 499};
  const Configuration configuration{true, false, true, true, 0.4};
  const Inputs on_cpu = inputs_of(p, true, DType::float64, Device::cpu());
  const ExpectedRun expected =
      expected_run(function_of(p, configuration, on_cpu), requiring(on_cpu.differentiable));
  for (const Device device : devices()) {
    INFO(device.name());
    check_values(p, configuration, DType::float32, device);
    const Inputs inputs = inputs_of(p, true, DType::float64, device);
    const Run actual = run(function_of(p, configuration, inputs), requiring(inputs.differentiable));
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(difference(actual.gradients[i], expected.gradients[i], 1e-11) == "");
  }
}

TEST_CASE("batch_norm hands NaN on", "[batch_norm]") {
  const bool relu = GENERATE(false, true);
  Tensor values = random({2, 2, 33}, DType::float32);
  values.data<float>()[40] = std::numeric_limits<float>::quiet_NaN();
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = values.to(device), stat = Tensor::ones({2}, {.device = device});
    const std::vector<double> y =
        to_doubles(batch_norm(x, {}, {}, stat, stat, {.relu_before = relu, .relu_after = relu}));
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i == 40));
    const std::vector<double> z = to_doubles(
        batch_norm(x, {}, {}, {}, {}, {.training = true, .relu_before = relu, .relu_after = relu}));
    for (std::size_t i = 0; i < z.size(); ++i) CHECK(std::isnan(z[i]) == (i / 33 % 2 == 1));
  }
}

TEST_CASE("batch_norm of many values hands NaN on to its channel, and to no other", "[batch_norm]") {
  // In the last of a GPU's blocks for channel 0.
  const std::size_t channels = 2, plane = 20'001, bad = plane - 1;
  Tensor values = random({1, channels, plane}, DType::float32);
  values.data<float>()[bad] = std::numeric_limits<float>::quiet_NaN();
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor gamma = Tensor::ones({2}, {.device = device}), beta = Tensor::zeros({2}, {.device = device});
    const Function function = [](const std::vector<Tensor>& t) {
      return batch_norm(t[0], t[1], t[2], {}, {}, {.training = true});
    };
    const Run result = run(function, requiring({values.to(device), gamma, beta}));
    std::size_t wrong = 0;
    const std::vector<double> y = to_doubles(result.output), gradient = to_doubles(result.gradients[0]);
    for (std::size_t i = 0; i < y.size(); ++i)
      wrong += (std::isnan(y[i]) != (i < plane)) + (std::isnan(gradient[i]) != (i < plane));
    CHECK(wrong == 0);
    CHECK(std::isnan(to_doubles(result.gradients[1])[0]));
    CHECK(!std::isnan(to_doubles(result.gradients[1])[1]));
  }
}

TEST_CASE("batch_norm counts the batches of training, and of nothing else", "[batch_norm]") {
  for (const Device device : devices()) {
    INFO(device.name());
    Tensor count = Tensor::from(std::vector<std::int64_t>{41}, {}, device);
    const Tensor none = Tensor::ones({0}, {.device = device});
    const Tensor stat = Tensor::ones({3}, {.device = device});
    const auto count_one = [&](const Tensor& x, const Tensor& statistic, bool training) {
      const Tensor other = statistic.defined() ? statistic.clone() : Tensor();
      batch_norm(x, {}, {}, statistic, other, {.training = training, .num_batches_tracked = count});
      return count.item();
    };
    const Tensor x = random({4, 3, 5}, DType::float32, 1, device);
    CHECK(count_one(x, stat, true) == 42);
    CHECK(count_one(x, {}, true) == 43);
    CHECK(count_one(random({2, 3, 9000}, DType::float32, 1, device), stat, true) == 44);
    CHECK(count_one(random({2, 3, 9000}, DType::float64, 1, device), {}, true) == 45);
    CHECK(count_one(Tensor::zeros({4, 0, 5}, {.device = device}), none, true) == 46);
    CHECK(count_one(x, stat, false) == 46);
  }
}

TEST_CASE("batch_norm of an empty batch is empty, and has gradients of 0", "[batch_norm]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor stat = Tensor::ones({3}, {.device = device});
    const Function function = [&](const std::vector<Tensor>& t) {
      Generator generator(1);
      return batch_norm(t[0], t[1], t[2], stat, stat,
                        {.relu_before = true, .relu_after = true, .dropout = 0.5, .generator = &generator});
    };
    for (const Shape& shape : {Shape{0, 3, 2, 2}, Shape{4, 3, 0}}) {
      const Run result = run(function, requiring({Tensor::zeros(shape, {.device = device}), stat, stat}));
      CHECK(result.output.shape() == shape);
      CHECK(result.gradients[0].shape() == shape);
      CHECK(result.gradients[1].to_vector<float>() == std::vector<float>(3, 0));
      CHECK(result.gradients[2].to_vector<float>() == std::vector<float>(3, 0));
    }
  }
}

/// Mean and variance are given, so no value's gradient is another's business.
TEST_CASE("batch_norm in inference keeps a gradient that is NaN to its own value", "[batch_norm]") {
  for (const Device device : devices())
    for (const std::int64_t plane : {33, 9000}) {
      INFO(device.name() << ", plane " << plane);
      const Tensor stat = Tensor::ones({2}, {.device = device});
      Tensor x = random({2, 2, plane}, DType::float32, 1, device).clone().set_requires_grad();
      Tensor incoming = random({2, 2, plane}, DType::float32, 2);
      incoming.data<float>()[plane + 7] = std::numeric_limits<float>::quiet_NaN();
      batch_norm(x, stat, stat, stat, stat).backward(incoming.to(device));
      const std::vector<double> gradient = to_doubles(x.grad());
      std::int64_t wrong = 0;
      for (std::int64_t i = 0; i < x.numel(); ++i)
        wrong += std::isnan(gradient[static_cast<std::size_t>(i)]) != (i == plane + 7);
      CHECK(wrong == 0);
    }
}

TEST_CASE("batch_norm says what does not fit", "[batch_norm][errors]") {
  const Tensor x = random({4, 3, 2, 2}, DType::float32), c = Tensor::ones({3}), d = Tensor::ones({4});
  check_error([&] { batch_norm({}, c, c, c, c); }, {"batch_norm", "input", "undefined"});
  check_error(
      [&] {
        batch_norm(Tensor::zeros({4, 3}, {.dtype = DType::int64}), c, c, c, c);
      },
      {"batch_norm", "input", "int64"});
  check_error([&] { batch_norm(Tensor::zeros({4}), c, c, c, c); },
              {"batch_norm", "[4]", "[n, channels, ...]"});
  check_error([&] { batch_norm(x, c, {}, c, c); }, {"batch_norm", "gamma and beta", "together"});
  check_error([&] { batch_norm(x, {}, c, c, c); }, {"batch_norm", "gamma and beta", "together"});
  check_error([&] { batch_norm(x, d, c, c, c); }, {"batch_norm", "gamma", "[4]", "[3]"});
  check_error([&] { batch_norm(x, c, d, c, c); }, {"batch_norm", "beta", "[4]", "[3]"});
  check_error([&] { batch_norm(x, c, c, d, c); }, {"batch_norm", "running_mean", "[4]", "[3]"});
  check_error([&] { batch_norm(x, c, c, c, d); }, {"batch_norm", "running_var", "[4]", "[3]"});
  // Where all that is given agrees on another number of channels, the input is at fault.
  check_error([&] { batch_norm(x, d, d, d, d); }, {"batch_norm: input", "3 channels", "4 channels as gamma"});
  check_error([&] { batch_norm(x, {}, {}, d, d); },
              {"batch_norm: input", "3 channels", "4 channels as running_mean"});
  check_error([&] { batch_norm(x, d, d, {}, {}, {.training = true}); },
              {"batch_norm: input", "3 channels", "4 channels as gamma"});
  check_error([&] { batch_norm(x, c.reshape({3, 1}), c, c, c); }, {"batch_norm", "gamma", "[3, 1]", "[3]"});
  check_error([&] { batch_norm(x, c.to(DType::float64), c, c, c); }, {"batch_norm", "gamma", "float64"});
  check_error([&] { batch_norm(x, c, c, c, c.to(DType::float64)); },
              {"batch_norm", "running_var", "float64"});
  check_error([&] { batch_norm(x, c, c, c, {}); },
              {"batch_norm", "running_mean and running_var", "together"});
  check_error([&] { batch_norm(x, c, c, {}, {}); }, {"batch_norm", "inference", "running_mean"});
  check_error(
      [&] {
        batch_norm(Tensor::zeros({1, 3, 1, 1}), c, c, c, c, {.training = true});
      },
      {"batch_norm", "[1, 3, 1, 1]", "more than one value per channel"});
  check_error(
      [&] {
        batch_norm(Tensor::zeros({0, 3, 2, 2}), c, c, c, c, {.training = true});
      },
      {"batch_norm", "[0, 3, 2, 2]", "more than one value"});
  const auto counting = [&](const Tensor& count) {
    return [&x, &c, count] { batch_norm(x, c, c, c, c, {.training = true, .num_batches_tracked = count}); };
  };
  check_error(counting(Tensor::zeros({})), {"batch_norm", "num_batches_tracked", "float32", "one int64"});
  check_error(counting(Tensor::zeros({2}, {.dtype = DType::int64})),
              {"batch_norm", "num_batches_tracked", "[2]", "one int64"});
  for (const Device device : devices())
    if (device != x.device())
      check_error(counting(Tensor::zeros({}, {.dtype = DType::int64, .device = device})),
                  {"batch_norm", "num_batches_tracked", device.name().c_str(), "one int64 on cpu"});
  for (const double p : {-0.1, 1.5, std::nan("")})
    check_error([&] { batch_norm(x, c, c, c, c, {.training = true, .dropout = p}); },
                {"batch_norm", "dropout = ", "probability"});
  const double infinity = std::numeric_limits<double>::infinity();
  for (const bool training : {false, true}) {
    for (const double momentum : {-0.1, 1.5, infinity, std::nan("")})
      check_error([&] { batch_norm(x, c, c, c, c, {.training = training, .momentum = momentum}); },
                  {"batch_norm", "momentum = ", "0 to 1"});
    for (const double epsilon : {-1e-5, infinity, std::nan("")})
      check_error([&] { batch_norm(x, c, c, c, c, {.training = training, .epsilon = epsilon}); },
                  {"batch_norm", "epsilon = ", "from 0 on"});
  }
}

TEST_CASE("batch_norm on cuda refuses more values of a channel than it can count", "[batch_norm][errors]") {
  if (!cuda_is_available()) return;
  const BatchNormProblem p{.n = std::int64_t{1} << 31, .channels = 1, .plane = 4};
  const auto& kernels = *kernels::cuda::tables<kernels::BatchNormKernels>().of<float>();
  const auto forward = [&] {
    kernels.forward_inference(p, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  };
  check_error(forward, {"cuda", "batch_norm", "8589934592 values of a channel"});
}

TEST_CASE("batch_norm that throws takes no draw and moves no statistics", "[batch_norm][errors]") {
  Generator generator(1);
  Tensor mean = Tensor::zeros({3});
  const Tensor count = Tensor::zeros({}, {.dtype = DType::int64});
  check_error(
      [&] {
        batch_norm(Tensor::ones({4, 3, 2}), Tensor::ones({3}), Tensor::ones({3}), mean, Tensor::ones({2}),
                   {.training = true, .num_batches_tracked = count, .dropout = 0.5, .generator = &generator});
      },
      {"running_var"});
  CHECK(generator.draws() == 0);
  CHECK(mean.to_vector<float>() == std::vector<float>(3, 0));
  CHECK(count.item() == 0);
}

}  // namespace
}  // namespace kg
