#pragma once

#include <string_view>

namespace kg {

/// The version of the library, as "0.1.0": major, minor, patch.
std::string_view version();

}  // namespace kg
