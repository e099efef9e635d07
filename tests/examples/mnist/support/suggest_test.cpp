// SPDX-License-Identifier: MIT
#include "support/suggest.h"

#include <string>
#include <tuple>
#include <vector>

#include "catch.h"

namespace mnist {
namespace {

TEST_CASE("The distance of two spellings", "[suggest]") {
  const auto [a, b, distance] = GENERATE(table<std::string, std::string, int>({
      {"", "", 0},
      {"train", "train", 0},
      {"train", "TRAIN", 0},
      {"", "cpu", 3},
      {"train", "trai", 1},
      {"train", "ttrain", 1},
      {"train", "brain", 1},
      {"train", "trian", 1},
      {"ab", "ba", 1},
      {"kitten", "sitting", 3},
      {"ca", "abc", 3},  // what was swapped is not changed once more
  }));
  CHECK(spelling_distance(a, b) == distance);
  CHECK(spelling_distance(b, a) == distance);
}

TEST_CASE("The nearest word is meant, if it is near", "[suggest]") {
  const std::vector<std::string> words = {"train", "eval", "cuda", "cpu", "rf", "brain"};
  const auto [word, suggestion] = GENERATE(table<std::string, std::string>({
      {"trian", " (did you mean train?)"},
      {"rain", " (did you mean train?)"},  // the first of two
      {"brian", " (did you mean brain?)"},
      {"evaal", " (did you mean eval?)"},
      {"cup", " (did you mean cpu?)"},
      {"RF", " (did you mean rf?)"},
      {"r", ""},
      {"", ""},
      {"gpus", ""},
      {"evaluate", ""},
      {std::string(1'000'000, 'x'), ""},
  }));
  CHECK(did_you_mean(word, words) == suggestion);
  CHECK(did_you_mean(word, {}).empty());
}

}  // namespace
}  // namespace mnist
