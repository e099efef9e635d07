// SPDX-License-Identifier: MIT
#include "train/fingerprints.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <span>

#include "data/loader.h"
#include "kernelgrad/nn.h"
#include "models/summary.h"

namespace mnist {

namespace {

std::uint32_t checksum(std::span<const std::byte> bytes, std::uint32_t before) {
  return static_cast<std::uint32_t>(
      ::crc32_z(before, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

/// What the training sees first: says how images are augmented, in which nothing but its pixels can be
/// compared. So many images that a probability which differs by a hundredth shows.
std::uint32_t checksum_of_first_images(const Recipe& recipe, const Split& training) {
  ImageLoader loader(training, {.batch_size = 1024, .shuffle = true, .augmentation = recipe.augmentation()});
  loader.start_epoch(1);
  const kg::training::Batch batch = loader.batch(0);
  return checksum(batch.inputs.bytes(), 0);
}

std::string pair_text(const kg::Pair& pair) { return fmt::format("{}x{}", pair.h, pair.w); }

std::string pool_text(const kg::nn::Pool2d& pool) {
  const auto& [stride, padding, count_include_pad] = pool.options();
  return fmt::format(" {} {} {} {}", pair_text(pool.kernel()), pair_text(stride), pair_text(padding),
                     count_include_pad);
}

/// The tree of modules, with the options that a summary does not show. What a Functional calls stays unsaid.
std::string modules_text(const kg::nn::Module& module) {
  std::string text(module.type_name());
  if (const auto* dropout = dynamic_cast<const kg::nn::Dropout*>(&module))
    text += fmt::format(" {}", dropout->p());
  if (const auto* norm = dynamic_cast<const kg::nn::BatchNorm2d*>(&module))
    text += fmt::format(" {} {}", norm->options().epsilon, norm->options().momentum);
  if (const auto* conv = dynamic_cast<const kg::nn::Conv2d*>(&module)) {
    const kg::Conv2dOptions& o = conv->options();
    text += fmt::format(" {} {} {} {} {}", pair_text(conv->kernel()), pair_text(o.stride),
                        pair_text(o.padding), pair_text(o.dilation), o.groups);
  }
  if (const auto* pool = dynamic_cast<const kg::nn::Pool2d*>(&module)) text += pool_text(*pool);
  for (const auto& [name, child] : module.children()) text += fmt::format(" ({})", modules_text(*child));
  return text;
}

struct ScheduleText {
  std::string operator()(std::monostate) const { return "constant"; }
  std::string operator()(const kg::training::StepLrOptions& options) const {
    const auto& [step_size, gamma] = options;
    return fmt::format("step {} {}", step_size, gamma);
  }
  std::string operator()(const kg::training::ReduceLrOnPlateauOptions& options) const {
    const auto& [factor, patience, threshold, min_lr, epsilon] = options;
    return fmt::format("plateau {} {} {} {} {}", factor, patience, threshold, min_lr, epsilon);
  }
  std::string operator()(const kg::training::OneCycleLrOptions& options) const {
    const auto& [pct_start, div_factor, final_div_factor, base_momentum, max_momentum, step] = options;
    return fmt::format("one cycle {} {} {} {} {} {}", pct_start, div_factor, final_div_factor, base_momentum,
                       max_momentum, static_cast<int>(step));
  }
};

std::string sgd_text(const kg::training::SgdOptions& options) {
  const auto& [learning_rate, momentum, dampening, weight_decay, nesterov] = options;
  return fmt::format("sgd {} {} {} {} {}", learning_rate, momentum, dampening, weight_decay, nesterov);
}

}  // namespace

std::uint32_t checksum(const Split& split, std::uint32_t before) {
  for (const auto* bytes : {&split.images, &split.labels})
    before = checksum(std::as_bytes(std::span(*bytes)), before);
  return before;
}

std::optional<DatasetName> known_data(const Split& split) {
  const std::uint32_t sum = checksum(split);
  for (const DatasetDescription& description : dataset_descriptions())
    if (std::ranges::find(description.checksums, sum) != description.checksums.end()) return description.name;
  return {};
}

std::string recipe_text(const Recipe& recipe, const Split& training) {
  const auto& [id, description, network, augmentation, sgd, schedule, label_smoothing, weight_average, input,
               batch_size, epochs, published] = recipe;
  kg::nn::Sequential layers = network();
  return fmt::format("{}\n{}\n{}\n{}\n{}\nsmoothing {} average {}\nbatch {}\nfirst images {:08x}\n", id,
                     summary_table(layers, {training.channels, training.height, training.width}),
                     modules_text(layers), sgd_text(sgd), std::visit(ScheduleText(), schedule),
                     label_smoothing, weight_average, batch_size, checksum_of_first_images(recipe, training));
}

std::string fingerprint(std::string_view text) {
  return fmt::format("{:08x}", checksum(std::as_bytes(std::span(text)), 0));
}

}  // namespace mnist
