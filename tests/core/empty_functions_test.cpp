// SPDX-License-Identifier: MIT
#include "support.h"

namespace kg {
namespace {

using namespace testing;

TEST_CASE("Whatever takes a function refuses one that is empty, and says so", "[errors]") {
  const Tensor x = Tensor::ones({2}, {.dtype = DType::float64}).set_requires_grad();
  check_error([] { nn::Functional{nullptr}; }, {"Functional", "empty"});
  check_error([] { nn::ForwardHook{nullptr}; }, {"ForwardHook", "empty"});
  CHECK(nn::ForwardHook::active() == nullptr);
  check_error([&] { record("square", Tensor::ones({2}), {x}, nullptr); }, {"square", "rule", "empty"});
  check_error([] { record("square", Tensor::ones({2}), {}, nullptr); }, {"square", "rule", "empty"});
  {
    const NoGrad no_grad;
    check_error([&] { record("square", Tensor::ones({2}), {x}, nullptr); }, {"square", "rule", "empty"});
  }
  check_error([&] { gradcheck(nullptr, {x}); }, {"gradcheck", "empty"});
  for (const std::int64_t count : {0, 1, 1000})
    check_error([&] { parallel_for(count, nullptr); }, {"parallel_for", "empty"});
  check_error([] { Graph{nullptr}; }, {"Graph", "empty"});
  check_error([] { write_file("not_written", nullptr); }, {"not_written", "empty"});
  CHECK(!std::filesystem::exists("not_written"));
}

TEST_CASE("An empty notice handler brings the first one back", "[errors]") {
  CHECK_NOTHROW(set_notice_handler(nullptr));
}

TEST_CASE("record wants an output", "[errors]") {
  const Tensor x = Tensor::ones({2}).set_requires_grad();
  const BackwardRule rule = [](const BackwardCall& call) { return std::vector<Tensor>{call.grad_output}; };
  check_error([&] { record("square", {}, {x}, rule); }, {"square", "output", "undefined"});
}

}  // namespace
}  // namespace kg
