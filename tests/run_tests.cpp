// SPDX-License-Identifier: MIT
#include "run_tests.h"

#define CATCH_CONFIG_RUNNER
#include "catch.h"

namespace kg {

int run_tests(int count, char** arguments) { return Catch::Session().run(count, arguments); }

}  // namespace kg
