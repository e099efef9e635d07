// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/device.h"

namespace kg::testing {

/// Sets the number of threads, and what it was at the end.
class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(num_threads()) { set_num_threads(count); }
  ~ThreadCount() { set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace kg::testing
