// SPDX-License-Identifier: MIT
#include "kernels/cross_entropy.h"

#include "cases/cross_entropy.h"
#include "labels.h"
#include "reference/cross_entropy.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using cases::Rows;

const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();

Function function(const Rows& p, Reduction reduction) {
  return [=](const std::vector<Tensor>& t) {
    return cross_entropy(t[0], label_tensor(labels_of(p), t[0].device()), reduction);
  };
}

double scale_of(const Rows& p, Reduction reduction) {
  return reduction == Reduction::mean ? 1 / double(p.rows) : 1;
}

TEST_CASE("cross_entropy and its gradient agree with their formulas", "[cross_entropy]") {
  const auto check = [](Device device, const Rows& p) {
    for (const Reduction reduction : {Reduction::mean, Reduction::sum})
      for (const DType dtype : {DType::float32, DType::float64})
        for (const double size : {1.0, 30.0}) {
          INFO(name_of(dtype) << ", logits up to " << size);
          const double tolerance = dtype == DType::float32 ? 2e-6 : 1e-12, scale = scale_of(p, reduction);
          const Tensor x = mul(random({p.rows, p.classes}, dtype, 1, device), size);
          const std::vector<double> logits = to_doubles(x);
          const Run actual = run(function(p, reduction), requiring({x}));
          CHECK(actual.output.dtype() == dtype);
          CHECK(difference(actual.output, reference::cross_entropy(p.classes, scale, logits, labels_of(p)),
                           tolerance) == "");
          const double grad_loss = to_doubles(random({}, dtype, 99))[0];
          CHECK(
              difference(actual.gradients[0],
                         reference::cross_entropy_backward(p.classes, scale, grad_loss, logits, labels_of(p)),
                         // The error of an exponent of 60 is relative to the probability.
                         tolerance * size) == "");
        }
  };
  SECTION("small problems") { for_each_case(cases::cross_entropy, check); }
  SECTION("large problems") { for_each_case(cases::cross_entropy_large, check); }
}

TEST_CASE("cross_entropy passes the gradient check", "[cross_entropy][gradcheck]") {
  for_each_case(cases::cross_entropy, [](Device device, const Rows& p) {
    const Tensor x = random({p.rows, p.classes}, DType::float64, 1, device);
    for (const Reduction reduction : {Reduction::mean, Reduction::sum}) {
      p.rows* p.classes <= 1000 ? check_gradients(function(p, reduction), {x})
                                : check_gradients_along_directions(function(p, reduction), {x});
      check_float32_gradients(function(p, reduction), {x}, 2e-6);
    }
  });
}

TEST_CASE("cross_entropy is nll_loss of log_softmax", "[cross_entropy]") {
  const auto check = [](Device device, const Rows& p) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = random({p.rows, p.classes}, dtype, 1, device);
      const Function two_steps = [&](const std::vector<Tensor>& t) {
        return nll_loss(log_softmax(t[0]), label_tensor(labels_of(p), device));
      };
      const Run one = run(function(p, Reduction::mean), requiring({x}));
      const ExpectedRun two = expected_run(two_steps, requiring({x.to(DType::float64)}));
      const double tolerance = dtype == DType::float32 ? 2e-6 : 1e-14;
      CHECK(difference(one.output, two.output, tolerance) == "");
      // Where there is one class the loss is 0 whatever the logits; so is its gradient, to rounding.
      if (p.classes > 1) CHECK(difference(one.gradients[0], two.gradients[0], tolerance) == "");
    }
  };
  for_each_case(cases::cross_entropy, check);
  for_each_case(cases::cross_entropy_large, check);
}

TEST_CASE("cross_entropy takes labels of every integer type", "[cross_entropy]") {
  const DType dtype = GENERATE(DType::uint8, DType::int32, DType::int64);
  const Rows p{31, 10};
  for (const Device device : devices()) {
    const Tensor x = random({p.rows, p.classes}, DType::float64, 0, device);
    const Tensor labels = label_tensor(labels_of(p));
    CHECK(same_bits(cross_entropy(x, labels.to(dtype).to(device)), cross_entropy(x, labels.to(device))));
  }
}

TEST_CASE("cross_entropy neither overflows nor loses what is small", "[cross_entropy]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const auto loss = [&](const auto& logits, std::int64_t label) {
      return cross_entropy(Tensor::from(logits, {1, std::ssize(logits)}, device),
                           label_tensor({label}, device))
          .item();
    };
    CHECK(std::abs(loss(std::vector<double>{1e6, 0, 1e6, -1e300}, 0) - std::log(2.0)) < 1e-15);
    CHECK(loss(std::vector<double>{1e6, 0, 1e6, -1e300}, 3) == 1e300);
    // The maximum goes first: added to the logarithm, it would round it.
    CHECK(std::abs(loss(std::vector<float>{4096, 4096, 4000}, 1) - std::log(2.0)) < 1e-7);
    // A logit of minus infinity is a probability of 0.
    CHECK(loss(std::vector<double>{0, -inf}, 0) == 0);
    CHECK(loss(std::vector<double>{0, -inf}, 1) == inf);
  }
}

TEST_CASE("cross_entropy's gradient of large logits is that of their differences", "[cross_entropy]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const auto gradient = [&](std::vector<float> logits) {
      Tensor x = Tensor::from(logits, {1, std::ssize(logits)}, device).set_requires_grad();
      cross_entropy(x, label_tensor({2}, device)).backward();
      return x.grad();
    };
    CHECK(same_bits(gradient({4097, 4096, 4098, 4000}), gradient({1, 0, 2, -96})));
  }
}

TEST_CASE("cross_entropy of NaN is NaN, and so is the gradient of that row", "[cross_entropy]") {
  const int column = GENERATE(0, 1, 32, 69);
  for (const Device device : devices()) {
    INFO(device.name() << ", NaN in column " << column);
    std::vector<double> values(3 * 70, 0.5);
    values[static_cast<std::size_t>(70 + column)] = nan;
    Tensor x = Tensor::from(values, {3, 70}, device).set_requires_grad();
    const Tensor loss = cross_entropy(x, label_tensor({0, 1, 2}, device));
    CHECK(std::isnan(loss.item()));
    loss.backward();
    const std::vector<double> gradient = to_doubles(x.grad());
    for (std::size_t i = 0; i < gradient.size(); ++i) CHECK(std::isnan(gradient[i]) == (i / 70 == 1));
  }
}

TEST_CASE("cross_entropy of a label out of range is NaN on devices that cannot throw",
          "[cross_entropy][errors]") {
  const std::int64_t label = GENERATE(std::int64_t{3}, -1, std::numeric_limits<std::int64_t>::min(),
                                      std::numeric_limits<std::int64_t>::max());
  const std::size_t row = GENERATE(0u, 1u);
  std::vector<std::int64_t> labels = {1, 2};
  labels[row] = label;
  for (const Device device : devices_without_label_check(devices())) {
    INFO(device.name() << ", label " << label << " in row " << row);
    Tensor x = random({2, 3}, DType::float64, 1, device).set_requires_grad();
    const Tensor loss = cross_entropy(x, label_tensor(labels, device));
    CHECK(std::isnan(loss.item()));
    loss.backward();
    const std::vector<double> gradient = to_doubles(x.grad());
    for (std::size_t i = 0; i < 6; ++i) CHECK((gradient[i] == 0) == (i / 3 == row));
  }
}

TEST_CASE("cross_entropy's CPU kernels treat a label out of range as the others do", "[cross_entropy]") {
  const std::int64_t label = GENERATE(3, -1);
  const std::vector<double> logits = {1, 2, 3, 1, 2, 3};
  const std::vector<std::int64_t> labels = {0, label};
  const auto& kernels = *kernels::cpu::tables<kernels::CrossEntropyKernels>().of<double>();
  double loss = 0, grad_loss = 1;
  kernels.forward(2, 3, 0.5, logits.data(), labels.data(), &loss);
  CHECK(std::isnan(loss));
  std::vector<double> gradient(6, nan);
  kernels.backward(2, 3, 0.5, &grad_loss, logits.data(), labels.data(), gradient.data());
  for (std::size_t i = 0; i < 6; ++i) CHECK((gradient[i] == 0) == (i >= 3));
}

TEST_CASE("cross_entropy says what does not fit", "[cross_entropy][errors]") {
  const Tensor x = random({2, 3}), labels = label_tensor({0, 1});
  check_error([&] { cross_entropy({}, labels); }, {"cross_entropy", "logits", "undefined"});
  check_error([&] { cross_entropy(x, {}); }, {"cross_entropy", "labels", "undefined", "integers"});
  check_error([&] { cross_entropy(x, Tensor::zeros({2})); },
              {"cross_entropy", "labels", "float32", "integers"});
  check_error([&] { cross_entropy(labels, labels); }, {"cross_entropy", "logits", "int64"});
  check_error(
      [&] {
        cross_entropy(random({2, 3, 1}), labels);
      },
      {"cross_entropy", "[2, 3, 1]", "[n, classes]"});
  check_error(
      [&] {
        cross_entropy(Tensor::zeros({0, 3}), label_tensor({}));
      },
      {"cross_entropy", "[0, 3]", "at least one row"});
  check_error([&] { cross_entropy(x, label_tensor({0, 1, 2})); }, {"cross_entropy", "labels", "[3]", "[2]"});
  check_error([&] { cross_entropy(x, label_tensor({0, 3})); }, {"cross_entropy", "label 3", "0 to 2"});
  check_error([&] { cross_entropy(x, label_tensor({-1, 0})); }, {"cross_entropy", "label -1", "0 to 2"});
  for (const Device device : devices())
    if (device.is_cuda())
      check_error([&] { cross_entropy(x, labels.to(device)); }, {"cross_entropy", "labels", "cuda", "cpu"});
}

}  // namespace
}  // namespace kg
