#pragma once

#include "kernelgrad/error.h"

namespace kg::kernels {

/// Thrown for a problem that an implementation of an operation does not take and another might, before
/// anything has been queued.
class Unsupported : public Error {
 public:
  using Error::Error;
};

}  // namespace kg::kernels
