// SPDX-License-Identifier: MIT
#pragma once

namespace kg {

/// Catch2's main() as a function: its own code takes most of a minute to compile, so only one file has it.
int run_tests(int count, char** arguments);

}  // namespace kg
