// SPDX-License-Identifier: MIT
#include "kernelgrad/kernelgrad.h"

int main() { return kg::version().empty(); }
