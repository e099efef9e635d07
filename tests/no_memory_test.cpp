// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstdlib>
#include <new>

#include "support.h"
#include "thread_count.h"

/// Every allocation of a piece of work fails once, in turn, and then every one from there on: each time it
/// ends with a kg::Error, and the library works as before.

namespace {

/// Allocations until one fails; none fails while it is negative.
std::atomic<std::int64_t> countdown = -1;
std::atomic<bool> failing_goes_on = false, failed = false;

bool fails() {
  std::int64_t left = countdown;
  while (left > 0)
    if (countdown.compare_exchange_weak(left, left - 1)) return false;
  if (left < 0) return false;
  if (!failing_goes_on) countdown = -1;
  return failed = true;
}

}  // namespace

// Out of line: inlined, malloc() seems to GCC to be freed by the wrong function.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* const memory = fails() ? nullptr : std::malloc(bytes > 0 ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return fails() ? nullptr : std::malloc(bytes > 0 ? bytes : 1);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace kg {
namespace {

using namespace testing;

/// Runs the work again and again, failing its first allocation, its second, ..., until none is left to fail.
/// `work` is built anew each time, out of reach of the failures; what it returns must be the same each time.
template <class Prepare>
void fail_every_allocation(const char* name, const Prepare& prepare) {
  for (const bool goes_on : {false, true}) {
    INFO(name << (goes_on ? ", failing from one on" : ", failing once"));
    for (std::int64_t nth = 0;; ++nth) {
      REQUIRE(nth < 100'000);
      auto work = prepare();
      std::string outcome = "success";
      failing_goes_on = goes_on;
      failed = false;
      countdown = nth;
      try {
        work();
      } catch (const Error&) {
        countdown = -1;
        outcome = "an error";
      } catch (const std::exception& error) {
        countdown = -1;
        outcome = std::string("no kg::Error but ") + error.what();
      }
      countdown = -1;
      // What can do without the memory, as a loop without threads, may succeed.
      if (outcome != "success") {
        INFO("allocation " << nth);
        REQUIRE(outcome == "an error");
      }
      const bool all_succeeded = !failed;
      // And again, with nothing in its way.
      failed = false;
      if (nth % 16 == 0) {
        auto again = prepare();
        REQUIRE_NOTHROW(again());
      }
      if (all_succeeded) break;
    }
  }
}

using Work = std::function<void()>;

nn::Sequential network() {
  return nn::Sequential(nn::Conv2d(1, 4, 3, {.padding = 1}), nn::ReLU(), nn::BatchNorm2d(4), nn::Dropout(0.1),
                        nn::MaxPool2d(2), nn::Conv2d(4, 6, 3, {.stride = 2, .groups = 2}),
                        nn::AvgPool2d(2, {.stride = 1}), nn::GlobalAvgPool2d(), nn::Flatten(),
                        nn::Linear(6, 3), nn::LogSoftmax());
}

Tensor labels() { return Tensor::from(std::vector<std::int64_t>{0, 2}, {2}); }

TEST_CASE("A step of training without memory is an error", "[no_memory]") {
  const ThreadCount threads(GENERATE(1, 3));
  fail_every_allocation("forward", [] {
    return
        [net = std::make_shared<nn::Sequential>(network()), x = Tensor::ones({2, 1, 12, 12})] { (*net)(x); };
  });
  fail_every_allocation("loss", [] {
    return [x = random({2, 3}).set_requires_grad(), y = labels()] {
      cross_entropy(x, y) + nll_loss(log_softmax(x), y);
    };
  });
  fail_every_allocation("backward", [] {
    nn::Sequential net = network();
    return [loss = nll_loss(net(Tensor::ones({2, 1, 12, 12})), labels()), net] { loss.backward(); };
  });
  fail_every_allocation("backward of images in blocks", [] {
    nn::Sequential net = network();
    return [loss = nll_loss(net(Tensor::ones({16, 1, 12, 12})), Tensor::zeros({16}, {.dtype = DType::int64})),
            net] { loss.backward(); };
  });
  fail_every_allocation("backward of a retained graph", [] {
    const Tensor x = random({4, 3}).set_requires_grad();
    return [loss = sum(x * x + relu(x)), x] {
      loss.backward(true);
      loss.backward();
    };
  });
  fail_every_allocation("an optimizer's step", [] {
    return [w = Tensor::ones({3, 4}), gradient = Tensor::ones({3, 4})]() mutable {
      const NoGrad no_grad;
      w.copy_from(w + -0.1 * gradient);
    };
  });
}

TEST_CASE("Operations without memory are errors", "[no_memory]") {
  const Tensor x = random({2, 4, 6, 6}, DType::float32).set_requires_grad(),
               row = random({6}, DType::float32);
  const Tensor w = random({6, 2, 3, 3}, DType::float32), m = random({5, 6}, DType::float32);
  const Tensor dozen = Tensor::zeros({12});
  const Tensor many = random({31, 4, 6, 6}, DType::float32), kernel = random({5, 4, 3, 3}, DType::float32);
  const Tensor channels = random({1, 33, 3, 3}, DType::float32),
               wide = random({40, 33, 2, 2}, DType::float32);
  Generator generator(1);
  const std::vector<std::pair<const char*, Work>> works = {
      {"add", [&] { x + row; }},
      {"mul", [&] { x* row; }},
      {"mul by a number", [&] { x * 2; }},
      {"relu", [&] { relu(x); }},
      {"sum", [&] { sum(x); }},
      {"mean", [&] { mean(x, {}); }},
      {"flatten", [&] { flatten(x, 1); }},
      {"argmax", [&] { argmax(m); }},
      {"conv2d", [&] { conv2d(x, w, {.padding = 1, .groups = 2}); }},
      {"conv2d, sparse", [&] { conv2d(x, w, {.stride = 1 << 10, .padding = 1 << 10, .groups = 2}); }},
      {"linear", [&] { linear(x, m); }},
      {"dropout", [&] { dropout(x, 0.5, generator); }},
      {"batch_norm", [&] { batch_norm(x, {}, {}, {}, {}, {.training = true}); }},
      {"max_pool2d", [&] { max_pool2d(x, 2); }},
      {"avg_pool2d", [&] { avg_pool2d(x, 3, {.stride = 1, .padding = 1}); }},
      {"global_avg_pool2d", [&] { global_avg_pool2d(x); }},
      {"log_softmax", [&] { log_softmax(x); }},
      {"a pending result",
       [&] { relu(batch_norm(conv2d(many, kernel), {}, {}, {}, {}, {.training = true})); }},
      {"a pending result that is read", [&] { relu(conv2d(many, kernel)).data<float>(); }},
      {"a convolution with many channels", [&] { conv2d(channels, wide); }},
      {"clone", [&] { x.clone(); }},
      {"detach", [&] { x.detach(); }},
      {"to", [&] { row.to(DType::float64); }},
      {"to_vector", [&] { row.to_vector<float>(); }},
      {"item", [&] { sum(m).item(); }},
      {"an error of an argument", [&] { conv2d(x, m); }}};
  for (const auto& [name, work] : works) {
    const bool is_error = std::string(name) == "an error of an argument";
    fail_every_allocation(name, [&, work = &work] {
      return [=] {
        try {
          (*work)();
        } catch (const Error&) {
          if (!is_error || failed) throw;
        }
      };
    });
  }
  Shape shape;
  const auto with_shape = [&](const auto& make) {
    return [&] {
      shape = {3, 4};
      return [&] { make(std::move(shape)); };
    };
  };
  fail_every_allocation("zeros", with_shape([](Shape&& s) { Tensor::zeros(std::move(s)); }));
  fail_every_allocation(
      "full", with_shape([](Shape&& s) { Tensor::full(std::move(s), 3, {.dtype = DType::int64}); }));
  fail_every_allocation("reshape", with_shape([&](Shape&& s) { reshape(dozen, std::move(s)); }));
  const std::vector<float> values(12);
  fail_every_allocation("from", with_shape([&](Shape&& s) { Tensor::from(values, std::move(s)); }));
}

TEST_CASE("Modules without memory are errors", "[no_memory]") {
  const ThreadCount threads(1);
  const auto always = [](const auto& work) { return [&work] { return [&work] { work(); }; }; };
  fail_every_allocation("a network", always([] { network(); }));
  nn::Sequential net = network();
  fail_every_allocation("parameters", always([&] { net.parameters(); }));
  fail_every_allocation("parameter_count", always([&] { net.parameter_count(); }));
  const nn::StateDict state = net.state_dict();
  fail_every_allocation("state_dict", always([&] { net.state_dict(); }));
  fail_every_allocation("load_state_dict", always([&] { net.load_state_dict(state); }));
  fail_every_allocation(
      "to", [&] { return [net = std::make_shared<nn::Sequential>(network())] { net->to(DType::float64); }; });
}

}  // namespace
}  // namespace kg
