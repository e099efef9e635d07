// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "kernelgrad/error.h"

namespace kg::testing {

/// The message of the kg::Error that `action` throws; "nothing was thrown" without one.
template <typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace kg::testing
