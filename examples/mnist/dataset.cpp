#include "dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "idx.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr std::int64_t image_size = 28;
constexpr int classes = 10;

struct FileKind {
  std::string_view stem;
  int rank;

  std::array<std::string, 2> names() const {
    return {fmt::format("{}-idx{}-ubyte", stem, rank), fmt::format("{}.idx{}-ubyte", stem, rank)};
  }
};

constexpr FileKind train_images{"train-images", 3};
constexpr FileKind train_labels{"train-labels", 1};
constexpr FileKind test_images{"t10k-images", 3};
constexpr FileKind test_labels{"t10k-labels", 1};

std::optional<std::filesystem::path> find(const std::filesystem::path& directory, const FileKind& kind) {
  for (const std::string_view suffix : {"", ".gz"})
    for (const std::string& name : kind.names())
      if (const auto path = directory / fmt::format("{}{}", name, suffix); std::filesystem::exists(path))
        return path;
  return std::nullopt;
}

void check_complete(const std::filesystem::path& directory) {
  if (!std::filesystem::is_directory(directory))
    throw kg::Error(fmt::format("dataset: {} is not a directory, expected one with MNIST's four IDX files",
                                directory.string()));
  std::string missing;
  for (const FileKind& kind : {train_images, train_labels, test_images, test_labels})
    if (!find(directory, kind))
      missing += fmt::format("\n  {} or {} (or .gz)", kind.names()[0], kind.names()[1]);
  if (!missing.empty())
    throw kg::Error(
        fmt::format("dataset: files are missing in {}, expected there:{}", directory.string(), missing));
}

IdxFile read(const std::filesystem::path& path, const FileKind& kind) {
  IdxFile file = read_idx(path);
  if (static_cast<int>(file.dims.size()) != kind.rank)
    throw kg::Error(fmt::format("dataset: {}: has rank {}, {} expects rank {} ({})", path.string(),
                                file.dims.size(), kind.stem, kind.rank,
                                kind.rank == 1 ? "count" : "count, height, width"));
  return file;
}

Split load_split(const std::filesystem::path& directory, const FileKind& images_kind,
                 const FileKind& labels_kind, std::string_view name) {
  const std::filesystem::path images_path = *find(directory, images_kind);
  const std::filesystem::path labels_path = *find(directory, labels_kind);
  IdxFile images = read(images_path, images_kind);
  IdxFile labels = read(labels_path, labels_kind);

  if (images.dims[1] != image_size || images.dims[2] != image_size)
    throw kg::Error(fmt::format("dataset: {}: images are {}x{} pixels, expected {}x{}", images_path.string(),
                                images.dims[1], images.dims[2], image_size, image_size));
  if (images.dims[0] == 0) throw kg::Error(fmt::format("dataset: {}: holds no images", images_path.string()));
  if (images.dims[0] != labels.dims[0])
    throw kg::Error(
        fmt::format("dataset: {} holds {} images but {} holds {} labels, expected one label per image",
                    images_path.string(), images.dims[0], labels_path.string(), labels.dims[0]));
  const auto bad = std::find_if(labels.data.begin(), labels.data.end(),
                                [](std::uint8_t label) { return label >= classes; });
  if (bad != labels.data.end())
    throw kg::Error(fmt::format("dataset: {}: label {} is {}, expected 0 to {}", labels_path.string(),
                                bad - labels.data.begin(), *bad, classes - 1));

  return {.images = std::move(images.data),
          .labels = std::move(labels.data),
          .count = static_cast<int>(images.dims[0]),
          .height = static_cast<int>(images.dims[1]),
          .width = static_cast<int>(images.dims[2]),
          .name = name};
}

}  // namespace

const std::array<std::string_view, 10>& class_names(DatasetName name) {
  static constexpr std::array<std::string_view, 10> digits = {"0", "1", "2", "3", "4",
                                                              "5", "6", "7", "8", "9"};
  static constexpr std::array<std::string_view, 10> clothes = {
      "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
      "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  return name == DatasetName::fashion_mnist ? clothes : digits;
}

const std::array<std::string_view, 10>& torchvision_names(DatasetName name) {
  static constexpr std::array<std::string_view, 10> digits = {"0 - zero",  "1 - one",  "2 - two", "3 - three",
                                                              "4 - four",  "5 - five", "6 - six", "7 - seven",
                                                              "8 - eight", "9 - nine"};
  return name == DatasetName::fashion_mnist ? class_names(name) : digits;
}

Dataset load_dataset(const std::filesystem::path& directory) {
  check_complete(directory);
  return {.train = load_split(directory, train_images, train_labels, training_name),
          .test = load_split(directory, test_images, test_labels, test_name)};
}

Dataset with_validation(Dataset data, int images) {
  Split& train = data.train;
  if (images < 1 || images >= train.count)
    throw kg::Error(fmt::format("validation: {} images given, expected 1 to {}", images, train.count - 1));
  const int kept = train.count - images;
  const auto first_image = static_cast<std::ptrdiff_t>(train.image(kept).data() - train.images.data());
  data.test = {.images = {train.images.begin() + first_image, train.images.end()},
               .labels = {train.labels.begin() + kept, train.labels.end()},
               .count = images,
               .height = train.height,
               .width = train.width,
               .name = validation_name};
  train.images.resize(static_cast<std::size_t>(first_image));
  train.labels.resize(static_cast<std::size_t>(kept));
  train.count = kept;
  return data;
}

}  // namespace mnist
