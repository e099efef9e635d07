#include "cases/nll_loss.h"
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

std::vector<std::int64_t> labels_of(const Rows& p) {
  RandomStream stream(5, RandomPurpose::user);
  std::vector<std::int64_t> labels(static_cast<std::size_t>(p.rows));
  for (std::int64_t& label : labels) label = stream.below(static_cast<std::uint32_t>(p.classes));
  return labels;
}

Function nll_loss_function(const Rows& p, Reduction reduction) {
  return [=](const std::vector<Tensor>& t) {
    return nll_loss(t[0], Tensor::from(labels_of(p), {p.rows}, t[0].device()), reduction);
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
}

TEST_CASE("log_softmax works on the last of any dimensions", "[log_softmax]") {
  const Tensor x = random({2, 3, 5});
  CHECK(same_bits(log_softmax(x).reshape({6, 5}), log_softmax(x.reshape({6, 5}))));
  CHECK(log_softmax(random({5})).shape() == Shape{5});
  CHECK(log_softmax(Tensor::zeros({0, 5})).shape() == Shape{0, 5});
}

TEST_CASE("log_softmax neither overflows nor loses what is small", "[log_softmax]") {
  const Tensor y = log_softmax(Tensor::from(std::vector<double>{1e6, 0, 1e6, -1e300}, {1, 4}));
  CHECK(std::abs(y.data<double>()[0] + std::log(2.0)) < 1e-15);
  CHECK(std::abs(y.data<double>()[1] + 1e6 + std::log(2.0)) < 1e-9);
  CHECK(y.data<double>()[3] == -1e300);
  // The maximum goes first: added to the logarithm, it would round it.
  const Tensor shifted = log_softmax(Tensor::from(std::vector<float>{4096, 4096, 4000}, {1, 3}));
  CHECK(std::abs(double(shifted.data<float>()[0]) + std::log(2.0)) < 1e-7);
  // A logit of minus infinity is a probability of 0.
  const Tensor z = log_softmax(Tensor::from(std::vector<double>{0, -inf}, {1, 2}));
  CHECK(z.to_vector<double>() == std::vector<double>{0, -inf});
}

TEST_CASE("log_softmax hands NaN on to its whole row, wherever it stands", "[log_softmax]") {
  const int column = GENERATE(0, 1, 2);
  std::vector<double> values = {1, 2, 3, 1, 2, 3};
  values[static_cast<std::size_t>(column)] = nan;
  const Tensor y = log_softmax(Tensor::from(values, {2, 3}));
  for (int i = 0; i < 6; ++i) CHECK(std::isnan(y.data<double>()[i]) == (i < 3));
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
  const Tensor x = random({p.rows, p.classes}), labels = Tensor::from(labels_of(p), {p.rows});
  CHECK(same_bits(nll_loss(x, labels.to(dtype)), nll_loss(x, labels)));
}

TEST_CASE("nll_loss of NaN is NaN", "[nll_loss]") {
  const Tensor x = Tensor::from(std::vector<double>{0, nan, 0, 0}, {2, 2});
  CHECK(std::isnan(nll_loss(x, Tensor::from(std::vector<std::int64_t>{1, 0}, {2})).item()));
  CHECK(nll_loss(x, Tensor::from(std::vector<std::int64_t>{0, 0}, {2})).item() == 0);
}

TEST_CASE("nll_loss says what does not fit", "[nll_loss][errors]") {
  const Tensor x = random({2, 3});
  const auto labels = [](std::vector<std::int64_t> values) {
    const std::int64_t count = static_cast<std::int64_t>(values.size());
    return Tensor::from(values, {count});
  };
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
  const Tensor x =
      Tensor::from(std::vector<float>{1, 3, 3, 0, 0, 0, -2, -3, -1, 0, float(nan), float(nan)}, {4, 3});
  for (const Device device : devices()) {
    CHECK(argmax(x.to(device)).to_vector<std::int64_t>() == std::vector<std::int64_t>{1, 0, 2, 1});
    CHECK(argmax(x.to(DType::float64).to(device)).to_vector<std::int64_t>() ==
          std::vector<std::int64_t>{1, 0, 2, 1});
  }
  CHECK(argmax(Tensor::zeros({0, 3})).shape() == Shape{0});
}

TEST_CASE("argmax says what does not fit", "[argmax][errors]") {
  check_error([] { argmax({}); }, {"argmax", "undefined"});
  check_error([] { argmax(Tensor::zeros({2, 3}, {.dtype = DType::int64})); }, {"argmax", "int64"});
  check_error([] { argmax(Tensor::zeros({3})); }, {"argmax", "[3]", "[rows, columns]"});
  check_error([] { argmax(Tensor::zeros({3, 0})); }, {"argmax", "[3, 0]", "at least one column"});
}

}  // namespace
}  // namespace kg
