// SPDX-License-Identifier: MIT
#include "data/dataset.h"

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
  CHECK(contains(message, "no usable training labels, test images\n"));
  CHECK(contains(message, "train-images-idx3-ubyte: 3 training images of 28x28"));
  CHECK(contains(message, "t10k-labels-idx1-ubyte: 2 test labels"));

  const auto nowhere = directory / "nowhere";
  const std::string no_directory = error_of([&] { load_dataset(nowhere); });
  CHECK(contains(no_directory, nowhere.string() + ": no such folder"));
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
       "train-labels-idx1-ubyte: 3 training images of 28x28, though its name says labels"},
      {"t10k-images-idx3-ubyte", idx_bytes({2}, {7, 1}),
       "t10k-images-idx3-ubyte: 2 test labels, though its name says images"},
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
    CHECK(contains(message, directory.path().string()));
    CHECK(contains(message, c.name));
  }
}

struct Named {
  std::string train_images, train_labels, test_images, test_labels;
};

// The four files, made with their folders. A name that ends in ".gz" says that the content is gzipped.
void write_named(const TemporaryDirectory& directory, const Named& names, const std::string& where = "") {
  const auto write = [&](const std::string& name, const Bytes& bytes) {
    const std::filesystem::path path = directory / (where + name);
    std::filesystem::create_directories(path.parent_path());
    write_plain(path, name.ends_with(".gz") ? gzip(bytes) : bytes);
  };
  write(names.train_images, idx_bytes({3, 28, 28}, images(3, 10)));
  write(names.train_labels, idx_bytes({3}, {9, 0, 4}));
  write(names.test_images, idx_bytes({2, 28, 28}, images(2, 50)));
  write(names.test_labels, idx_bytes({2}, {7, 1}));
}

Members members(const std::string& beginning, bool zipped = false) {
  const auto packed = [&](const Bytes& bytes) { return zipped ? gzip(bytes) : bytes; };
  return {{beginning + "train-images-idx3-ubyte", packed(idx_bytes({3, 28, 28}, images(3, 10)))},
          {beginning + "train-labels-idx1-ubyte", packed(idx_bytes({3}, {9, 0, 4}))},
          {beginning + "t10k-images-idx3-ubyte", packed(idx_bytes({2, 28, 28}, images(2, 50)))},
          {beginning + "t10k-labels-idx1-ubyte", packed(idx_bytes({2}, {7, 1}))}};
}

void check_loads(const std::filesystem::path& place) {
  INFO(place);
  Dataset dataset;
  REQUIRE(error_of([&] { dataset = load_dataset(place); }) == "nothing was thrown");
  CHECK(dataset.train.images == images(3, 10));
  CHECK(dataset.train.labels == Bytes{9, 0, 4});
  CHECK(dataset.test.images == images(2, 50));
  CHECK(dataset.test.labels == Bytes{7, 1});
}

const Named usual = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                     "t10k-labels-idx1-ubyte"};

TEST_CASE("load_dataset finds files in the layouts that others give them", "[dataset]") {
  const Named names = GENERATE(
      // torchvision
      Named{"MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte",
            "MNIST/raw/t10k-images-idx3-ubyte", "MNIST/raw/t10k-labels-idx1-ubyte"},
      Named{"KMNIST/raw/train-images-idx3-ubyte.gz", "KMNIST/raw/train-labels-idx1-ubyte.gz",
            "KMNIST/raw/t10k-images-idx3-ubyte.gz", "KMNIST/raw/t10k-labels-idx1-ubyte.gz"},
      // Kaggle
      Named{"train-images-idx3-ubyte/train-images-idx3-ubyte",
            "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte/t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte"},
      Named{"train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte",
            "t10k-labels.idx1-ubyte"},
      // EMNIST
      Named{"emnist-digits-train-images-idx3-ubyte", "emnist-digits-train-labels-idx1-ubyte",
            "emnist-digits-test-images-idx3-ubyte", "emnist-digits-test-labels-idx1-ubyte"},
      Named{"gzip/emnist-mnist-train-images-idx3-ubyte.gz", "gzip/emnist-mnist-train-labels-idx1-ubyte.gz",
            "gzip/emnist-mnist-test-images-idx3-ubyte.gz", "gzip/emnist-mnist-test-labels-idx1-ubyte.gz"},
      // one's own
      Named{"train/images", "train/labels", "test/images", "test/labels"},
      Named{"images/train", "labels/train", "images/test", "labels/test"},
      Named{"TRAIN_IMAGES.IDX", "TRAIN_LABELS.IDX", "TEST_IMAGES.IDX", "TEST_LABELS.IDX"},
      Named{"x/train.idx3", "y/train.idx1", "x/test.idx3", "y/test.idx1"}, Named{"d", "c", "b", "a"});
  const TemporaryDirectory directory;
  write_named(directory, names);
  write_plain(directory / "README.md", bytes_of("# train, test\n"));
  write_plain(directory / "train.csv", bytes_of("label,a,b,c\n"));
  write_plain(directory / ".train-images-idx3-ubyte", bytes_of("hidden"));
  check_loads(directory.path());
}

TEST_CASE("load_dataset finds files in zip archives", "[dataset]") {
  const TemporaryDirectory directory;
  SECTION("all in one") {
    const auto path = write_zip(directory / "archive.zip", members("", GENERATE(false, true)));
    check_loads(path);
    check_loads(directory.path());
  }
  SECTION("deep in one, beside what Macs put there") {
    Members all = members("gzip/emnist-digits-", true);
    all.emplace_back("__MACOSX/gzip/._emnist-digits-train-images-idx3-ubyte", Bytes{0, 5, 22, 7});
    check_loads(write_zip(directory / "archive.zip", all));
  }
  SECTION("one of several in one") {
    Members all = members("gzip/emnist-digits-");
    for (auto& member : members("gzip/emnist-mnist-")) all.push_back(member);
    const auto path = write_zip(directory / "archive.zip", all);
    check_loads(path / "gzip" / "emnist-digits");
    const std::string message = error_of([&] { load_dataset(path); });
    INFO(message);
    CHECK(contains(message, "holds 2 data sets"));
    CHECK(contains(message, "\n  --data " + (path / "gzip/emnist-mnist").string()));
  }
  SECTION("each in its own, whatever its name") {
    for (const auto& member : members(""))
      write_zip(directory / (member.first + GENERATE(".zip", ".gz", "")), {member});
    check_loads(directory.path());
  }
  SECTION("a damaged one is named") {
    write_plain(directory / "archive.zip", bytes_of("PK\3\4 and nothing more"));
    CHECK(contains(error_loading(directory), "archive.zip: the zip archive cannot be opened"));
  }
}

TEST_CASE("load_dataset takes the outermost of several data sets, or asks which", "[dataset]") {
  const TemporaryDirectory directory;
  write_named(directory, usual, "old/");
  SECTION("outermost") {
    write_named(directory, usual);
    write_plain(directory / "old" / "t10k-labels-idx1-ubyte", idx_bytes({2}, {0, 0}));
    check_loads(directory.path());
  }
  SECTION("two folders") {
    write_named(directory, usual, "new/");
    const std::string message = error_loading(directory);
    INFO(message);
    CHECK(
        contains(message, "holds 2 data sets; name one of them:\n  --data " + (directory / "new/").string()));
    CHECK(contains(message, "\n  --data " + (directory / "old/").string()));
    check_loads(directory / "new/");
  }
  SECTION("two beginnings") {
    for (const std::string beginning : {"raw/emnist-digits-", "raw/emnist-mnist-"})
      write_named(directory, usual, beginning);
    check_loads(directory / "raw/emnist-digits");
    const std::string message = error_of([&] { load_dataset(directory / "raw"); });
    CHECK(contains(message, "\n  --data " + (directory / "raw/emnist-digits").string()));
  }
  SECTION("two files for one part") {
    write_plain(directory / "old" / "t10k-labels.idx1-ubyte", idx_bytes({2}, {0, 0}));
    CHECK(contains(error_loading(directory),
                   "t10k-labels-idx1-ubyte and old/t10k-labels.idx1-ubyte are both test labels"));
  }
}

TEST_CASE("load_dataset does not guess what is for training", "[dataset]") {
  const TemporaryDirectory directory;
  write_named(directory, {"a", "b", "c", "d"});
  check_loads(directory.path());
  write_plain(directory / "c", idx_bytes({3, 28, 28}, images(3, 50)));
  write_plain(directory / "d", idx_bytes({3}, {7, 1, 1}));
  CHECK(contains(error_loading(directory), "/a: 3 images of 28x28\n"));
}

TEST_CASE("load_dataset reads QMNIST's labels, of which the digit is the first of eight", "[dataset]") {
  const TemporaryDirectory directory;
  write_named(directory, usual, "qmnist-");
  std::filesystem::remove(directory / "qmnist-t10k-labels-idx1-ubyte");
  Bytes labels = {0, 0, 12, 2, 0, 0, 0, 2, 0, 0, 0, 8};
  for (const std::uint8_t digit : {7, 1})
    for (std::uint8_t column = 0; column < 8; ++column)
      labels.insert(labels.end(), {0, 0, column, column == 0 ? digit : std::uint8_t{99}});
  const auto path = write_plain(directory / "qmnist-test-labels-idx2-int", labels);
  check_loads(directory.path());

  labels[12] = 0xff;  // a negative one
  write_plain(path, labels);
  CHECK(contains(error_loading(directory), "label 0 is -16777209, expected 0 to 9"));
  labels[11] = 7;  // columns
  write_plain(path, labels);
  CHECK(contains(error_loading(directory),
                 "qmnist-test-labels-idx2-int: IDX data of int32 elements with 2 sizes"));
}

TEST_CASE("load_dataset turns transposed images upright", "[dataset]") {
  const TemporaryDirectory directory;
  write_named(directory, usual);
  Bytes pixels(3 * image_bytes), upright(3 * image_bytes);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i * 31 + i / 100);
    const std::size_t y = i % image_bytes / 28, x = i % 28;
    upright[i - i % image_bytes + x * 28 + y] = pixels[i];
  }
  write_plain(directory / usual.train_images, idx_bytes({3, 28, 28}, pixels));
  CHECK(load_dataset(directory.path()).train.images == pixels);
  const Dataset dataset = load_dataset(directory.path(), {.transposed = true});
  CHECK(dataset.train.images == upright);
  CHECK(dataset.test.images == images(2, 50));
}

TEST_CASE("load_dataset has a notice for files that are called EMNIST's and not said to be transposed",
          "[dataset]") {
  const TemporaryDirectory directory;
  const Named emnist{"emnist-digits-train-images-idx3-ubyte", "emnist-digits-train-labels-idx1-ubyte",
                     "emnist-digits-test-images-idx3-ubyte", "emnist-digits-test-labels-idx1-ubyte"};
  write_named(directory, emnist);
  CHECK(contains(load_dataset(directory.path()).notice, "emnist-digits-train-images-idx3-ubyte: EMNIST's"));
  CHECK(load_dataset(directory.path(), {.transposed = true}).notice == "");
  const TemporaryDirectory other;
  write_named(other, usual);
  CHECK(load_dataset(other.path()).notice == "");
}

TEST_CASE("load_dataset says what a file is that it cannot use", "[dataset]") {
  const std::vector<std::pair<Bytes, std::string>> cases = {
      {bytes_of("<!DOCTYPE html><title>403 Forbidden</title>"), "a web page (HTML)"},
      {gzip(bytes_of("<html>")), "a web page (HTML) within gzip data"},
      {gzip(gzip(idx_bytes({2}, {7, 1}))), "gzip data within gzip data"},
      {bytes_of("version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"},
      {bytes_of("BZh91AY&SY"), "bzip2 data"},
      {{0, 0, 13, 1, 0, 0, 0, 2}, "IDX data of float32 elements"},
      {{0, 0, 12, 1, 0, 0, 0, 2}, "IDX data of int32 elements with 1 size"},
      {{0, 0, 8, 4, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2},
       "IDX data of unsigned bytes with 4 sizes"},
      {{0, 0, 8, 1, 0, 0}, "the header is truncated"},
      {{}, "an empty file"},
  };
  for (const auto& [content, message] : cases) {
    const TemporaryDirectory directory;
    write_named(directory, usual);
    write_plain(directory / usual.test_labels, content);
    INFO(error_loading(directory));
    CHECK(contains(error_loading(directory), "no usable test labels\n"));
    CHECK(contains(error_loading(directory), usual.test_labels + ": "));
    CHECK(contains(error_loading(directory), message));
  }
  const TemporaryDirectory directory;
  CHECK(contains(error_loading(directory), "the files of no data set"));
  CHECK(contains(error_loading(directory), "Found: nothing"));
  std::filesystem::create_directories(directory / usual.train_images);
  write_zip(directory / "train.npz", {{"arr_0.npy", {1}}});
  CHECK(contains(error_loading(directory), "train.npz: arr_0.npy: unknown data"));
}

TEST_CASE("load_dataset looks at the sizes before it reads the data", "[dataset]") {
  const TemporaryDirectory directory;
  write_named(directory, usual);
  const auto path = directory / usual.train_images;
  // Neither has the data that the header announces, which would be an error, too.
  write_gzip(path, idx_header({3, 28, 29}));
  CHECK(contains(error_loading(directory), "images are 28x29 pixels"));
  write_gzip(path, idx_header({4'000'000, 28, 28}));
  CHECK(contains(error_loading(directory), "holds 4000000 images, expected at most 1000000"));
  write_gzip(path, idx_header({300'000, 28, 28}));
  CHECK(contains(error_loading(directory), "holds 3 labels, expected one label per image"));
}

TEST_CASE("load_dataset says that labels are for more classes than the networks have", "[dataset]") {
  const TemporaryDirectory directory;
  write_named(directory, usual, "emnist-letters-");
  write_plain(directory / "emnist-letters-train-labels-idx1-ubyte", idx_bytes({3}, {9, 26, 4}));
  CHECK(contains(error_loading(directory),
                 "label 1 is 26, expected 0 to 9: the networks here tell 10 classes apart"));
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
  CHECK(std::ranges::equal(torchvision_names(DatasetName::fashion_mnist),
                           class_names(DatasetName::fashion_mnist)));
}

}  // namespace
}  // namespace mnist
