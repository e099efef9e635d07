#include "dataset.h"

#include <algorithm>

#include "catch.h"
#include "digits.h"
#include "idx_fixture.h"
#include "support.h"

namespace mnist {
namespace {

constexpr std::size_t image_bytes = 28 * 28;

// Every byte of an image names the image, so that a mix-up shows.
Bytes images(std::uint32_t count, std::uint8_t first) {
  Bytes bytes(count * image_bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(first + i / image_bytes);
  return bytes;
}

using Write = std::filesystem::path (*)(const std::filesystem::path&, const Bytes&);

void write_all(const TemporaryDirectory& directory, char separator, Write write, const std::string& suffix) {
  const auto name = [&](const std::string& stem, int rank) {
    return directory / (stem + separator + "idx" + std::to_string(rank) + "-ubyte" + suffix);
  };
  write(name("train-images", 3), idx_bytes({3, 28, 28}, images(3, 10)));
  write(name("train-labels", 1), idx_bytes({3}, {9, 0, 4}));
  write(name("t10k-images", 3), idx_bytes({2, 28, 28}, images(2, 50)));
  write(name("t10k-labels", 1), idx_bytes({2}, {7, 1}));
}

std::string error_loading(const TemporaryDirectory& directory) {
  return error_of([&] { load_dataset(directory.path()); });
}

TEST_CASE("load_dataset finds the four files under their usual names", "[dataset]") {
  const TemporaryDirectory directory;
  const char separator = GENERATE('-', '.');
  const bool zipped = GENERATE(false, true);
  // The name alone must not decide either: a gzipped file may have lost its suffix.
  const std::string suffix = zipped ? GENERATE("", ".gz") : "";
  write_all(directory, separator, zipped ? write_gzip : write_plain, suffix);

  const Dataset dataset = load_dataset(directory.path());
  CHECK(dataset.train.count == 3);
  CHECK(dataset.train.height == 28);
  CHECK(dataset.train.width == 28);
  CHECK(dataset.train.labels == Bytes{9, 0, 4});
  CHECK(dataset.train.images == images(3, 10));
  CHECK(dataset.test.count == 2);
  CHECK(dataset.test.labels == Bytes{7, 1});
  CHECK(dataset.test.images == images(2, 50));

  const auto second = dataset.train.image(1);
  CHECK(Bytes(second.begin(), second.end()) == Bytes(image_bytes, 11));
}

TEST_CASE("load_dataset takes a plain file before a gzipped one", "[dataset]") {
  const TemporaryDirectory directory;
  write_all(directory, '-', write_gzip, ".gz");
  write_plain(directory / "t10k-labels.idx1-ubyte", idx_bytes({2}, {5, 6}));
  CHECK(load_dataset(directory.path()).test.labels == Bytes{5, 6});
}

TEST_CASE("load_dataset says which files are missing and where it looked", "[dataset]") {
  const TemporaryDirectory directory;
  write_all(directory, '-', write_plain, "");
  std::filesystem::remove(directory / "train-labels-idx1-ubyte");
  std::filesystem::remove(directory / "t10k-images-idx3-ubyte");
  const std::string message = error_loading(directory);
  INFO(message);
  CHECK(contains(message, directory.path().string()));
  CHECK(contains(message, "train-labels-idx1-ubyte or train-labels.idx1-ubyte (or .gz)"));
  CHECK(contains(message, "t10k-images-idx3-ubyte or t10k-images.idx3-ubyte (or .gz)"));
  CHECK_FALSE(contains(message, "train-images"));
  CHECK_FALSE(contains(message, "t10k-labels"));

  const auto nowhere = directory / "nowhere";
  const std::string no_directory = error_of([&] { load_dataset(nowhere); });
  CHECK(contains(no_directory, nowhere.string() + " is not a directory"));
}

TEST_CASE("load_dataset refuses files that do not belong together", "[dataset]") {
  struct Case {
    std::string name;
    Bytes content;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"train-labels-idx1-ubyte", idx_bytes({2}, {9, 0}), "holds 2 labels, expected one label per image"},
      {"t10k-labels-idx1-ubyte", idx_bytes({3}, {9, 0, 1}), "holds 3 labels, expected one label per image"},
      {"train-labels-idx1-ubyte", idx_bytes({3}, {9, 10, 4}), "label 1 is 10, expected 0 to 9"},
      {"train-labels-idx1-ubyte", idx_bytes({3, 28, 28}, images(3, 0)),
       "has rank 3, train-labels expects rank 1"},
      {"t10k-images-idx3-ubyte", idx_bytes({2}, {7, 1}), "has rank 1, t10k-images expects rank 3"},
      {"train-images-idx3-ubyte", idx_bytes({3, 28, 27}, Bytes(3 * 28 * 27)),
       "images are 28x27 pixels, expected 28x28"},
      {"train-images-idx3-ubyte", idx_bytes({3, 32, 28}, Bytes(3 * 32 * 28)),
       "images are 32x28 pixels, expected 28x28"},
      {"t10k-images-idx3-ubyte", idx_bytes({0, 28, 28}, {}), "holds no images"},
      {"t10k-images-idx3-ubyte", idx_bytes({2, 28, 28}, images(1, 0)), "data is truncated"},
  };
  for (const Case& c : cases) {
    const TemporaryDirectory directory;
    write_all(directory, '-', write_plain, "");
    write_plain(directory / c.name, c.content);
    const std::string message = error_loading(directory);
    INFO(message);
    CHECK(contains(message, c.message));
    CHECK(contains(message, (directory / c.name).string()));
  }
}

TEST_CASE("a validation set is the end of the training images, which end before it", "[dataset]") {
  const Dataset data{.train = digits(7, 1), .test = digits(3, 2)};
  for (const int images : {1, 2, 6}) {
    INFO(images);
    const Dataset held_out = with_validation(data, images);
    CHECK(held_out.train.count == 7 - images);
    CHECK(held_out.test.count == images);
    for (int i = 0; i < 7; ++i) {
      const bool kept = i < 7 - images;
      const Split& split = kept ? held_out.train : held_out.test;
      const int place = kept ? i : i - (7 - images);
      CHECK(std::ranges::equal(split.image(place), data.train.image(i)));
      CHECK(split.labels.at(static_cast<std::size_t>(place)) ==
            data.train.labels[static_cast<std::size_t>(i)]);
    }
    CHECK(held_out.train.images.size() == static_cast<std::size_t>(7 - images) * 28 * 28);
    CHECK(held_out.train.labels.size() == static_cast<std::size_t>(7 - images));
  }
  for (const int images : {-1, 0, 7, 8})
    kg::testing::check_error([&] { with_validation(data, images); }, {"validation", "1 to 6"});
}

TEST_CASE("class_names follow the labels", "[dataset]") {
  for (std::size_t label = 0; label < 10; ++label)
    CHECK(class_names(DatasetName::mnist)[label] == std::to_string(label));
  CHECK(class_names(DatasetName::fashion_mnist).front() == "T-shirt/top");
  CHECK(class_names(DatasetName::fashion_mnist).back() == "Ankle boot");
  CHECK(torchvision_names(DatasetName::mnist).front() == "0 - zero");
  CHECK(torchvision_names(DatasetName::mnist).back() == "9 - nine");
  for (std::size_t label = 0; label < 10; ++label)
    CHECK(torchvision_names(DatasetName::mnist)[label].substr(0, 4) == std::to_string(label) + " - ");
  CHECK(torchvision_names(DatasetName::fashion_mnist) == class_names(DatasetName::fashion_mnist));
}

}  // namespace
}  // namespace mnist
