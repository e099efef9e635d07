#include "train/checkpoint_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "kernelgrad/error.h"
#include "kernelgrad/version.h"
#include "train/fingerprints.h"

namespace mnist {

namespace {

template <class T>
bool has_only_finite_values(const kg::Tensor& tensor) {
  return std::ranges::all_of(tensor.to_vector<T>(), [](T value) { return std::isfinite(value); });
}

[[noreturn]] void refuse(const char* name, const std::string& value, const char* expected) {
  throw kg::Error(fmt::format("its metadata have {} \"{}\", expected {}", name, value, expected));
}

float number_of(const char* name, const std::string& text) {
  std::istringstream stream(text);
  float number = 0;
  if (!(stream >> number) || !stream.eof() || !std::isfinite(number)) refuse(name, text, "a number");
  return number;
}

}  // namespace

std::string identity_of(const Split& split) {
  return fmt::format("{} {} {:08x}", split.name, split.count, checksum(split));
}

std::map<std::string, std::string> metadata_of(const TrainedModel& model) {
  const auto& names = class_names(model.dataset);
  const Normalization normalization;
  return {{"format", "pt"},
          {"kernelgrad", std::string(kg::version())},
          {"model", std::string(model.recipe.id)},
          {"dataset", std::string(id_of(model.dataset))},
          {"class_names", fmt::format("{}", fmt::join(names, ","))},
          {"pixel_mean", fmt::format("{}", normalization.mean)},
          {"pixel_std", fmt::format("{}", normalization.std)},
          {"image_size", fmt::format("1x{}x{}", model.tested.height, model.tested.width)},
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
  with("tested_on", [&](const std::string& text) { info.tested_on = text; });
  with("class_names", [&](const std::string& text) {
    std::istringstream stream(text);
    for (std::string name; std::getline(stream, name, ',');) info.class_names.push_back(name);
    if (info.class_names.size() != 10) refuse("class_names", text, "ten names, commas between them");
  });
  with("pixel_mean",
       [&](const std::string& text) { info.normalization.mean = number_of("pixel_mean", text); });
  with("pixel_std", [&](const std::string& text) {
    info.normalization.std = number_of("pixel_std", text);
    if (!(info.normalization.std > 0)) refuse("pixel_std", text, "a positive number");
  });
  with("image_size", [&](const std::string& text) {
    int end = 0;
    if (std::sscanf(text.c_str(), "1x%dx%d%n", &info.height, &info.width, &end) != 2 ||
        static_cast<std::size_t>(end) != text.size())
      refuse("image_size", text, "1xHEIGHTxWIDTH");
  });
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
