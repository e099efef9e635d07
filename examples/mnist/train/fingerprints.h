// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "data/dataset.h"
#include "models/recipe.h"

namespace mnist {

/// CRC-32 of a split's pixels and labels; `before` is that of what comes before them.
std::uint32_t checksum(const Split& split, std::uint32_t before = 0);

/// Which data set these are all training images or all test images of, by checksum, however they were stored.
/// None: they are others, or not all.
std::optional<DatasetName> known_data(const Split& split);

/// All of a recipe that decides what comes out, with the first augmented images of `training` as a checksum.
/// Blind to what an nn::Functional calls.
std::string recipe_text(const Recipe& recipe, const Split& training);

/// CRC-32 of a text, in eight hexadecimal digits.
std::string fingerprint(std::string_view text);

}  // namespace mnist
