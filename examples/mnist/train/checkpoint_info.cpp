// SPDX-License-Identifier: MIT
#include "train/checkpoint_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "kernelgrad/error.h"
#include "kernelgrad/version.h"
#include "support/parse_number.h"
#include "train/fingerprints.h"

namespace mnist {

namespace {

template <class T>
bool has_only_finite_values(const kg::Tensor& tensor) {
  return std::ranges::all_of(tensor.to_vector<T>(), [](T value) { return std::isfinite(value); });
}

[[noreturn]] void refuse(const char* name, const std::string& value, const std::string& expected) {
  throw kg::Error(fmt::format("its metadata have {} \"{}\", expected {}", name, value, expected));
}

/// What stands between commas.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t end = 0; end != text.npos; text.remove_prefix(end == text.npos ? 0 : end + 1)) {
    end = text.find(',');
    words.emplace_back(text.substr(0, end));
  }
  return words;
}

/// A member of all channels' normalisation, commas between them.
std::string joined(const std::vector<Normalization>& channels, float Normalization::*member) {
  std::string text;
  for (const Normalization& channel : channels)
    text += fmt::format("{}{}", text.empty() ? "" : ",", channel.*member);
  return text;
}

float number_of(const char* name, const std::string& text) {
  const std::optional<float> number = parse_number<float>(text);
  if (!number || !std::isfinite(*number)) refuse(name, text, "a number");
  return *number;
}

}  // namespace

std::string identity_of(const Split& split) {
  return fmt::format("{} {} {:08x}", split.name, split.count, checksum(split));
}

std::map<std::string, std::string> metadata_of(const TrainedModel& model) {
  const auto& names = class_names(model.dataset);
  return {
      {"format", "pt"},
      {"kernelgrad", std::string(kg::version())},
      {"model", std::string(model.recipe.id)},
      {"dataset", std::string(id_of(model.dataset))},
      {"class_names", fmt::format("{}", fmt::join(names, ","))},
      {"pixel_mean", joined(model.tested.normalization, &Normalization::mean)},
      {"pixel_std", joined(model.tested.normalization, &Normalization::std)},
      {"image_size", fmt::format("{}x{}x{}", model.tested.channels, model.tested.height, model.tested.width)},
      {"tested_on", identity_of(model.tested)},
      {"accuracy", fmt::format("{}", model.epoch.test_accuracy)},
      {"epoch", std::to_string(model.epoch.epoch)},
      {"seed", std::to_string(model.seed)}};
}

CheckpointInfo info_of(const std::map<std::string, std::string>& metadata) {
  CheckpointInfo info;
  const auto with = [&](const char* name, const auto& take) {
    if (const auto found = metadata.find(name); found != metadata.end()) take(found->second);
  };
  with("model", [&](const std::string& text) { info.model = text; });
  with("dataset", [&](const std::string& text) { info.dataset = text; });
  // What is said of pictures and classes must fit the data set; MNIST where it is none that is known.
  const DatasetDescription* description = find_description(info.dataset.value_or(""));
  if (!description) description = &describe(DatasetName::mnist);
  with("tested_on", [&](const std::string& text) { info.tested_on = text; });
  with("class_names", [&](const std::string& text) {
    info.class_names = words_of(text);
    const std::size_t classes = description->class_names.size();
    if (info.class_names.size() != classes)
      refuse("class_names", text, fmt::format("{} names, commas between them", classes));
  });
  info.channels = description->channels;
  info.height = description->height;
  info.width = description->width;
  with("image_size", [&](const std::string& text) {
    int end = 0;
    if (std::sscanf(text.c_str(), "%dx%dx%d%n", &info.channels, &info.height, &info.width, &end) != 3 ||
        static_cast<std::size_t>(end) != text.size() || info.channels != description->channels)
      refuse("image_size", text, fmt::format("{}xHEIGHTxWIDTH", description->channels));
  });
  info.normalization = description->normalization;
  const auto numbers = [&](const char* name, float Normalization::*member) {
    with(name, [&](const std::string& text) {
      const std::vector<std::string> words = words_of(text);
      if (words.size() != info.normalization.size())
        refuse(name, text,
               info.channels == 1 ? "a number" : "a number for each channel, commas between them");
      for (std::size_t c = 0; c < words.size(); ++c)
        info.normalization[c].*member = number_of(name, words[c]);
    });
  };
  numbers("pixel_mean", &Normalization::mean);
  numbers("pixel_std", &Normalization::std);
  for (const Normalization& channel : info.normalization)
    if (!(channel.std > 0)) refuse("pixel_std", metadata.at("pixel_std"), "a positive number");
  return info;
}

void require_finite(const kg::nn::StateDict& tensors) {
  for (const auto& [name, tensor] : tensors) {
    const bool finite = tensor.dtype() == kg::DType::float32   ? has_only_finite_values<float>(tensor)
                        : tensor.dtype() == kg::DType::float64 ? has_only_finite_values<double>(tensor)
                                                               : true;
    if (!finite) throw kg::Error(fmt::format("the tensor {} has values that are NaN or infinite", name));
  }
}

}  // namespace mnist
