// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstdlib>
#include <new>

#include "kernelgrad/training/sgd.h"
#include "support.h"
#include "thread_count.h"

/// A training step asks for the memory that the one before it has released: counted where the program asks
/// the system for some.

namespace {

/// Less are names, nodes of the graph and constants of channels.
constexpr std::size_t small_bytes = 4096;

std::atomic<std::int64_t> count, large_count;

void* counted(void* memory, std::size_t bytes) {
  ++count;
  large_count += bytes > small_bytes;
  return memory;
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* const memory = counted(std::malloc(bytes > 0 ? bytes : 1), bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  void* memory = nullptr;
  return ::posix_memalign(&memory, alignment, bytes) == 0 ? counted(memory, bytes) : nullptr;
}

namespace kg {
namespace {

using namespace testing;

TEST_CASE("A step of training allocates what the one before it has released", "[allocations]") {
  // A thread that is late has memory of its own to ask for in a later step.
  const ThreadCount threads(1);
  nn::Sequential network(nn::Conv2d(1, 8, 3), nn::ReLU(), nn::BatchNorm2d(8), nn::Dropout(0.1),
                         nn::Conv2d(8, 16, 3, {.padding = 1}), nn::BatchNorm2d(16), nn::ReLU(),
                         nn::MaxPool2d(2), nn::Conv2d(16, 40, 3), nn::ReLU(),
                         nn::Conv2d(40, 40, 3, {.stride = 2}), nn::GlobalAvgPool2d(), nn::Flatten(),
                         nn::Linear(40, 10), nn::LogSoftmax());
  const std::int64_t images = GENERATE(64, 7);
  const Tensor x = random({images, 1, 28, 28}, DType::float32);
  const Tensor labels =
      Tensor::from(std::vector<std::int64_t>(static_cast<std::size_t>(images), 3), {images});
  training::Sgd sgd(network.parameters(), {.learning_rate = 0.01, .momentum = 0.9});
  const auto step = [&] {
    sgd.zero_grad();
    nll_loss(network(x), labels).backward();
    sgd.step();
  };
  step(), step();
  const auto counts_of = [&] {
    const std::int64_t before = count, large_before = large_count;
    step();
    return std::pair{count - before, large_count - large_before};
  };
  const auto [all, large] = counts_of();
  CHECK(large == 0);
  for (int i = 0; i < 3; ++i) {
    const auto [all_of_next, large_of_next] = counts_of();
    CHECK(all_of_next <= all);
    CHECK(large_of_next == 0);
  }
}

}  // namespace
}  // namespace kg
