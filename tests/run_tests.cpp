// SPDX-License-Identifier: MIT
// The program around the tests where Catch2 comes without one (version 2).
#define CATCH_CONFIG_MAIN
#include "catch.h"
