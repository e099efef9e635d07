// SPDX-License-Identifier: MIT
#include "report/report.h"

#include <cairo.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "augment/augment.h"
#include "catch.h"
#include "digits.h"
#include "idx_fixture.h"
#include "kernelgrad/error.h"
#include "report/progress.h"

namespace mnist {
namespace {

/// 30 images, of which 4, 5 and 14 are taken for a 9.
struct Tested {
  Split split = digits(30, 1);
  std::vector<int> predictions = std::vector<int>(split.labels.begin(), split.labels.end());
  Tested() {
    for (const std::size_t wrong : {4, 5, 14}) predictions[wrong] = 9;
  }
};

TEST_CASE("the accuracy of each class is that of the images of the class", "[report]") {
  const Tested tested;
  const ConfusionMatrix confusion = confusion_of(tested.split, tested.predictions, DatasetName::mnist);
  CHECK(confusion.count(4, 9) == 2);
  CHECK(confusion.count(5, 9) == 1);
  CHECK(confusion.correct() == 27);
  const std::string lines = class_accuracy_lines(confusion, DatasetName::mnist);
  CHECK(lines.find("Accuracy of 0 - zero : 100.00 % (3/3)\n") == 0);
  CHECK(contains(lines, "\nAccuracy of 4 - four : 33.33 % (1/3)\nAccuracy of 5 - five : 66.67 % (2/3)\n"));
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 10);
  const std::string csv = class_accuracy_csv(confusion);
  CHECK(csv.find("class,name,images,correct,accuracy\n0,0,3,3,100\n") == 0);
  CHECK(contains(csv, "\n4,4,3,1,33.333333333333336\n"));
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 11);
}

TEST_CASE("a class without images has no accuracy", "[report]") {
  ConfusionMatrix confusion(class_names(DatasetName::fashion_mnist));
  confusion.add(1, 1, 4);
  confusion.add(2, 1, 4);
  CHECK(class_accuracy_lines(confusion, DatasetName::fashion_mnist) ==
        "Accuracy of Trouser : 100.00 % (4/4)\nAccuracy of Pullover : 0.00 % (0/4)\n");
  CHECK(contains(class_accuracy_csv(confusion), "\n0,T-shirt/top,0,0,\n1,Trouser,4,4,100\n"));
}

/// The image whose top left corner lies there, in a picture of eight pixels for each of its own.
Bytes image_at(const std::filesystem::path& path, int left, int top) {
  const std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)> surface(
      cairo_image_surface_create_from_png(path.c_str()), cairo_surface_destroy);
  REQUIRE(cairo_surface_status(surface.get()) == CAIRO_STATUS_SUCCESS);
  const auto* data = reinterpret_cast<const std::uint32_t*>(cairo_image_surface_get_data(surface.get()));
  const int width = cairo_image_surface_get_width(surface.get());
  Bytes image;
  for (int y = 0; y < 28; ++y)
    for (int x = 0; x < 28; ++x)
      image.push_back(static_cast<std::uint8_t>(data[(top + 8 * y + 4) * width + left + 8 * x + 4] & 0xff));
  return image;
}

TEST_CASE("the report of a test depends on the seed in the images it draws, and on nothing else",
          "[report]") {
  const Tested tested;
  const auto written = [&](std::uint64_t seed) {
    const TemporaryDirectory out;
    write_test_report(out.path(), tested.split, tested.predictions, DatasetName::mnist, seed);
    std::vector<Bytes> files;
    for (const char* name :
         {"predictions.png", "confusion.png", "misclassified.png", "per_class.png", "per_class.csv"})
      files.push_back(read_plain(out / name));
    return files;
  };
  const auto one = written(1), again = written(1), two = written(2);
  CHECK((one == again));
  CHECK((one[0] != two[0]));
  CHECK((std::vector(one.begin() + 1, one.end()) == std::vector(two.begin() + 1, two.end())));
}

TEST_CASE("predictions.png shows different images, others for another seed", "[report]") {
  const Tested tested;
  const auto shown = [&](std::uint64_t seed) {
    const TemporaryDirectory out;
    write_test_report(out.path(), tested.split, tested.predictions, DatasetName::mnist, seed);
    std::vector<Bytes> images;
    // In pixels: cells of 304 x 332, the image 40 from the cell's left and 72 from its top.
    for (int place = 0; place < 24; ++place)
      images.push_back(image_at(out / "predictions.png", 72 + 304 * (place % 6), 216 + 332 * (place / 6)));
    return images;
  };
  std::vector<Bytes> in_order;
  for (int i = 0; i < tested.split.count; ++i) {
    const auto pixels = tested.split.image(i);
    in_order.emplace_back(pixels.begin(), pixels.end());
  }
  const std::set<Bytes> test_set(in_order.begin(), in_order.end());
  REQUIRE(test_set.size() == 30);
  const std::vector<Bytes> one = shown(1), two = shown(2);
  CHECK(std::set(one.begin(), one.end()).size() == 24);
  for (const Bytes& image : one) CHECK(test_set.count(image) == 1);
  CHECK((one != two));
  // In the mean 0.8 images stand where they do in the test set.
  for (const std::vector<Bytes>& images : {one, two})
    CHECK(std::inner_product(images.begin(), images.end(), in_order.begin(), 0, std::plus<>(),
                             std::equal_to<>()) < 8);
}

TEST_CASE("every image of the test set comes to every place of predictions.png", "[report]") {
  const Split split = digits(2, 1);
  std::array<std::set<Bytes>, 2> seen;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const TemporaryDirectory out;
    write_test_report(out.path(), split, std::vector<int>{0, 0}, DatasetName::mnist, seed);
    std::set<Bytes> shown;
    for (int place = 0; place < 2; ++place) {
      const Bytes image = image_at(out / "predictions.png", 72 + 304 * place, 216);
      shown.insert(image);
      seen[static_cast<std::size_t>(place)].insert(image);
    }
    CHECK(shown.size() == 2);
  }
  for (const std::set<Bytes>& images : seen) CHECK(images.size() == 2);
}

TEST_CASE("a test set with fewer images than the grid shows them all", "[report]") {
  const Split split = digits(3, 1);
  const TemporaryDirectory out;
  write_test_report(out.path(), split, std::vector<int>{0, 0, 0}, DatasetName::mnist, 1);
  CHECK(read_plain(out / "predictions.png").size() > 1000);
}

TEST_CASE("augmented.png shows the first images of epoch 1 grey for grey", "[report]") {
  const Split split = digits(60, 1);
  const ImageLoaderOptions options{
      .batch_size = 7,
      .seed = 5,
      .shuffle = true,
      .augmentation = Augmentation({RandomAffine{.degrees = 20, .translate = {0.1, 0.1}}})};
  const TemporaryDirectory out;
  write_augmented(out / "augmented.png", split, options, DatasetName::mnist);

  ImageLoader loader(split, options);
  loader.start_epoch(1);
  for (const int place : {0, 5, 23}) {
    INFO("image " << place);
    const int index = loader.order()[static_cast<std::size_t>(place)];
    Image image, scratch;
    image.assign(split.image(index), 28, 28);
    kg::RandomStream random = loader.random(index);
    options.augmentation.apply(image, scratch, random);
    // In pixels: six cells of 304 x 300 to a row, the image 40 from the cell's left and 40 from its top.
    const int left = 32 + 304 * (place % 6) + 40, top = 144 + 300 * (place / 6) + 40;
    CHECK((image_at(out / "augmented.png", left, top) == image.pixels));
  }
}

/// An epoch of two batches.
TrainedEpoch epoch_of(int number, double test_accuracy, double seconds = 1.5) {
  return {.metrics = {.epoch = number,
                      .lr = 0.5 / number,
                      .train_loss = 0.5,
                      .test_loss = 0.25,
                      .test_accuracy = test_accuracy,
                      .seconds = seconds},
          .batches = {{0.5, 1, 2}, {0.75, 2, 2}}};
}

TEST_CASE("a report's log and tables follow from its epochs", "[report]") {
  const TemporaryDirectory out;
  const ReportOptions options{
      .out = out.path(), .model = "a model", .tested_images = 50, .heading = "heading\n", .quiet = true};
  Report report(options);
  report.begin_epoch(1, 0.5);
  report.end_epoch(epoch_of(1, 60));
  report.begin_epoch(2, 0.25);
  report.end_epoch(epoch_of(2, 50, 0.25));
  report.write();
  const std::string progress =
      progress_line({.batches_done = 2, .loss = 0.75, .correct = 3, .images = 4}, 2, 1.5);
  CHECK(contains(progress, "Loss=0.75 Batch_id=1 Accuracy=75.00: 100%"));
  const std::string log = text_of(out / "train.log");
  CHECK(log.find("heading\nEPOCH: 1\n" + progress +
                 "\nTest set: Average loss: 0.2500, Accuracy: 30/50 (60.00%)\n\n"
                 "Adjusting learning rate of group 0 to 2.5000e-01.\nEPOCH: 2\n") == 0);
  CHECK(log.ends_with("Accuracy: 25/50 (50.00%)\n\n"));
  CHECK(text_of(out / "metrics.csv") ==
        metrics_csv(std::vector{report.epochs()[0].metrics, report.epochs()[1].metrics}));
  CHECK(text_of(out / "batches.csv") ==
        "epoch,batch,loss,accuracy\n1,0,0.5,50\n1,1,0.75,75\n2,0,0.5,50\n2,1,0.75,75\n");

  // Of epochs that it is given it writes the same.
  const TemporaryDirectory again;
  ReportOptions other = options;
  other.out = again.path();
  Report second(other);
  for (const TrainedEpoch& epoch : report.epochs()) second.add_epoch(epoch);
  second.write();
  for (const char* name : {"train.log", "metrics.csv", "batches.csv"})
    CHECK(text_of(again / name) == text_of(out / name));

  report.cut_epoch(3, 0.25, "as far as it got\n");
  report.finish(1234, ConfusionMatrix(class_names(DatasetName::mnist)), "the end");
  const std::string whole = text_of(out / "train.log");
  CHECK(whole.find(log + "EPOCH: 3\nas far as it got\n\nParameters: 1,234\n") == 0);
  CHECK(contains(whole, "Best Test Accuracy: 60.00% (epoch 1)\nbest.safetensors: epoch 1, chosen by test "));
  CHECK(whole.ends_with("the end\n"));
}

TEST_CASE("of epochs equally good the first is the best", "[report]") {
  const TemporaryDirectory out;
  Report report({.out = out.path(), .model = "a model", .tested_images = 50, .quiet = true});
  const double train[] = {70, 90, 90, 80}, test[] = {60, 60, 50, 60};
  for (int i = 0; i < 4; ++i)
    report.add_epoch({.metrics = {.epoch = i + 1, .train_accuracy = train[i], .test_accuracy = test[i]},
                      .batches = {{0.5, 1, 2}}});
  CHECK(report.best().epoch == 1);
  report.finish(1234, ConfusionMatrix(class_names(DatasetName::mnist)), "the end");
  const std::string log = text_of(out / "train.log");
  CHECK(contains(log, "Best Train Accuracy: 90.00% (epoch 2)\n"));
  CHECK(contains(log, "Best Test Accuracy: 60.00% (epoch 1)\n"));
}

}  // namespace
}  // namespace mnist
