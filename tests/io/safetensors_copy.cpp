// SPDX-License-Identifier: MIT
// Reads a checkpoint and writes it again, for safetensors_test.py: safetensors_copy FROM TO

#include <exception>
#include <iostream>

#include "kernelgrad/io.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: safetensors_copy FROM TO\n";
    return 2;
  }
  try {
    kg::save_checkpoint(argv[2], kg::load_checkpoint(argv[1]));
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
