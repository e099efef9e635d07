// SPDX-License-Identifier: MIT
#include "support/suggest.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

namespace mnist {

namespace {

bool same_letter(char a, char b) {
  return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

}  // namespace

int spelling_distance(std::string_view a, std::string_view b) {
  // distances[i][j] is that of the first i letters of a and the first j of b.
  std::vector<std::vector<int>> distances(a.size() + 1, std::vector<int>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      int& distance = distances[i][j];
      if (i == 0 || j == 0) {
        distance = static_cast<int>(i + j);
        continue;
      }
      distance = std::min({distances[i - 1][j] + 1, distances[i][j - 1] + 1,
                           distances[i - 1][j - 1] + (same_letter(a[i - 1], b[j - 1]) ? 0 : 1)});
      if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
        distance = std::min(distance, distances[i - 2][j - 2] + 1);
    }
  }
  return distances[a.size()][b.size()];
}

std::string did_you_mean(std::string_view word, std::span<const std::string> there) {
  const std::string* nearest = nullptr;
  int least = static_cast<int>(word.size()) / 3 + 1;
  for (const std::string& other : there) {
    const int lengths_differ = std::abs(static_cast<int>(word.size()) - static_cast<int>(other.size()));
    const int distance = lengths_differ < least ? spelling_distance(word, other) : least;
    if (distance >= least) continue;
    least = distance;
    nearest = &other;
  }
  return nearest ? " (did you mean " + *nearest + "?)" : "";
}

}  // namespace mnist
