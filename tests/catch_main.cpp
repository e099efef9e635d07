// SPDX-License-Identifier: MIT
// The program around the tests.
#include "run_tests.h"

int main(int count, char** arguments) { return kg::run_tests(count, arguments); }
