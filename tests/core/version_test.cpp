// SPDX-License-Identifier: MIT
#include "kernelgrad/version.h"

#include <regex>
#include <string>

#include "catch.h"

namespace kg {
namespace {

TEST_CASE("The version is the project's", "[version]") {
  CHECK(version() == KG_TEST_VERSION);
  CHECK(std::regex_match(std::string(version()), std::regex(R"(\d+\.\d+\.\d+)")));
}

}  // namespace
}  // namespace kg
