// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "catch.h"
#include "kernelgrad/kernelgrad.h"
#include "reference/values.h"

/// What the tests of the library share.
namespace kg::testing {

/// Every device that the tests of an operation run on: CUDA alone where a policy is set for its kernels,
/// which are what is tested then.
inline std::vector<Device> devices() {
  std::vector<Device> found;
  if (!std::getenv("KERNELGRAD_KERNELS")) found.push_back(Device::cpu());
  if (cuda_is_available()) found.push_back(Device::cuda());
  return found;
}

inline std::vector<double> to_doubles(const Tensor& tensor) {
  return tensor.detach().to(DType::float64).to_vector<double>();
}

inline Tensor from_doubles(const std::vector<double>& values, Shape shape, DType dtype, Device device = {}) {
  return Tensor::from(values, std::move(shape)).to(dtype).to(device);
}

/// Uniform in [-1, 1), the same for the same seed.
inline Tensor random(const Shape& shape, DType dtype = DType::float64, std::uint32_t seed = 0,
                     Device device = {}) {
  RandomStream stream(1, RandomPurpose::user, 0, seed);
  std::vector<double> values(static_cast<std::size_t>(numel(shape)));
  for (double& value : values) value = stream.uniform(-1, 1);
  return from_doubles(values, shape, dtype, device);
}

/// Values in random order, 2e-3 from each other and at least 1e-3 from 0: a step of a finite difference
/// neither changes which of them is the largest nor the sign of any.
inline Tensor distinct(const Shape& shape, DType dtype = DType::float64, std::uint32_t seed = 0,
                       Device device = {}) {
  RandomStream stream(2, RandomPurpose::user, 0, seed);
  std::vector<double> values(static_cast<std::size_t>(numel(shape)));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 2e-3 * (static_cast<double>(i) - static_cast<double>(values.size() / 2) + 0.5);
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[stream.below(static_cast<std::uint32_t>(i))]);
  return from_doubles(values, shape, dtype, device);
}

inline std::string as_text(double value) {
  std::ostringstream text;
  text << std::setprecision(17) << value;
  return text.str();
}

/// Empty if every element lies within tolerance * (sum of the |terms| it was computed from) of what is
/// expected, otherwise says which does not. NaN lies nowhere.
inline std::string difference(const Tensor& actual, const reference::Values& expected, double tolerance) {
  if (!actual.defined()) return "undefined";
  if (actual.shape() != expected.shape)
    return "shape " + to_string(actual.shape()) + ", expected " + to_string(expected.shape);
  const std::vector<double> values = to_doubles(actual);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!(std::abs(values[i] - expected.sum[i]) <= tolerance * expected.terms[i]))
      return "element " + std::to_string(i) + " is " + as_text(values[i]) + ", expected " +
             as_text(expected.sum[i]) + " +- " + as_text(tolerance * expected.terms[i]);
  return "";
}

/// True if shape, dtype and every bit of the elements are equal.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  const Tensor a_host = a.detach().to(Device::cpu()), b_host = b.detach().to(Device::cpu());
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::ranges::equal(a_host.bytes(), b_host.bytes());
}

/// Checks that `action` throws Error with a message that has every one of the parts.
template <class Action>
void check_error(Action action, std::initializer_list<const char*> parts, int line = __builtin_LINE()) {
  std::string message = "nothing was thrown";
  try {
    action();
  } catch (const Error& error) {
    message = error.what();
  } catch (const std::exception& error) {
    message = "no kg::Error but " + std::string(error.what());
  }
  std::string missing;
  for (const std::string part : parts)
    if (message.find(part) == std::string::npos) missing += "\"" + part + "\" ";
  INFO("line " << line << ": \"" << message << "\" lacks " << missing);
  CHECK(missing == "");
}

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

/// The values that a float of 24 bits cannot tell apart, in proportion to them.
constexpr double last_bit = 0x1p-24;

/// The tensor with every element moved by up to its last bit at random, and every other seed another way. 0
/// moves nothing, and integers stay.
inline Tensor jittered(const Tensor& x, std::uint32_t seed) {
  if (!x.defined() || !is_floating_point(x.dtype()) || seed == 0) return x;
  std::vector<double> values = to_doubles(x);
  RandomStream stream(3, RandomPurpose::user, 0, seed);
  for (double& value : values) value *= 1 + stream.uniform(-last_bit, last_bit);
  Tensor result = from_doubles(values, x.shape(), x.dtype(), x.device());
  if (x.requires_grad()) result.set_requires_grad();
  return result;
}

/// Beside each element the terms that it is the sum of, seen from how far it is moved by jittered() inputs:
/// to the terms' absolute values it is as rounding errors are, large where large terms cancel.
inline reference::Values with_terms(const Tensor& element, const std::vector<Tensor>& moved) {
  if (!element.defined()) return {};
  const std::vector<double> values = to_doubles(element);
  reference::Values result(element.shape(), values, values);
  for (double& terms : result.terms) terms = std::abs(terms);
  for (const Tensor& other : moved) {
    const std::vector<double> there = to_doubles(other);
    for (std::size_t i = 0; i < values.size(); ++i)
      result.terms[i] += 2 * std::abs(there[i] - values[i]) / (last_bit * static_cast<double>(moved.size()));
  }
  return result;
}

/// As above, within tolerance * (the element itself): for what is no sum in which terms cancel.
inline std::string difference(const Tensor& actual, const Tensor& expected, double tolerance) {
  if (!actual.defined() || !expected.defined())
    return actual.defined() == expected.defined() ? "" : "undefined";
  return difference(actual, with_terms(expected, {}), tolerance);
}

struct Run {
  Tensor output;
  std::vector<Tensor> gradients;
};

/// The function's value, and its gradients with respect to the inputs that require one (undefined for the
/// others), of the sum of the output's elements times fixed random numbers. With a seed, inputs and numbers
/// are jittered().
inline Run run(const Function& function, const std::vector<Tensor>& inputs, std::uint32_t seed = 0) {
  std::vector<Tensor> leaves;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::uint32_t its_seed = seed == 0 ? 0 : 100 * seed + static_cast<std::uint32_t>(i);
    leaves.push_back(inputs[i].defined() ? jittered(inputs[i], its_seed).clone() : Tensor());
    if (inputs[i].defined() && inputs[i].requires_grad()) leaves.back().set_requires_grad();
  }
  const Tensor output = function(leaves);
  output.backward(jittered(random(output.shape(), output.dtype(), 99, output.device()), seed));
  Run result{output.detach(), {}};
  for (const Tensor& leaf : leaves) result.gradients.push_back(leaf.defined() ? leaf.grad() : Tensor());
  return result;
}

struct ExpectedRun {
  reference::Values output;
  std::vector<reference::Values> gradients;
};

/// run() in float64 of inputs in float64, with the terms of every element.
inline ExpectedRun expected_run(const Function& function, const std::vector<Tensor>& inputs) {
  const Run center = run(function, inputs);
  const std::vector<Run> around = {run(function, inputs, 1), run(function, inputs, 2),
                                   run(function, inputs, 3)};
  const auto of = [&](const auto& part) {
    return with_terms(part(center), {part(around[0]), part(around[1]), part(around[2])});
  };
  ExpectedRun result{of([](const Run& r) { return r.output; }), {}};
  for (std::size_t i = 0; i < inputs.size(); ++i)
    result.gradients.push_back(of([i](const Run& r) { return r.gradients[i]; }));
  return result;
}

/// Copies of the floating-point inputs (undefined ones stay so) that require a gradient where wanted[i].
inline std::vector<Tensor> requiring(const std::vector<Tensor>& inputs,
                                     const std::vector<bool>& wanted = {}) {
  std::vector<Tensor> result;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    result.push_back(inputs[i].defined() ? inputs[i].clone() : Tensor());
    if (inputs[i].defined() && is_floating_point(inputs[i].dtype()) && (wanted.empty() || wanted[i]))
      result.back().set_requires_grad();
  }
  return result;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
inline constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool sanitized = false;
#endif

/// Checks the gradients with respect to every floating-point input by finite differences. Not of emulated
/// kernels under a sanitizer, which would take an hour and show nothing: it watches memory and order, and the
/// differences launch the same kernels on the same shapes as the comparison with the formula.
inline void check_gradients(const Function& function, const std::vector<Tensor>& inputs) {
  if (sanitized &&
      std::ranges::any_of(inputs, [](const Tensor& t) { return t.defined() && t.device().is_cuda(); }))
    return;
  const GradcheckResult result = gradcheck(function, requiring(inputs));
  INFO(result.message);
  CHECK(result.passed);
}

/// Checks the gradients of a weighted sum of the output along random directions in the space of all inputs:
/// as good as check_gradients() at finding a wrong element of the usual size, and affordable where there are
/// thousands.
inline void check_gradients_along_directions(const Function& function, const std::vector<Tensor>& inputs) {
  constexpr std::int64_t directions = 3;
  std::vector<std::vector<Tensor>> moves(directions);
  for (std::size_t d = 0; d < moves.size(); ++d)
    for (std::size_t i = 0; i < inputs.size(); ++i)
      moves[d].push_back(inputs[i].defined()
                             ? random(inputs[i].shape(), DType::float64,
                                      static_cast<std::uint32_t>(100 + d * 10 + i), inputs[i].device())
                             : Tensor());
  Tensor weights;
  const Function along = [&](const std::vector<Tensor>& steps) {
    std::vector<Tensor> moved = inputs;
    for (std::size_t d = 0; d < moves.size(); ++d)
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (inputs[i].defined()) moved[i] = moved[i] + steps[d] * moves[d][i];
    const Tensor output = function(moved);
    if (!weights.defined()) weights = random(output.shape(), DType::float64, 98, output.device());
    return sum(output * weights);
  };
  const Device device = inputs[0].device();
  check_gradients(along, std::vector<Tensor>(directions, Tensor::zeros({}, {DType::float64, device})));
}

/// Checks that asking for the gradients of some inputs gives the same bits as asking for all, and nothing for
/// the others.
inline void check_gradient_subsets(const Function& function, const std::vector<Tensor>& inputs) {
  const Run all = run(function, requiring(inputs));
  for (unsigned subset = 1; subset < 1u << inputs.size(); ++subset) {
    std::vector<bool> wanted;
    bool any = false;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      wanted.push_back(subset >> i & 1 && inputs[i].defined());
      any |= wanted[i];
    }
    if (!any) continue;
    const Run some = run(function, requiring(inputs, wanted));
    INFO("subset of inputs " << subset);
    CHECK(same_bits(some.output, all.output));
    for (std::size_t i = 0; i < inputs.size(); ++i)
      CHECK(same_bits(some.gradients[i], wanted[i] ? all.gradients[i] : Tensor()));
  }
}

/// Checks the gradients in float32 against those in float64, of inputs that both can represent.
inline void check_float32_gradients(const Function& function, const std::vector<Tensor>& inputs,
                                    double tolerance) {
  std::vector<Tensor> single, twice;
  for (const Tensor& input : inputs) {
    single.push_back(input.defined() ? input.to(DType::float32) : Tensor());
    twice.push_back(input.defined() ? single.back().to(DType::float64) : Tensor());
  }
  const Run actual = run(function, requiring(single));
  const ExpectedRun expected = expected_run(function, requiring(twice));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    INFO("gradient of input " << i << " in float32");
    CHECK(difference(actual.gradients[i], expected.gradients[i], tolerance) == "");
  }
}

/// Calls body(device, problem) for every device and problem of a table, naming both in what fails.
template <class Table, class Body>
void for_each_case(const Table& table, const Body& body) {
  for (const Device device : devices())
    for (const auto& problem : table) {
      INFO(device.name() << ": " << describe(problem));
      body(device, problem);
    }
}

}  // namespace kg::testing
