// SPDX-License-Identifier: MIT
// The program around the tests that are linked with the real CUDA backend: exit status 77, which ctest takes
// for "skipped", where there is no GPU.
#include <cstdio>

#include "kernelgrad/device.h"
#include "run_tests.h"

int main(int count, char** arguments) {
  if (!kg::cuda_is_available()) {
    std::printf("skipped, nothing was tested: %s\n", kg::cuda_unavailable_reason().c_str());
    return 77;
  }
  return kg::run_tests(count, arguments);
}
