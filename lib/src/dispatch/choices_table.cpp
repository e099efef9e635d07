// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <iomanip>
#include <sstream>

#include "kernelgrad/backend.h"

namespace kg {

namespace {

using Row = std::array<std::string, 9>;

std::string microseconds(double value) {
  if (value == 0) return "-";
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << value;
  return text.str();
}

Row row_of(const BackendChoice& choice) {
  return {choice.operation,
          choice.problem,
          std::string(name_of(choice.dtype)),
          choice.device.name(),
          std::string(name_of(choice.backend)),
          choice.variant.empty() ? "-" : choice.variant,
          microseconds(choice.native_microseconds),
          microseconds(choice.cudnn_microseconds),
          choice.reason};
}

}  // namespace

std::string backend_choices_table() {
  std::vector<Row> rows = {
      {"operation", "problem", "dtype", "device", "runs", "kernel", "native us", "cudnn us", "because"}};
  for (const BackendChoice& choice : backend_choices()) rows.push_back(row_of(choice));
  std::array<std::size_t, std::tuple_size_v<Row>> widths{};
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::ostringstream text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i)
      text << std::left << std::setw(static_cast<int>(widths[i])) << row[i] << "  ";
    text << row.back() << "\n";
  }
  return text.str();
}

}  // namespace kg
