// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "kernelgrad/export.h"

namespace KG_API kg {

/// The version of the library, as "0.1.0": major, minor, patch.
std::string_view version();

}  // namespace kg
