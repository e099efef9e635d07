// SPDX-License-Identifier: MIT
#pragma once

#include <new>
#include <string_view>

namespace kg {

/// Throws the Error "OP: no memory", which itself takes none: what every public function turns a
/// std::bad_alloc into.
[[noreturn]] void no_memory(std::string_view op);

}  // namespace kg
