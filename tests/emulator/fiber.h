// SPDX-License-Identifier: MIT
#pragma once

#include <boost/context/fiber.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace emulator {

/// A stack on which CUDA threads run: several, one after the other, as long as none must wait. Under TSan
/// just one, because to TSan a fiber is a thread.
struct Fiber {
  boost::context::fiber context;
  void* tsan_thread = nullptr;
  void* stack_bottom = nullptr;
  std::size_t stack_bytes = 0;
  void* asan_stack = nullptr;  ///< while the fiber is not running
  std::uint64_t launch = 0;    ///< the number of the last one that ran here
};

/// The fibers, kept from launch to launch, and the changes between them and whoever resumes them.
class Fibers {
 public:
  /// Every fiber runs `main`, which does not return.
  explicit Fibers(std::function<void(Fiber&)> main) : main_(std::move(main)) {}

  /// Before a launch of so many threads in blocks of so many.
  void begin_launch(std::size_t threads, std::size_t block_threads);
  /// A fiber that is not in use.
  Fiber& take();
  void give_back(Fiber&);
  /// From outside into a fiber, until it leaves.
  void resume(Fiber&);
  /// Out of a fiber, to whoever has resumed it.
  void leave(Fiber&);

  const std::vector<std::unique_ptr<Fiber>>& all() const { return all_; }
  /// TSan's thread that resumes the fibers of this launch.
  void* outside_tsan_thread() const { return outside_tsan_thread_; }

 private:
  Fiber& create();

  std::function<void(Fiber&)> main_;
  std::vector<std::unique_ptr<Fiber>> all_;
  std::vector<Fiber*> idle_;
  std::size_t next_ = 0;
  boost::context::fiber outside_;
  void* outside_tsan_thread_ = nullptr;
  const void* outside_stack_ = nullptr;
  std::size_t outside_stack_bytes_ = 0;
};

}  // namespace emulator
