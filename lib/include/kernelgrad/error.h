#pragma once

#include <stdexcept>
#include <string>

namespace kg {

/// What every failure in kernelgrad throws. The message starts with the operation or file concerned and says
/// what was given and what was expected: "conv2d: input has 3 channels, weight [8, 4, 3, 3] with groups = 1
/// expects 4".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace kg
