// SPDX-License-Identifier: MIT
#pragma once

#include <span>

#include "models/recipe.h"

/// The recipes of each family, a file each. docs/mnist-models.md has them in a table.
namespace mnist {

using kg::training::OneCycleLrOptions;
using kg::training::ReduceLrOnPlateauOptions;
using kg::training::SgdOptions;
using kg::training::StepEvery;
using kg::training::StepLrOptions;

std::span<const Recipe> s7_recipes();
std::span<const Recipe> classic_recipes();
std::span<const Recipe> s6_recipes();
std::span<const Recipe> erav1_recipes();
std::span<const Recipe> era_recipes();
std::span<const Recipe> kernelgrad_recipes();

}  // namespace mnist
