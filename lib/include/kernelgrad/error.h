// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "kernelgrad/export.h"

namespace KG_API kg {

/// What every failure in kernelgrad throws. The message starts with the operation or file concerned and says
/// what was given and what was expected: "conv2d: input has 3 channels, weight [8, 4, 3, 3] with groups = 1
/// expects 4".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws the Error "OP: no memory", which itself takes none: what every public function turns a
/// std::bad_alloc into.
[[noreturn]] void no_memory(std::string_view op);

/// Text that this program did not write (a path, a name in a file), fit for a message: control characters,
/// which could command a terminal, marks that turn the direction of writing, and bytes that are no UTF-8 are
/// escaped as "\n", "\x1b" or "\u202e". The rest stays as it is; of more than 4096 bytes the beginning and
/// the number.
std::string printable(std::string_view text);
/// printable() between quotation marks.
std::string in_quotes(std::string_view text);

}  // namespace kg
