// SPDX-License-Identifier: MIT
#include "core/no_memory.h"

#include <algorithm>
#include <array>

#include "kernelgrad/error.h"

namespace kg {

namespace {

class NoMemory : public Error {
 public:
  explicit NoMemory(std::string_view op) : Error("") {
    constexpr std::string_view end = ": no memory";
    const std::string_view start = op.substr(0, text_.size() - end.size() - 1);
    std::ranges::copy(end, std::ranges::copy(start, text_.begin()).out);
  }
  const char* what() const noexcept override { return text_.data(); }

 private:
  std::array<char, 256> text_{};
};

}  // namespace

void no_memory(std::string_view op) { throw NoMemory(op); }

}  // namespace kg
