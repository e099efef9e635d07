// SPDX-License-Identifier: MIT
#include "report/confusion_matrix.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernelgrad/error.h"

namespace mnist {

void check_label(int label, size_t classes, std::string_view where) {
  if (label < 0 || static_cast<size_t>(label) >= classes) {
    throw kg::Error(fmt::format("{}: label {}, but there are names for {} classes", where, label, classes));
  }
}

ConfusionMatrix::ConfusionMatrix(std::span<const std::string_view> class_names)
    : class_names_(class_names.begin(), class_names.end()),
      counts_(class_names_.size() * class_names_.size()) {
  if (class_names_.empty()) throw kg::Error("ConfusionMatrix: no class names, expected at least 1");
}

void ConfusionMatrix::add(int actual, int predicted, int64_t images) {
  check_label(actual, class_names_.size(), "ConfusionMatrix");
  check_label(predicted, class_names_.size(), "ConfusionMatrix");
  counts_[index(actual, predicted)] += images;
}

int64_t ConfusionMatrix::total(int actual) const {
  int64_t sum = 0;
  for (int predicted = 0; predicted < classes(); ++predicted) sum += count(actual, predicted);
  return sum;
}

int64_t ConfusionMatrix::total() const {
  int64_t sum = 0;
  for (const int64_t images : counts_) sum += images;
  return sum;
}

int64_t ConfusionMatrix::correct() const {
  int64_t sum = 0;
  for (int label = 0; label < classes(); ++label) sum += count(label, label);
  return sum;
}

int64_t ConfusionMatrix::largest_confusion() const {
  int64_t largest = 0;
  for (int actual = 0; actual < classes(); ++actual) {
    for (int predicted = 0; predicted < classes(); ++predicted) {
      if (actual != predicted) largest = std::max(largest, count(actual, predicted));
    }
  }
  return largest;
}

}  // namespace mnist
