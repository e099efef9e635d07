// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mnist {

/// How many letters have to be put in, left out, replaced or swapped with their neighbour to make one word of
/// the other, each letter once at most. Case makes no difference.
int spelling_distance(std::string_view a, std::string_view b);

/// " (did you mean WORD?)" with the nearest of the words that are there, the first of equally near ones.
/// Empty if `word` differs from all of them in more than a third of its letters.
std::string did_you_mean(std::string_view word, std::span<const std::string> there);

}  // namespace mnist
