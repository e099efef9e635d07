// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnist {

/// Throws kg::Error, naming `where`, unless the label is one of `classes` classes.
void check_label(int label, size_t classes, std::string_view where);

/// How often images of each true class got each predicted class.
class ConfusionMatrix {
 public:
  /// Throws kg::Error if there are no class names.
  explicit ConfusionMatrix(std::span<const std::string_view> class_names);

  /// Throws kg::Error unless both labels are indices of class names.
  void add(int actual, int predicted, int64_t images = 1);

  int classes() const { return static_cast<int>(class_names_.size()); }
  const std::string& name(int label) const { return class_names_[static_cast<size_t>(label)]; }
  int64_t count(int actual, int predicted) const { return counts_[index(actual, predicted)]; }
  int64_t total(int actual) const;
  int64_t total() const;
  int64_t correct() const;
  /// Of all wrong cells.
  int64_t largest_confusion() const;

 private:
  size_t index(int actual, int predicted) const {
    return static_cast<size_t>(actual) * class_names_.size() + static_cast<size_t>(predicted);
  }

  std::vector<std::string> class_names_;
  std::vector<int64_t> counts_;  // [actual][predicted]
};

}  // namespace mnist
