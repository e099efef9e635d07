#include "models.h"

#include <algorithm>
#include <string>
#include <vector>

#include "kernelgrad/error.h"
#include "models/recipes.h"

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
  std::string known;
  for (const Recipe& recipe : recipes()) known += (known.empty() ? "" : ", ") + std::string(recipe.id);
  throw kg::Error("unknown model \"" + std::string(id) + "\", expected one of: " + known);
}

}  // namespace mnist
