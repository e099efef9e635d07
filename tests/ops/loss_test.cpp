// SPDX-License-Identifier: MIT
#include "cases/nll_loss.h"
#include "kernels/nll_loss.h"
#include "labels.h"
#include "reference/log_softmax.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using cases::Rows;

const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();

Function log_softmax_function() {
  return [](const std::vector<Tensor>& t) { return log_softmax(t[0]); };
}

Function nll_loss_function(const Rows& p, Reduction reduction) {
  return [=](const std::vector<Tensor>& t) {
    return nll_loss(t[0], label_tensor(labels_of(p), t[0].device()), reduction);
  };
}

TEST_CASE("log_softmax agrees with its formula", "[log_softmax]") {
  const auto check = [](Device device, const Rows& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const double scale : {1.0, 30.0}) {
        INFO(name_of(dtype) << ", logits up to " << scale);
        const Tensor x = mul(random({p.rows, p.classes}, dtype, 1, device), scale);
        CHECK(difference(log_softmax(x), reference::log_softmax(p.rows, p.classes, to_doubles(x)),
                         dtype == DType::float32 ? 1e-6 : 1e-12) == "");
      }
  };
  SECTION("small problems") { for_each_case(cases::log_softmax, check); }
  SECTION("large problems") { for_each_case(cases::log_softmax_large, check); }
}

TEST_CASE("log_softmax passes the gradient check", "[log_softmax][gradcheck]") {
  for_each_case(cases::log_softmax, [](Device device, const Rows& p) {
    const Tensor x = random({p.rows, p.classes}, DType::float64, 1, device);
    check_gradients(log_softmax_function(), {x});
    check_float32_gradients(log_softmax_function(), {x}, 2e-6);
  });
  for_each_case(cases::log_softmax_large, [](Device device, const Rows& p) {
    const Tensor x = random({p.rows, p.classes}, DType::float64, 1, device);
    check_gradients_along_directions(log_softmax_function(), {x});
    check_float32_gradients(log_softmax_function(), {x}, 2e-6);
  });
}

TEST_CASE("log_softmax works on the last of any dimensions", "[log_softmax]") {
  for (const Device device : devices()) {
    const Tensor x = random({2, 3, 5}, DType::float64, 0, device);
    CHECK(same_bits(log_softmax(x).reshape({6, 5}), log_softmax(x.reshape({6, 5}))));
    CHECK(log_softmax(random({5}, DType::float64, 0, device)).shape() == Shape{5});
    Tensor empty = Tensor::zeros({0, 5}, {.device = device}).set_requires_grad();
    const Tensor y = log_softmax(empty);
    CHECK(y.shape() == Shape{0, 5});
    y.backward(y.detach());
    CHECK(empty.grad().shape() == Shape{0, 5});
  }
}

TEST_CASE("log_softmax neither overflows nor loses what is small", "[log_softmax]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const auto row = [&](const auto& logits) {
      return to_doubles(log_softmax(Tensor::from(logits, {1, std::ssize(logits)}, device)));
    };
    const std::vector<double> y = row(std::vector<double>{1e6, 0, 1e6, -1e300});
    CHECK(std::abs(y[0] + std::log(2.0)) < 1e-15);
    CHECK(std::abs(y[1] + 1e6 + std::log(2.0)) < 1e-9);
    CHECK(y[3] == -1e300);
    // The maximum goes first: added to the logarithm, it would round it.
    CHECK(std::abs(row(std::vector<float>{4096, 4096, 4000})[0] + std::log(2.0)) < 1e-7);
    // A logit of minus infinity is a probability of 0.
    CHECK(row(std::vector<double>{0, -inf}) == std::vector<double>{0, -inf});
  }
}

TEST_CASE("log_softmax hands NaN on to its whole row, wherever it stands", "[log_softmax]") {
  const std::int64_t classes = GENERATE(3, 10, 70);
  for (const Device device : devices())
    for (std::int64_t column = 0; column < classes; ++column) {
      INFO(device.name() << ", NaN in column " << column << " of " << classes);
      std::vector<double> values(static_cast<std::size_t>(3 * classes), 0.5);
      values[static_cast<std::size_t>(classes + column)] = nan;
      const std::vector<double> y = to_doubles(log_softmax(Tensor::from(values, {3, classes}, device)));
      std::int64_t wrong = 0;
      for (std::int64_t i = 0; i < 3 * classes; ++i)
        wrong += std::isnan(y[static_cast<std::size_t>(i)]) != (i / classes == 1);
      CHECK(wrong == 0);
    }
}

TEST_CASE("log_softmax says what does not fit", "[log_softmax][errors]") {
  check_error([] { log_softmax({}); }, {"log_softmax", "undefined"});
  check_error([] { log_softmax(Tensor::zeros({2, 3}, {.dtype = DType::int32})); }, {"log_softmax", "int32"});
  check_error([] { log_softmax(Tensor::zeros({})); }, {"log_softmax", "[]", "[..., classes]"});
  check_error([] { log_softmax(Tensor::zeros({3, 0})); }, {"log_softmax", "[3, 0]", "at least one class"});
}

TEST_CASE("nll_loss agrees with its formula and passes the gradient check", "[nll_loss][gradcheck]") {
  for_each_case(cases::nll_loss, [](Device device, const Rows& p) {
    for (const Reduction reduction : {Reduction::mean, Reduction::sum}) {
      const double scale = reduction == Reduction::mean ? 1 / double(p.rows) : 1;
      for (const DType dtype : {DType::float32, DType::float64}) {
        const Tensor x = random({p.rows, p.classes}, dtype, 1, device);
        const Tensor loss = nll_loss_function(p, reduction)({x});
        CHECK(loss.dtype() == dtype);
        CHECK(difference(loss, reference::nll_loss(p.classes, scale, to_doubles(x), labels_of(p)),
                         dtype == DType::float32 ? 1e-6 : 1e-12) == "");
      }
      const Tensor x = random({p.rows, p.classes}, DType::float64, 1, device);
      const Function function = nll_loss_function(p, reduction);
      p.rows* p.classes <= 1000 ? check_gradients(function, {x})
                                : check_gradients_along_directions(function, {x});
      check_float32_gradients(function, {x}, 1e-6);
    }
  });
}

TEST_CASE("nll_loss takes labels of every integer type", "[nll_loss]") {
  const DType dtype = GENERATE(DType::uint8, DType::int32, DType::int64);
  const Rows p{31, 10};
  for (const Device device : devices()) {
    const Tensor x = random({p.rows, p.classes}, DType::float64, 0, device);
    const Tensor labels = label_tensor(labels_of(p));
    CHECK(same_bits(nll_loss(x, labels.to(dtype).to(device)), nll_loss(x, labels.to(device))));
  }
}

TEST_CASE("nll_loss of NaN is NaN", "[nll_loss]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = Tensor::from(std::vector<double>{0, nan, 0, 0}, {2, 2}, device);
    CHECK(std::isnan(nll_loss(x, label_tensor({1, 0}, device)).item()));
    CHECK(nll_loss(x, label_tensor({0, 0}, device)).item() == 0);
  }
}

TEST_CASE("nll_loss of a label out of range is NaN on devices that cannot throw", "[nll_loss][errors]") {
  const std::int64_t label = GENERATE(std::int64_t{3}, -1, std::numeric_limits<std::int64_t>::min(),
                                      std::numeric_limits<std::int64_t>::max());
  const std::size_t row = GENERATE(0u, 1u);
  std::vector<std::int64_t> labels = {1, 2};
  labels[row] = label;
  for (const Device device : devices_without_label_check(devices())) {
    INFO(device.name() << ", label " << label << " in row " << row);
    Tensor x = random({2, 3}, DType::float64, 1, device).set_requires_grad();
    const Tensor loss = nll_loss(x, label_tensor(labels, device));
    CHECK(std::isnan(loss.item()));
    loss.backward();
    const std::vector<double> gradient = to_doubles(x.grad());
    for (std::size_t i = 0; i < 6; ++i)
      CHECK(gradient[i] == (i / 3 != row && static_cast<std::int64_t>(i % 3) == labels[i / 3] ? -0.5 : 0));
  }
}

TEST_CASE("nll_loss's CPU kernels treat a label out of range as the others do", "[nll_loss]") {
  const std::int64_t label = GENERATE(3, -1);
  const std::vector<double> x = {1, 2, 3, 1, 2, 3};
  const std::vector<std::int64_t> labels = {0, label};
  const auto& kernels = *kernels::cpu::tables<kernels::NllLossKernels>().of<double>();
  double loss = 0, grad_loss = 1;
  kernels.forward(2, 3, 0.5, x.data(), labels.data(), &loss);
  CHECK(std::isnan(loss));
  std::vector<double> gradient(6, nan);
  kernels.backward(2, 3, 0.5, &grad_loss, labels.data(), gradient.data());
  CHECK(gradient == std::vector<double>{-0.5, 0, 0, 0, 0, 0});
}

TEST_CASE("nll_loss says what does not fit", "[nll_loss][errors]") {
  const Tensor x = random({2, 3});
  const auto labels = [](const std::vector<std::int64_t>& values) { return label_tensor(values); };
  check_error([&] { nll_loss({}, labels({0, 1})); }, {"nll_loss", "log_probabilities", "undefined"});
  check_error([&] { nll_loss(x, {}); }, {"nll_loss", "labels", "undefined", "integers"});
  check_error([&] { nll_loss(x, Tensor::zeros({2})); }, {"nll_loss", "labels", "float32", "integers"});
  check_error([&] { nll_loss(labels({0, 1}), labels({0, 1})); }, {"nll_loss", "log_probabilities", "int64"});
  check_error(
      [&] {
        nll_loss(random({2, 3, 1}), labels({0, 1}));
      },
      {"nll_loss", "[2, 3, 1]", "[n, classes]"});
  check_error(
      [&] {
        nll_loss(Tensor::zeros({0, 3}), labels({}));
      },
      {"nll_loss", "[0, 3]", "at least one row"});
  check_error([&] { nll_loss(x, labels({0, 1, 2})); }, {"nll_loss", "labels", "[3]", "[2]"});
  check_error([&] { nll_loss(x, labels({0, 1}).reshape({2, 1})); }, {"nll_loss", "labels", "[2, 1]", "[2]"});
  check_error([&] { nll_loss(x, labels({0, 3})); }, {"nll_loss", "label 3", "0 to 2"});
  check_error([&] { nll_loss(x, labels({-1, 0})); }, {"nll_loss", "label -1", "0 to 2"});
}

TEST_CASE("argmax is the first largest element of each row, NaN before all", "[argmax]") {
  const Tensor x = Tensor::from(
      std::vector<double>{1, 3, 3, 0, 0, 0, -2, -3, -1, 0, nan, nan, inf, nan, inf, -inf, -inf, -inf},
      {6, 3});
  for (const Device device : devices())
    for (const DType dtype : {DType::float32, DType::float64}) {
      INFO(device.name() << ", " << name_of(dtype));
      CHECK(argmax(x.to(dtype).to(device)).to_vector<std::int64_t>() ==
            std::vector<std::int64_t>{1, 0, 2, 1, 1, 0});
      CHECK(argmax(Tensor::zeros({0, 3}, {dtype, device})).shape() == Shape{0});
    }
}

TEST_CASE("argmax finds the first largest among many equals", "[argmax]") {
  const auto check = [](Device device, const Rows& p) {
    // A few different values, so that every row has ties, and some rows NaN.
    RandomStream stream(3, RandomPurpose::user);
    std::vector<double> values(static_cast<std::size_t>(p.rows * p.classes));
    for (double& value : values) value = stream.below(3);
    for (std::int64_t row = 0; row < p.rows; row += 3)
      for (int i = 0; i < 2; ++i)
        values[static_cast<std::size_t>(row * p.classes) +
               stream.below(static_cast<std::uint32_t>(p.classes))] = nan;
    std::vector<std::int64_t> expected;
    for (std::int64_t row = 0; row < p.rows; ++row) {
      const auto begin = values.begin() + row * p.classes, end = begin + p.classes;
      const auto first_nan = std::find_if(begin, end, [](double value) { return std::isnan(value); });
      expected.push_back((first_nan != end ? first_nan : std::max_element(begin, end)) - begin);
    }
    for (const DType dtype : {DType::float32, DType::float64})
      CHECK(argmax(from_doubles(values, {p.rows, p.classes}, dtype, device)).to_vector<std::int64_t>() ==
            expected);
  };
  for_each_case(cases::log_softmax, check);
  for_each_case(cases::log_softmax_large, check);
}

TEST_CASE("argmax says what does not fit", "[argmax][errors]") {
  check_error([] { argmax({}); }, {"argmax", "undefined"});
  check_error([] { argmax(Tensor::zeros({2, 3}, {.dtype = DType::int64})); }, {"argmax", "int64"});
  check_error([] { argmax(Tensor::zeros({3})); }, {"argmax", "[3]", "[rows, columns]"});
  check_error([] { argmax(Tensor::zeros({3, 0})); }, {"argmax", "[3, 0]", "at least one column"});
}

}  // namespace
}  // namespace kg
