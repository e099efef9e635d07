// SPDX-License-Identifier: MIT
#include "dispatch/kernels.h"

#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "support.h"

namespace kg {

namespace {

using namespace testing;

/// Policies for a test, and what is said meanwhile; afterwards all is as at the program's start.
class Policies {
 public:
  explicit Policies(std::string_view text) {
    set_notice_handler([this](const std::string& message) { notices.push_back(message); });
    set_kernel_policy(text);
  }
  ~Policies() {
    set_cudnn_options({});
    set_kernel_policy(KernelPolicy::native);
    set_notice_handler({});
  }

  std::vector<std::string> notices;
};

/// What one of the two implementations does when it is called, and when the call is rehearsed.
struct Behaviour {
  std::function<void()> run, rehearse;
};

Behaviour does(std::vector<std::string>& log, const std::string& name) {
  return {[&log, name] { log.push_back(name); }, [&log, name] { log.push_back(name + " rehearsed"); }};
}

Behaviour cannot(const std::string& why) {
  const auto refuse = [why] { throw kernels::Unsupported(why); };
  return {refuse, refuse};
}

/// A call whose problem is a number: "conv2d forward of <problem>".
dispatch::KernelCall call(std::int64_t problem, std::string_view function = "forward",
                          DType dtype = DType::float32, std::string_view operation = "conv2d") {
  return {
      operation, function, {.dtype = dtype, .device = Device::cuda()}, Description().extents("", {problem})};
}

Backend call_by_policy(const dispatch::KernelCall& call, const Behaviour& native, const Behaviour& cudnn) {
  const auto of = [&](Backend backend) -> const Behaviour& {
    return backend == Backend::cudnn ? cudnn : native;
  };
  return run_by_policy(
      call, [&](Backend backend) { of(backend).run(); }, [&](Backend backend) { of(backend).rehearse(); });
}

const BackendChoice* find_choice(const std::vector<BackendChoice>& choices, const std::string& operation) {
  const auto found = std::ranges::find(choices, operation, &BackendChoice::operation);
  return found == choices.end() ? nullptr : &*found;
}

Tensor convolved(const std::vector<Tensor>& t) { return conv2d(t[0], t[1], {.padding = 1}); }

Tensor pooled(const std::vector<Tensor>& t) { return max_pool2d(t[0], 3, {.stride = 2, .padding = 1}); }

/// Small enough for many repetitions.
std::vector<Tensor> to_be_convolved() {
  return {random({2, 3, 7, 5}, DType::float32, 1, Device::cuda()),
          random({4, 3, 3, 3}, DType::float32, 2, Device::cuda())};
}

Run small_convolution() { return run(convolved, requiring(to_be_convolved())); }

/// What the CPU, which has no choice, gives in float64.
ExpectedRun on_cpu(const Function& function, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> moved;
  for (const Tensor& input : inputs) moved.push_back(input.to(Device::cpu()).to(DType::float64));
  return expected_run(function, requiring(moved));
}

void check_run(const Run& actual, const ExpectedRun& expected) {
  constexpr double tolerance = 1e-6;
  CHECK(difference(actual.output, expected.output, tolerance) == "");
  for (std::size_t i = 0; i < actual.gradients.size(); ++i)
    CHECK(difference(actual.gradients[i], expected.gradients[i], tolerance) == "");
}

}  // namespace

TEST_CASE("A policy is set for all operations, for some, or for one", "[backend]") {
  CHECK(kernel_policy("conv2d") == KernelPolicy::native);
  const Policies policies("fastest");
  for (const std::string_view operation : operations_with_a_choice())
    CHECK(kernel_policy(operation) == KernelPolicy::fastest);
  set_kernel_policy("conv2d=native,linear=native");
  CHECK(kernel_policy("conv2d") == KernelPolicy::native);
  CHECK(kernel_policy("linear") == KernelPolicy::native);
  CHECK(kernel_policy("batch_norm") == KernelPolicy::fastest);
  set_kernel_policy("linear", KernelPolicy::fastest);
  CHECK(kernel_policy("linear") == KernelPolicy::fastest);
  set_kernel_policy(KernelPolicy::native);
  CHECK(kernel_policy("batch_norm") == KernelPolicy::native);
}

TEST_CASE("A policy that there is not is refused and changes nothing", "[backend][errors]") {
  const Policies policies("fastest");
  check_error([] { set_kernel_policy("quickest"); }, {"\"quickest\"", "native, cudnn, fastest"});
  check_error([] { set_kernel_policy(""); }, {"\"\"", "native, cudnn, fastest"});
  check_error([] { set_kernel_policy("conv=native"); }, {"operation", "\"conv\"", "conv2d", "max_pool2d"});
  check_error([] { set_kernel_policy("conv2d=native,linear"); }, {"policy", "\"\""});
  check_error([] { set_kernel_policy("conv2d=native,linear=1"); }, {"policy", "\"1\""});
  check_error([] { kernel_policy("relu"); }, {"operation", "\"relu\""});
  CHECK(kernel_policy("conv2d") == KernelPolicy::fastest);
}

TEST_CASE("cudnn is refused where it cannot be loaded", "[backend][errors]") {
  if (cudnn_is_available()) {
    CHECK(cudnn_unavailable_reason() == "");
    CHECK(cudnn_version().find("cuDNN 9.") == 0);
    return;
  }
  check_error([] { set_kernel_policy("cudnn"); }, {"cudnn", cudnn_unavailable_reason().c_str()});
  check_error([] { set_kernel_policy("conv2d=cudnn"); }, {"cudnn", cudnn_unavailable_reason().c_str()});
  check_error([] { cudnn_version(); }, {cudnn_unavailable_reason().c_str()});
}

TEST_CASE("A call that the policy's implementation does not take goes to the other, and says so once",
          "[backend]") {
  Policies policies("native");
  std::vector<std::string> log;
  if (!cudnn_is_available()) {
    check_error([&] { call_by_policy(call(5), cannot("too large"), does(log, "cudnn")); }, {"too large"});
    CHECK(log.empty());
    return;
  }
  for (int i = 0; i < 2; ++i)
    CHECK(call_by_policy(call(5), cannot("too large"), does(log, "cudnn")) == Backend::cudnn);
  CHECK(log == std::vector<std::string>{"cudnn", "cudnn"});
  REQUIRE(policies.notices.size() == 1);
  CHECK(policies.notices[0] == "conv2d forward of 5 (float32): cudnn runs: too large");
  REQUIRE(backend_choices().size() == 1);
  CHECK(backend_choices()[0].backend == Backend::cudnn);
  CHECK(backend_choices()[0].reason == "too large");

  // Nobody can: the error says why the second could not.
  check_error([&] { call_by_policy(call(6), cannot("too large"), cannot("not loaded")); }, {"not loaded"});
  CHECK(backend_choices().size() == 1);
}

TEST_CASE("What was said once is not said again, even when choices were forgotten", "[backend]") {
  if (!cudnn_is_available()) return;
  Policies policies("native");
  std::vector<std::string> log;
  for (int i = 0; i < 2; ++i) {
    call_by_policy(call(7), cannot("too large"), does(log, "cudnn"));
    CHECK(backend_choices().size() == 1);
    forget_backend_choices();
  }
  CHECK(log.size() == 2);
  CHECK(policies.notices.size() == 1);
  call_by_policy(call(7), cannot("too small"), does(log, "cudnn"));
  CHECK(policies.notices.size() == 2);
}

TEST_CASE("Without cuDNN, policy fastest runs our own kernels, times nothing, and says why once",
          "[backend]") {
  if (cudnn_is_available()) return;
  const Policies policies("fastest");
  std::vector<std::string> log;
  for (const int problem : {5, 5, 6})
    CHECK(call_by_policy(call(problem), does(log, "native"), does(log, "cudnn")) == Backend::native);
  CHECK(log == std::vector<std::string>(3, "native"));
  CHECK(policies.notices ==
        std::vector<std::string>{"kernel policy fastest: native runs: " + cudnn_unavailable_reason()});
  REQUIRE(backend_choices().size() == 2);
  CHECK(backend_choices()[0].backend == Backend::native);
  CHECK(backend_choices()[0].reason == cudnn_unavailable_reason());
  CHECK(backend_choices()[0].native_microseconds == 0);
}

TEST_CASE("Without cuDNN, no policy asks for it, and none that did before is changed", "[backend][errors]") {
  if (cudnn_is_available()) return;
  const Policies policies("linear=fastest");
  for (const char* text : {"cudnn", "conv2d=cudnn", "linear=native,conv2d=cudnn"})
    check_error([&] { set_kernel_policy(text); },
                {"kernel policy: cudnn: ", cudnn_unavailable_reason().c_str()});
  check_error([] { set_kernel_policy(KernelPolicy::cudnn); }, {cudnn_unavailable_reason().c_str()});
  check_error([] { set_kernel_policy("conv2d", KernelPolicy::cudnn); }, {cudnn_unavailable_reason().c_str()});
  CHECK(kernel_policy("linear") == KernelPolicy::fastest);
  CHECK(kernel_policy("conv2d") == KernelPolicy::native);
  std::vector<std::string> log;
  CHECK(call_by_policy(call(9), does(log, "native"), does(log, "cudnn")) == Backend::native);
  CHECK(log == std::vector<std::string>{"native"});
}

/// Rehearsals that take so many milliseconds in each of the three rounds of calls, after a first call.
Behaviour takes(const std::array<int, 3>& milliseconds) {
  return {[] {},
          [milliseconds, calls = 0]() mutable {
            const int round = calls++ == 0 ? 0 : (calls - 2) / 20;
            if (calls > 1)
              std::this_thread::sleep_for(
                  std::chrono::milliseconds(milliseconds.at(static_cast<std::size_t>(round))));
          }};
}

TEST_CASE("Policy fastest compares medians: one round more or less does not decide", "[backend]") {
  if (!cuda_is_available() || !cudnn_is_available()) return;
  const Policies policies("fastest");
  const std::array<int, 3> mostly_fast = {0, 5, 0}, mostly_slow = {5, 0, 5}, between = {2, 2, 2};
  CHECK(call_by_policy(call(101), takes(mostly_fast), takes(between)) == Backend::native);
  CHECK(call_by_policy(call(102), takes(mostly_slow), takes(between)) == Backend::cudnn);
  CHECK(call_by_policy(call(103), takes(between), takes(mostly_fast)) == Backend::cudnn);
  CHECK(call_by_policy(call(104), takes(between), takes(mostly_slow)) == Backend::native);
  CHECK(backend_choices()[1].native_microseconds > 5000);
  CHECK(backend_choices()[1].cudnn_microseconds > 2000);
}

TEST_CASE("Policy fastest times nothing where only one can", "[backend]") {
  if (!cuda_is_available() || !cudnn_is_available()) return;
  const Policies policies("fastest");
  std::vector<std::string> log;
  CHECK(call_by_policy(call(10), does(log, "native"), cannot("no such plan")) == Backend::native);
  CHECK(log == std::vector<std::string>{"native"});
  log.clear();
  CHECK(call_by_policy(call(11), cannot("too large"), does(log, "cudnn")) == Backend::cudnn);
  CHECK(log == std::vector<std::string>{"cudnn rehearsed", "cudnn"});
  CHECK(policies.notices ==
        std::vector<std::string>{"conv2d forward of 10 (float32): native runs: no such plan",
                                 "conv2d forward of 11 (float32): cudnn runs: too large"});
}

TEST_CASE("Another problem, dtype or function is another choice", "[backend]") {
  const Policies policies("native");
  std::vector<std::string> log;
  const auto run = [&](const dispatch::KernelCall& call) {
    call_by_policy(call, does(log, "native"), does(log, "cudnn"));
  };
  run(call(5));
  run(call(6));
  run(call(5, "forward", DType::float64));
  run(call(5, "backward_input"));
  run(call(5, "forward", DType::float32, "linear"));
  run(call(5));
  CHECK(backend_choices().size() == 5);
  CHECK(backend_choices()[4].operation == "linear forward");
  set_kernel_policy("linear", KernelPolicy::native);
  CHECK(backend_choices().empty());
}

TEST_CASE("What runs is listed, with the kernel, whatever the policy", "[backend]") {
  const Policies policies("native");
  for (const Device device : {Device::cpu(), Device::cuda()}) {
    if (device.is_cuda() && !cuda_is_available()) continue;
    INFO(device.name());
    forget_backend_choices();
    run(convolved, requiring({random({2, 3, 7, 5}, DType::float32, 1, device),
                              random({4, 3, 3, 3}, DType::float32, 2, device)}));
    const std::vector<BackendChoice> choices = backend_choices();
    std::vector<const char*> operations = {"conv2d forward", "conv2d backward_input",
                                           "conv2d backward_weight"};
    if (device.is_cpu()) operations = {"conv2d forward", "conv2d backward"};
    for (const char* operation : operations) {
      INFO(operation);
      const BackendChoice* const choice = find_choice(choices, operation);
      REQUIRE(choice);
      CHECK(choice->problem == "2x3x7x5, weight 4x3x3x3 padding 1x1");
      CHECK(choice->device == device);
      CHECK(choice->backend == Backend::native);
      CHECK(choice->variant != "");
      CHECK(choice->reason == (device.is_cuda() ? "asked for" : "the only one"));
    }
  }
}

TEST_CASE("Of problems without a choice so many are remembered, and no more", "[backend]") {
  const Policies policies("native");
  std::vector<std::string> log;
  for (std::int64_t problem = 0; problem < 10'100; ++problem)
    call_by_policy(call(problem), does(log, "native"), does(log, "cudnn"));
  CHECK(log.size() == 10'100);
  CHECK(backend_choices().size() == 10'000);
}

TEST_CASE("Policy cudnn runs cuDNN", "[backend]") {
  if (!cuda_is_available() || !cudnn_is_available()) return;
  const ExpectedRun expected = on_cpu(convolved, to_be_convolved());
  const Policies policies("cudnn");
  check_run(small_convolution(), expected);
  const std::vector<BackendChoice> choices = backend_choices();
  CHECK(choices.size() == 3);
  for (const char* operation : {"conv2d forward", "conv2d backward_input", "conv2d backward_weight"}) {
    const BackendChoice* const choice = find_choice(choices, operation);
    INFO(operation);
    REQUIRE(choice);
    CHECK(choice->backend == Backend::cudnn);
    CHECK(choice->problem == "2x3x7x5, weight 4x3x3x3 padding 1x1");
    CHECK(choice->reason == "asked for");
    CHECK(choice->cudnn_microseconds == 0);
  }
  small_convolution();
  CHECK(backend_choices().size() == 3);
  CHECK(policies.notices.empty());
  set_cudnn_options({.allow_tf32 = true});
  CHECK(cudnn_options().allow_tf32);
  CHECK(backend_choices().empty());
}

TEST_CASE("What cuDNN does not take runs native, with its result", "[backend]") {
  if (!cuda_is_available() || !cudnn_is_available()) return;
  const Tensor input = random({1, 2, 1, 1100}, DType::float32, 1, Device::cuda());
  const auto long_windows = [&] {
    return run([](const std::vector<Tensor>& t) { return avg_pool2d(t[0], {1, 1100}); }, requiring({input}));
  };
  const Run native = long_windows();
  const Policies policies("cudnn");
  const Run refused = long_windows();
  CHECK(same_bits(refused.output, native.output));
  CHECK(same_bits(refused.gradients[0], native.gradients[0]));
  CHECK(policies.notices.size() == 2);
  CHECK(backend_choices().size() == 2);
  for (const BackendChoice& choice : backend_choices()) CHECK(choice.backend == Backend::native);
}

TEST_CASE("Policy fastest times both, remembers, and gives the result of one of them", "[backend]") {
  if (!cuda_is_available() || !cudnn_is_available()) return;
  const ExpectedRun expected = on_cpu(convolved, to_be_convolved());
  const Policies policies("conv2d=fastest");
  check_run(small_convolution(), expected);
  const std::vector<BackendChoice> choices = backend_choices();
  REQUIRE(choices.size() == 3);
  for (const BackendChoice& choice : choices) {
    INFO(choice.operation);
    CHECK(choice.native_microseconds > 0);
    CHECK(choice.cudnn_microseconds > 0);
    CHECK((choice.backend == Backend::cudnn) == (choice.cudnn_microseconds < choice.native_microseconds));
    CHECK(choice.reason == "faster");
  }
  small_convolution();
  CHECK(backend_choices()[0].native_microseconds == choices[0].native_microseconds);
  const std::string table = backend_choices_table();
  CHECK(table.find("conv2d backward_weight") != table.npos);
  CHECK(std::ranges::count(table, '\n') == 4);
}

TEST_CASE("Timing batch_norm moves the running statistics once", "[backend]") {
  if (!cuda_is_available() || !cudnn_is_available()) return;
  // running_mean, running_var, num_batches_tracked
  const auto statistics_after_a_step = [](std::uint32_t seed = 0) {
    nn::BatchNorm2d layer(3);
    layer.to(Device::cuda());
    layer(jittered(random({4, 3, 5, 5}, DType::float32, 1, Device::cuda()), seed));
    std::vector<Tensor> statistics;
    for (const nn::NamedTensor& tensor : layer.state_dict())
      if (!tensor.tensor.requires_grad()) statistics.push_back(tensor.tensor);
    return statistics;
  };
  const std::vector<Tensor> native = statistics_after_a_step(), first = statistics_after_a_step(1),
                            second = statistics_after_a_step(2);
  const Policies policies("fastest");
  const std::vector<Tensor> fastest = statistics_after_a_step();
  REQUIRE(native.size() == 3);
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(difference(fastest.at(i), with_terms(native[i], {first[i], second[i]}), 1e-6) == "");
}

TEST_CASE("max_pool2d goes forward and back by the same implementation", "[backend]") {
  if (!cuda_is_available() || !cudnn_is_available()) return;
  const std::vector<Tensor> inputs = {distinct({2, 3, 7, 6}, DType::float32, 1, Device::cuda())};
  const Run native = run(pooled, requiring(inputs));
  const ExpectedRun expected = on_cpu(pooled, inputs);
  for (const char* policy : {"cudnn", "fastest"}) {
    INFO(policy);
    const Policies policies(policy);
    const Run other = run(pooled, requiring(inputs));
    CHECK(same_bits(other.output, native.output));
    check_run(other, expected);
    REQUIRE(backend_choices().size() == 1);
    CHECK(backend_choices()[0].operation == "max_pool2d forward and backward");
  }
}

TEST_CASE("Nothing is timed while work is being recorded", "[backend]") {
  if (!cuda_is_available() || !cudnn_is_available()) return;
  const Policies policies("fastest");
  const Tensor input = random({2, 3, 7, 5}, DType::float32, 1, Device::cuda());
  const Tensor weight = random({4, 3, 3, 3}, DType::float32, 2, Device::cuda());
  const auto work = [&] { conv2d(input, weight, {.padding = 1}); };
  Graph(work).replay();
  REQUIRE(policies.notices.size() == 1);
  CHECK(policies.notices[0].find("conv2d forward of 2x3x7x5") == 0);
  CHECK(policies.notices[0].find("native runs") != std::string::npos);
  CHECK(backend_choices().empty());
  work();
  CHECK(backend_choices().size() == 1);
  Graph(work).replay();
  CHECK(policies.notices.size() == 1);
}

// Run by itself, with the variable set.
TEST_CASE("The environment sets policies, and code has the last word", "[.environment]") {
  REQUIRE(std::string(std::getenv("KERNELGRAD_KERNELS")) == "conv2d=fastest,max_pool2d=fastest");
  CHECK(kernel_policy("conv2d") == KernelPolicy::fastest);
  CHECK(kernel_policy("max_pool2d") == KernelPolicy::fastest);
  CHECK(kernel_policy("linear") == KernelPolicy::native);
  set_kernel_policy("conv2d=native");
  CHECK(kernel_policy("conv2d") == KernelPolicy::native);
  CHECK(kernel_policy("max_pool2d") == KernelPolicy::fastest);
}

// Likewise.
TEST_CASE("A variable with no policy in it is an error that names it", "[.bad_environment]") {
  for (int i = 0; i < 2; ++i)
    check_error([] { kernel_policy("conv2d"); }, {"KERNELGRAD_KERNELS=conv2d=best", "\"best\"", "fastest"});
}

}  // namespace kg
