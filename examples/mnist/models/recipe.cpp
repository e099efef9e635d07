// SPDX-License-Identifier: MIT
#include "models/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernelgrad/error.h"
#include "models/families.h"
#include "support/suggest.h"

namespace mnist {

std::span<const Recipe> recipes() {
  static const std::vector<Recipe> all = [] {
    std::vector<Recipe> collected;
    for (const auto& some : {s7_recipes(), classic_recipes(), s6_recipes(), erav1_recipes(), era_recipes(),
                             kernelgrad_recipes()})
      collected.insert(collected.end(), some.begin(), some.end());
    return collected;
  }();
  return all;
}

const Recipe& find_recipe(std::string_view id) {
  const auto found = std::ranges::find(recipes(), id, &Recipe::id);
  if (found != recipes().end()) return *found;
  std::vector<std::string> known;
  for (const Recipe& recipe : recipes()) known.emplace_back(recipe.id);
  throw kg::Error(fmt::format("unknown model {}{}, expected one of: {}", kg::in_quotes(id),
                              did_you_mean(id, known), fmt::join(known, ", ")));
}

}  // namespace mnist
