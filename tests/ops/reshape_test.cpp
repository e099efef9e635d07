// SPDX-License-Identifier: MIT
#include <limits>

#include "support.h"

namespace kg {
namespace {

using namespace testing;

TEST_CASE("reshape keeps the elements in order and infers one extent", "[reshape]") {
  const Tensor x = random({2, 3, 4});
  for (const Shape& shape : {Shape{24}, Shape{4, 6}, Shape{1, 24, 1}, Shape{2, 3, 4}}) {
    CHECK(x.reshape(shape).shape() == shape);
    CHECK(to_doubles(x.reshape(shape)) == to_doubles(x));
  }
  CHECK(reshape(x, {-1}).shape() == Shape{24});
  CHECK(reshape(x, {6, -1}).shape() == Shape{6, 4});
  CHECK(reshape(x, {4, -1, 2}).shape() == Shape{4, 3, 2});
  CHECK(reshape(random({1}), {}).shape() == Shape{});
  CHECK(reshape(Tensor::zeros({0, 3}), {3, 0}).shape() == Shape{3, 0});
  CHECK(reshape(Tensor::zeros({0, 3}), {3, -1}).shape() == Shape{3, 0});
  constexpr std::int64_t large = std::numeric_limits<std::int64_t>::max();
  CHECK(reshape(Tensor::zeros({0, 3}), {3, large, -1}).shape() == Shape{3, large, 0});
  CHECK(reshape(Tensor::zeros({2, 3}, {.dtype = DType::int64}), {3, 2}).dtype() == DType::int64);
}

TEST_CASE("reshape refers to the same elements", "[reshape]") {
  Tensor x = Tensor::zeros({2, 3});
  x.reshape({6}).data<float>()[4] = 7;
  CHECK(x.data<float>()[4] == 7);
}

TEST_CASE("reshape and flatten pass the gradient check", "[reshape][gradcheck]") {
  const Tensor x = random({2, 3, 4});
  check_gradients(
      [](const std::vector<Tensor>& t) {
        return reshape(t[0], {4, -1}) * reshape(t[0], {4, 6});
      },
      {x});
  check_gradients([](const std::vector<Tensor>& t) { return flatten(t[0], 1); }, {x});
}

TEST_CASE("flatten merges the dimensions from start_dim on", "[reshape]") {
  const Tensor x = random({2, 3, 4, 5});
  CHECK(flatten(x).shape() == Shape{120});
  CHECK(flatten(x, 1).shape() == Shape{2, 60});
  CHECK(flatten(x, -2).shape() == Shape{2, 3, 20});
  CHECK(flatten(x, 3).shape() == x.shape());
  CHECK(to_doubles(flatten(x, 1)) == to_doubles(x));
  for (const int start_dim : {0, -1}) CHECK(flatten(random({}), start_dim).shape() == Shape{1});
  CHECK(flatten(Tensor::zeros({0, 3, 2}), 1).shape() == Shape{0, 6});
}

TEST_CASE("reshape and flatten say what does not fit", "[reshape][errors]") {
  const Tensor x = random({2, 3});
  check_error([&] { reshape({}, {1}); }, {"undefined"});
  check_error([&] { reshape(x, {4}); }, {"reshape", "[4]", "6 elements", "[2, 3]"});
  check_error([&] { reshape(x, {4, -1}); }, {"reshape", "6 elements", "[2, 3]"});
  check_error([&] { reshape(x, {-1, -1}); }, {"reshape", "more than one -1"});
  check_error([&] { reshape(x, {0, -1}); }, {"reshape", "6 elements"});
  check_error([&] { reshape(x, {-1, 2, -1}); }, {"reshape", "more than one -1"});
  for (const Shape& shape : {Shape{0, -1}, Shape{-1, 0}, Shape{3, 0, -1}})
    check_error(
        [&] {
          reshape(Tensor::zeros({0, 3}), shape);
        },
        {"reshape", "any -1", to_string(shape).c_str()});
  check_error([&] { reshape(x, {-2, -3}); }, {"[-2, -3]", "does not hold the 6 elements"});
  check_error(
      [&] {
        reshape(x, {std::int64_t{1} << 40, std::int64_t{1} << 40});
      },
      {"reshape", "does not hold the 6 elements"});
  check_error([&] { reshape(x, {std::int64_t{1} << 40, std::int64_t{1} << 40, -1}); }, {"reshape"});
  check_error([&] { flatten(x, 2); }, {"flatten", "start_dim = 2", "[2, 3]"});
  check_error([&] { flatten(x, -3); }, {"flatten", "start_dim = -3"});
  for (const int start_dim : {1, -2})
    check_error([&] { flatten(random({}), start_dim); }, {"flatten", "start_dim = ", "[]"});
  check_error([&] { flatten({}); }, {"undefined"});
}

}  // namespace
}  // namespace kg
