// SPDX-License-Identifier: MIT
#include "dispatch/types.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;

constexpr DType every_dtype[] = {DType::float32, DType::float64, DType::uint8, DType::int32, DType::int64};

TEST_CASE("A dtype has a size and a name", "[tensor]") {
  CHECK(size_of(DType::uint8) == 1);
  CHECK(size_of(DType::float32) == 4);
  CHECK(size_of(DType::int32) == 4);
  CHECK(size_of(DType::float64) == 8);
  CHECK(size_of(DType::int64) == 8);
  CHECK(name_of(DType::float32) == "float32");
  CHECK(name_of(DType::int64) == "int64");
  CHECK(is_floating_point(DType::float64));
  CHECK(!is_floating_point(DType::uint8));
  static_assert(dtype_of<float>() == DType::float32 && dtype_of<double>() == DType::float64);
  static_assert(dtype_of<std::uint8_t>() == DType::uint8 && dtype_of<std::int32_t>() == DType::int32);
  static_assert(dtype_of<std::int64_t>() == DType::int64);
}

TEST_CASE("Tensors are made with the elements asked for", "[tensor]") {
  for (const Device device : devices())
    for (const DType dtype : every_dtype) {
      INFO(device.name() << ", " << name_of(dtype));
      const TensorOptions options{.dtype = dtype, .device = device};
      CHECK(to_doubles(Tensor::zeros({2, 3}, options)) == std::vector<double>(6, 0));
      CHECK(to_doubles(Tensor::ones({2, 3}, options)) == std::vector<double>(6, 1));
      CHECK(to_doubles(Tensor::full({3}, 7, options)) == std::vector<double>(3, 7));
      const Tensor x = Tensor::empty({4, 0, 2}, options);
      CHECK(x.shape() == Shape{4, 0, 2});
      CHECK(x.numel() == 0);
      CHECK(x.dtype() == dtype);
      CHECK(x.device() == device);
    }
  CHECK(Tensor::zeros({1}).dtype() == DType::float32);
}

TEST_CASE("from copies its values", "[tensor]") {
  std::vector<std::int32_t> values = {1, 2, 3, 4, 5, 6};
  const Tensor x = Tensor::from(values, {2, 3});
  values[0] = 9;
  CHECK(x.to_vector<std::int32_t>() == std::vector<std::int32_t>{1, 2, 3, 4, 5, 6});
  CHECK(x.dim() == 2);
  CHECK(x.size(0) == 2);
  CHECK(x.size(-1) == 3);
  CHECK(x.bytes().size() == 24);
  CHECK(x.span<std::int32_t>().size() == 6);
  check_error(
      [] {
        Tensor::from(std::vector<float>(5), {2, 3});
      },
      {"Tensor::from", "5 values", "[2, 3]", "6"});
  check_error([] { Tensor::from_bytes({}, {1}, {}); }, {"Tensor::from", "0 values", "expects 1"});
}

TEST_CASE("to_string and numel of shapes", "[tensor]") {
  CHECK(to_string(Shape{128, 1, 28, 28}) == "[128, 1, 28, 28]");
  CHECK(to_string(Shape{}) == "[]");
  CHECK(numel(Shape{}) == 1);
  CHECK(numel(Shape{3, 0, 5}) == 0);
}

TEST_CASE("Shapes that no memory can hold are refused", "[tensor][errors]") {
  const std::int64_t huge = std::int64_t{1} << 40;
  check_error([] { Tensor::zeros({2, -1}); }, {"[2, -1]", "negative"});
  check_error([=] { Tensor::empty({huge, huge}); }, {"more elements than memory can hold"});
  // 2^61 elements can be counted, their 2^64 bytes cannot.
  check_error([] { Tensor::empty({std::int64_t{1} << 61}, {.dtype = DType::float64}); },
              {"[2305843009213693952]", "memory"});
  check_error([] { Tensor::from_bytes({}, {std::int64_t{1} << 61}, {.dtype = DType::float64}); }, {"memory"});
}

TEST_CASE("Copies of a handle refer to the same elements, clones do not", "[tensor]") {
  Tensor x = random({3});
  Tensor copy = x, clone = x.clone();
  x.data<double>()[0] = 42;
  CHECK(copy.data<double>()[0] == 42);
  CHECK(clone.data<double>()[0] != 42);
  CHECK(!clone.set_requires_grad().clone().requires_grad());
}

TEST_CASE("copy_from overwrites elements, under the same shape and dtype", "[tensor]") {
  Tensor x = Tensor::zeros({2, 2});
  x.copy_from(Tensor::ones({2, 2}));
  CHECK(to_doubles(x) == std::vector<double>(4, 1));
  check_error([&] { x.copy_from(Tensor::ones({4})); }, {"copy_from", "[4]", "[2, 2]"});
  check_error(
      [&] {
        x.copy_from(Tensor::ones({2, 2}, {.dtype = DType::float64}));
      },
      {"copy_from", "float64", "float32"});
  check_error([&] { x.copy_from({}); }, {"undefined"});
  check_error([] { Tensor().copy_from(Tensor::ones({1})); }, {"undefined"});
}

TEST_CASE("set_data moves every handle to other elements and drops the gradient", "[tensor]") {
  Tensor x = Tensor::zeros({2}).set_requires_grad();
  const Tensor handle = x;
  sum(x).backward();
  x.set_data(Tensor::from(std::vector<double>{1, 2}, {2}));
  CHECK(handle.to_vector<double>() == std::vector<double>{1, 2});
  CHECK(handle.requires_grad());
  CHECK(!handle.grad().defined());
  check_error([&] { x.set_data(Tensor::zeros({3})); }, {"set_data", "[3]", "[2]"});
  check_error([&] { (x * 2).set_data(Tensor::zeros({2})); }, {"set_data", "mul"});
}

TEST_CASE("Conversion keeps values that both dtypes can hold", "[tensor]") {
  for (const DType from : every_dtype)
    for (const DType to : every_dtype) {
      const Tensor x = Tensor::from(std::vector<double>{0, 1, 7, 100, 255}, {5}).to(from);
      CHECK(x.to(to).dtype() == to);
      CHECK(to_doubles(x.to(to)) == std::vector<double>{0, 1, 7, 100, 255});
    }
  const Tensor x = random({3});
  CHECK(x.to(DType::float64).data<double>() == x.data<double>());
  CHECK(x.to(Device::cpu()).data<double>() == x.data<double>());
}

TEST_CASE("A backward rule that finds no memory is an error with the operation's name", "[tensor][errors]") {
  const Tensor x = Tensor::ones({1}).set_requires_grad();
  const Tensor y = record("softplus", x.clone(), {x},
                          [](const BackwardCall&) -> std::vector<Tensor> { throw std::bad_alloc(); });
  check_error([&] { y.backward(); }, {"softplus: no memory"});
}

TEST_CASE("What an integer type cannot hold is refused", "[tensor][errors]") {
  const auto full = [](double value, DType dtype) { return Tensor::full({2}, value, {.dtype = dtype}); };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double value : {-1., 256., 1e300, nan})
    check_error([&] { full(value, DType::uint8); }, {"Tensor::full", "does not fit into uint8"});
  CHECK(full(255.9, DType::uint8).to_vector<std::uint8_t>() == std::vector<std::uint8_t>(2, 255));
  CHECK(full(-0.9, DType::uint8).to_vector<std::uint8_t>() == std::vector<std::uint8_t>(2, 0));
  CHECK(full(-0x1p63, DType::int64).to_vector<std::int64_t>() ==
        std::vector<std::int64_t>(2, std::numeric_limits<std::int64_t>::min()));
  check_error([&] { full(0x1p63, DType::int64); }, {"Tensor::full", "int64"});
  for (const double value : {0x1p31, -0x1p31 - 1, nan})
    check_error([&] { full(value, DType::float64).to(DType::int32); },
                {"Tensor::to", "does not fit into int32"});
  CHECK(full(-0x1p31, DType::float32).to(DType::int32).to_vector<std::int32_t>() ==
        std::vector<std::int32_t>(2, std::numeric_limits<std::int32_t>::min()));
}

TEST_CASE("to is differentiable between floating-point types and devices, whatever the tensor has already",
          "[tensor]") {
  for (const DType from : {DType::float32, DType::float64})
    for (const DType to : {DType::float32, DType::float64})
      for (const Device here : devices())
        for (const Device there : devices()) {
          INFO(name_of(from) << " on " << here.name() << " to " << name_of(to) << " on " << there.name());
          Tensor x = random({3}, from, 1, here).set_requires_grad();
          const Tensor y = (x * 2).to(to).to(there);
          CHECK(y.dtype() == to);
          CHECK(y.device() == there);
          CHECK(y.requires_grad());
          y.backward(Tensor::from(std::vector<double>{1, 2, 3}, {3}).to(to).to(there));
          CHECK(x.grad().dtype() == from);
          CHECK(x.grad().device() == here);
          CHECK(to_doubles(x.grad()) == std::vector<double>{2, 4, 6});
          const NoGrad no_grad;
          CHECK(!(x * 2).to(to).to(there).requires_grad());
        }
}

TEST_CASE("to of a leaf leads back to the leaf", "[tensor]") {
  Tensor x = random({3}).set_requires_grad();
  for (const Tensor& y : {x.to(DType::float64), x.to(DType::float32)}) {
    x.set_grad({});
    sum(y).backward();
    CHECK(to_doubles(x.grad()) == std::vector<double>(3, 1));
  }
  CHECK(x.to(DType::float32).grad_fn_name() == "to");
}

TEST_CASE("to an integer type leaves the graph", "[tensor]") {
  const Tensor x = Tensor::full({3}, 7).set_requires_grad();
  for (const DType dtype : {DType::uint8, DType::int32, DType::int64})
    for (const Tensor& tensor : {x, x * 2}) {
      const Tensor y = tensor.to(dtype);
      CHECK(!y.requires_grad());
      CHECK(y.is_leaf());
    }
}

TEST_CASE("item gives the only element of any dtype", "[tensor]") {
  for (const DType dtype : every_dtype) CHECK(Tensor::full({1, 1}, 5, {.dtype = dtype}).item() == 5);
  check_error([] { Tensor::zeros({2}).item(); }, {"Tensor::item", "[2]", "one element"});
  check_error([] { Tensor::zeros({0}).item(); }, {"Tensor::item", "[0]"});
}

TEST_CASE("Elements are handed out under their own type only", "[tensor][errors]") {
  Tensor x = Tensor::zeros({2});
  check_error([&] { x.data<double>(); }, {"Tensor::data", "float64", "float32"});
  check_error([&] { x.span<std::uint8_t>(); }, {"Tensor::data", "uint8", "float32"});
  check_error([&] { x.to_vector<std::int64_t>(); }, {"Tensor::to_vector", "int64", "float32"});
  check_error([&] { x.size(1); }, {"Tensor::size", "dimension 1", "[2]"});
  check_error([&] { x.size(-2); }, {"Tensor::size", "dimension -2", "[2]"});
}

TEST_CASE("An undefined tensor says that it is", "[tensor][errors]") {
  const Tensor none;
  CHECK(!none.defined());
  check_error([&] { none.shape(); }, {"undefined"});
  check_error([&] { none.dtype(); }, {"undefined"});
  check_error([&] { none.device(); }, {"undefined"});
  check_error([&] { none.data<float>(); }, {"undefined"});
  check_error([&] { none.to_vector<float>(); }, {"undefined"});
  check_error([&] { none.bytes(); }, {"undefined"});
  check_error([&] { none.item(); }, {"undefined"});
  check_error([&] { none.clone(); }, {"undefined"});
  check_error([&] { none.detach(); }, {"undefined"});
  check_error([&] { none.to(DType::float64); }, {"undefined"});
  check_error([&] { none.to(Device::cpu()); }, {"undefined"});
  check_error([&] { none.requires_grad(); }, {"undefined"});
  check_error([&] { none.grad(); }, {"undefined"});
  check_error([&] { Tensor::zeros({1}).set_data(none); }, {"undefined"});
}

TEST_CASE("Memory is aligned to 64 bytes", "[tensor]") {
  for (const std::int64_t count : {0, 1, 7, 1000})
    CHECK(reinterpret_cast<std::uintptr_t>(Tensor::empty({count}).data<float>()) % 64 == 0);
}

TEST_CASE("device_data is where the elements lie, on any device", "[tensor][errors]") {
  for (const Device device : devices()) {
    INFO(device.name());
    Tensor x = random({2, 3}, DType::float32, 1, device);
    const Tensor same = x.detach(), other = x.clone();
    CHECK(x.device_data<float>() == same.device_data<float>());
    CHECK(x.device_data<float>() != other.device_data<float>());
    if (device.is_cpu()) CHECK(x.device_data<float>() == x.data<float>());
    check_error([&] { x.device_data<double>(); }, {"float64", "float32"});
  }
}

}  // namespace
}  // namespace kg
