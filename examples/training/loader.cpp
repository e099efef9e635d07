// SPDX-License-Identifier: MIT
#include "kernelgrad/training/loader.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "kernelgrad/error.h"
#include "kernelgrad/random.h"

namespace kg::training {

Loader::Loader(int samples, const LoaderOptions& options)
    : options_(options), order_(static_cast<std::size_t>(samples)) {
  if (options.batch_size < 1)
    throw Error("batch size " + std::to_string(options.batch_size) + ", expected at least 1");
  std::iota(order_.begin(), order_.end(), 0);
}

void Loader::start_epoch(int epoch) {
  epoch_ = epoch;
  if (!options_.shuffle) return;
  std::iota(order_.begin(), order_.end(), 0);
  RandomStream random(options_.seed, RandomPurpose::shuffle, static_cast<std::uint32_t>(epoch));
  for (std::size_t i = order_.size(); i > 1; --i)
    std::swap(order_[i - 1], order_[random.below(static_cast<std::uint32_t>(i))]);
}

int Loader::batches() const {
  return (static_cast<int>(order_.size()) + options_.batch_size - 1) / options_.batch_size;
}

int Loader::size_of(int index) const {
  return std::min(options_.batch_size, static_cast<int>(order_.size()) - index * options_.batch_size);
}

std::span<const int> Loader::samples_of(int index) const {
  const auto first = static_cast<std::size_t>(index) * static_cast<std::size_t>(options_.batch_size);
  return std::span(order_).subspan(first, static_cast<std::size_t>(size_of(index)));
}

}  // namespace kg::training
