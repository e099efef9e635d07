// SPDX-License-Identifier: MIT
/// results.csv and metrics.csv: what is accepted is written as text that reads as the same.

#include "fuzz/fuzz.h"
#include "kernelgrad/error.h"
#include "sweep/sweep_results.h"

namespace {

using kg::fuzz::MemoryFile;
using kg::fuzz::require;

/// `read` reads a file, `write` makes the text of one.
template <class Read, class Write>
void check(MemoryFile& file, std::span<const std::uint8_t> input, Read read, Write write) {
  file.write(input);
  std::string text;
  try {
    text = write(read(file.path()));
  } catch (const kg::Error&) {
    return;
  }
  file.write(text);
  require(write(read(file.path())) == text, "what was read and written reads differently");
}

std::string text_of_runs(const std::vector<mnist::SweepRun>& runs) {
  // A table can be made of all that is accepted.
  require(!mnist::sweep_table(mnist::summarize(runs, mnist::recipes())).empty(), "no table");
  return mnist::results_csv(runs);
}

std::string text_of_epochs(const std::vector<mnist::EpochMetrics>& epochs) {
  return mnist::metrics_csv(epochs);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  check(file, {data, size}, mnist::read_results, text_of_runs);
  check(file, {data, size}, mnist::read_metrics, text_of_epochs);
  return 0;
}
