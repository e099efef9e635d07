// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>

#include "data/dataset.h"

namespace mnist {

namespace {

/// What every recipe for grey images normalises with, whatever the data set.
const std::vector<Normalization> of_mnist = {{.mean = 0.1307f, .std = 0.3081f}};

const std::array<DatasetDescription, 3> descriptions = {{
    {.name = DatasetName::mnist,
     .id = "mnist",
     .channels = 1,
     .height = 28,
     .width = 28,
     .class_names = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
     .torchvision_names = {"0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six",
                           "7 - seven", "8 - eight", "9 - nine"},
     .normalization = of_mnist,
     .checksums = {0xdf6dde61, 0x190e897b},
     .read = read_idx_dataset},
    {.name = DatasetName::fashion_mnist,
     .id = "fashion-mnist",
     .channels = 1,
     .height = 28,
     .width = 28,
     .class_names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
                     "Bag", "Ankle boot"},
     .torchvision_names = {},
     .normalization = of_mnist,
     .checksums = {0xa8c91d78, 0xd12e98e2},
     .read = read_idx_dataset},
    {.name = DatasetName::cifar10,
     .id = "cifar10",
     .channels = 3,
     .height = 32,
     .width = 32,
     .class_names = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                     "truck"},
     .torchvision_names = {},
     .normalization = {{.mean = 0.4914f, .std = 0.2470f},
                       {.mean = 0.4822f, .std = 0.2435f},
                       {.mean = 0.4465f, .std = 0.2616f}},
     .checksums = {},
     .read = read_cifar_dataset},
}};

}  // namespace

std::span<const DatasetDescription> dataset_descriptions() { return descriptions; }

const DatasetDescription& describe(DatasetName name) {
  return descriptions.at(static_cast<std::size_t>(name));
}

const DatasetDescription* find_description(std::string_view id) {
  const auto found = std::ranges::find(descriptions, id, &DatasetDescription::id);
  return found == descriptions.end() ? nullptr : &*found;
}

std::vector<std::string> dataset_ids() {
  std::vector<std::string> ids;
  for (const DatasetDescription& description : descriptions) ids.emplace_back(description.id);
  return ids;
}

std::span<const std::string_view> torchvision_names(DatasetName name) {
  const DatasetDescription& description = describe(name);
  return description.torchvision_names.empty() ? description.class_names : description.torchvision_names;
}

}  // namespace mnist
