// SPDX-License-Identifier: MIT
// The program around the tests of the installed libraries, real ones: exit status 77, which ctest takes for
// "skipped", where they are not installed.
#include <cstdio>
#include <string>

#include "kernels/cudnn.h"
#include "run_tests.h"

int main(int count, char** arguments) {
  // "[unavailable]" asks for what is said where they cannot be loaded.
  const bool expected = count < 2 || std::string(arguments[1]) != "[unavailable]";
  if (expected && !kg::kernels::cudnn::is_available()) {
    std::printf("skipped, nothing was tested: %s\n", kg::kernels::cudnn::unavailable_reason().c_str());
    return 77;
  }
  return kg::run_tests(count, arguments);
}
