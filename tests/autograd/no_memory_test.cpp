// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstdlib>
#include <new>

#include "catch.h"
#include "kernelgrad/kernelgrad.h"

/// What must not fail where there is no memory: a program of its own, because it takes the place of operator
/// new.
namespace {

std::atomic<bool> memory_is_gone = false;

/// While one of these lives operator new throws.
struct NoMemory {
  NoMemory() { memory_is_gone = true; }
  ~NoMemory() { memory_is_gone = false; }
};

}  // namespace

void* operator new(std::size_t bytes) {
  if (!memory_is_gone)
    if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return memory_is_gone ? nullptr : std::malloc(bytes > 0 ? bytes : 1);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace kg {
namespace {

TEST_CASE("A graph is taken apart where there is no memory", "[autograd]") {
  Tensor x = Tensor::ones({1}).set_requires_grad();
  Tensor y = x;
  SECTION("a chain of a million operations") {
    for (int i = 0; i < 1'000'000; ++i) y = y * 1;
  }
  SECTION("a chain whose rules hold tensors of the graph") {
    for (int i = 0; i < 100'000; ++i)
      y = record("holding", y.clone(), {y},
                 [y](const BackwardCall& call) -> std::vector<Tensor> { return {call.grad_output}; });
  }
  SECTION("an operation on a thousand results, each of them used twice") {
    std::vector<Tensor> results;
    for (int i = 0; i < 1000; ++i) {
      results.push_back(x * 2);
      results.push_back(results.back());
      results.push_back(results.back() * results.back());
    }
    y = record("wide", x.clone(), results, [results](const BackwardCall&) { return results; });
  }
  {
    const NoMemory no_memory;
    CHECK_THROWS_AS(std::vector<int>(1), std::bad_alloc);
    y = {};
  }
  sum(x * 3).backward();
  CHECK(x.grad().item() == 3);
}

}  // namespace
}  // namespace kg
