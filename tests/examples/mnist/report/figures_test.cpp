// SPDX-License-Identifier: MIT
#include "report/figures.h"

#include <cairo.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/error.h"
#include "report/plot.h"

namespace mnist {
namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr std::array<std::string_view, 10> digit_names = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

struct Pixel {
  int red, green, blue;
};

bool is_blue(Pixel p) { return p.blue > p.red + 60; }
bool is_orange(Pixel p) { return p.red > p.blue + 60 && p.green > p.blue + 10; }
bool is_ink(Pixel p) { return p.red < 120 && p.green < 120 && p.blue < 120; }

/// A figure read back from its file.
class Picture {
 public:
  explicit Picture(const std::filesystem::path& path) {
    const std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)> surface(
        cairo_image_surface_create_from_png(path.c_str()), cairo_surface_destroy);
    REQUIRE(cairo_surface_status(surface.get()) == CAIRO_STATUS_SUCCESS);
    width = cairo_image_surface_get_width(surface.get());
    height = cairo_image_surface_get_height(surface.get());
    const auto* data = reinterpret_cast<const uint32_t*>(cairo_image_surface_get_data(surface.get()));
    pixels_.assign(data, data + size_t(width) * size_t(height));
  }

  Pixel at(int x, int y) const {
    const uint32_t p = pixels_[size_t(y) * size_t(width) + size_t(x)];
    return {int(p >> 16 & 0xFF), int(p >> 8 & 0xFF), int(p & 0xFF)};
  }

  int width = 0, height = 0;

 private:
  std::vector<uint32_t> pixels_;
};

struct Box {
  int left, top, right, bottom;
};

/// Where the pixels of a kind lie.
struct Patch {
  int count = 0;
  int left = std::numeric_limits<int>::max(), right = -1, top = std::numeric_limits<int>::max(), bottom = -1;
  double x() const { return (left + right) / 2.0; }
  double y() const { return (top + bottom) / 2.0; }
};

Patch find(const Picture& picture, Box box, bool (*kind)(Pixel)) {
  Patch patch;
  for (int y = box.top; y < box.bottom; ++y) {
    for (int x = box.left; x < box.right; ++x) {
      if (!kind(picture.at(x, y))) continue;
      ++patch.count;
      patch = {patch.count, std::min(patch.left, x), std::max(patch.right, x), std::min(patch.top, y),
               std::max(patch.bottom, y)};
    }
  }
  return patch;
}

Patch find(const Picture& picture, bool (*kind)(Pixel)) {
  return find(picture, {0, 0, picture.width, picture.height}, kind);
}

/// Top-left, bottom-left, top-right, bottom-right: training loss and accuracy, test loss and accuracy.
std::array<Box, 4> panels_of(const Picture& p) {
  const int x = p.width / 2, y = p.height / 2;
  return {{{0, 0, x, y}, {0, y, x, p.height}, {x, 0, p.width, y}, {x, y, p.width, p.height}}};
}

std::vector<EpochMetrics> converging_run(int epochs) {
  std::vector<EpochMetrics> run;
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    const double rest = std::exp(-(epoch - 1) / 3.0);
    run.push_back(
        {epoch, 0.04, 0.05 + 0.4 * rest, 98.45 - 12 * rest, 0.0175 + 0.04 * rest, 99.44 - 1.2 * rest, 20});
  }
  return run;
}

Picture draw_curves(const std::vector<EpochMetrics>& run, const std::vector<BatchMetrics>& batches = {},
                    const CurveTexts& texts = {}) {
  const TemporaryDirectory directory;
  write_curves(directory / "curves.png", run, batches, texts);
  return Picture(directory / "curves.png");
}

/// Batches whose loss falls from 2.3 with a ripple, three epochs of a hundred.
std::vector<BatchMetrics> converging_batches() {
  std::vector<BatchMetrics> batches;
  for (int i = 0; i < 300; ++i) {
    const double rest = std::exp(-i / 30.0), ripple = i % 2 == 0 ? 0.02 : -0.02;
    batches.push_back({i / 100 + 1, i % 100, 0.1 + ripple + 2.2 * rest, 98 - 88 * rest});
  }
  return batches;
}

Picture draw_comparison(const std::vector<EpochMetrics>& run) {
  const TemporaryDirectory directory;
  write_comparison(directory / "comparison.png", "a model: training and test", run);
  return Picture(directory / "comparison.png");
}

Picture draw_class_accuracies(const ConfusionMatrix& matrix) {
  const TemporaryDirectory directory;
  write_class_accuracies(directory / "per_class.png", matrix);
  return Picture(directory / "per_class.png");
}

Picture draw_confusion(const ConfusionMatrix& matrix) {
  const TemporaryDirectory directory;
  write_confusion(directory / "confusion.png", matrix);
  return Picture(directory / "confusion.png");
}

Picture draw_misclassified(const MisclassifiedImages& images) {
  const TemporaryDirectory directory;
  write_misclassified(directory / "wrong.png", images);
  return Picture(directory / "wrong.png");
}

/// The colour of the curves of batches, lighter than that of the epochs.
bool is_faint_blue(Pixel p) { return is_blue(p) && p.red > 130; }

constexpr int enlarged = 8;

/// Where the picture shows exactly these 28x28 pixels as squares of 8x8.
std::optional<Point> find_image(const Picture& picture, const Bytes& image) {
  const auto shown_at = [&](int left, int top) {
    for (int y = 0; y < 28 * enlarged; ++y) {
      for (int x = 0; x < 28 * enlarged; ++x) {
        const Pixel p = picture.at(left + x, top + y);
        const int value = image[size_t(y / enlarged * 28 + x / enlarged)];
        if (p.red != value || p.green != value || p.blue != value) return false;
      }
    }
    return true;
  };
  for (int top = 0; top + 28 * enlarged <= picture.height; ++top) {
    for (int left = 0; left + 28 * enlarged <= picture.width; ++left) {
      if (shown_at(left, top)) return Point{double(left), double(top)};
    }
  }
  return std::nullopt;
}

std::vector<Bytes> random_images(size_t count) {
  std::mt19937 random(7);
  std::vector<Bytes> images(count, Bytes(28 * 28));
  for (Bytes& image : images) {
    for (uint8_t& value : image) value = static_cast<uint8_t>(random());
  }
  return images;
}

MisclassifiedImages misclassified_of(const std::vector<Bytes>& images) {
  MisclassifiedImages misclassified{.images = {}, .tested = 10000, .class_names = digit_names};
  for (const Bytes& image : images)
    misclassified.images.push_back({.pixels = image, .predicted = 3, .actual = 5});
  return misclassified;
}

}  // namespace

TEST_CASE("ticks are round, inside of the range and neither many nor few", "[figures][plot]") {
  CHECK(round_ticks({0, 1}, 6) == std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1});
  CHECK(round_ticks({1, 15}, 15, true).size() == 15);
  CHECK(round_ticks({1, 1}, 15, true) == std::vector<double>{1});
  CHECK(round_ticks({1, 2}, 15, true) == std::vector<double>{1, 2});
  CHECK(round_ticks({1, 16}, 15, true) == std::vector<double>{2, 4, 6, 8, 10, 12, 14, 16});
  CHECK(round_ticks({1, 100}, 15, true) == std::vector<double>{10, 20, 30, 40, 50, 60, 70, 80, 90, 100});

  std::mt19937 random(1);
  std::uniform_real_distribution<double> exponent(-6, 6), offset(-50, 50);
  for (int i = 0; i < 1000; ++i) {
    const double span = std::pow(10, exponent(random)), low = offset(random) * span;
    const auto ticks = round_ticks({low, low + span}, 8);
    INFO(low << " + " << span);
    REQUIRE(ticks.size() >= 3);
    CHECK(ticks.size() <= 8);
    CHECK(ticks.front() >= low - 1e-6 * span);
    CHECK(ticks.back() <= low + span * (1 + 1e-6));
    const double step = ticks[1] - ticks[0];
    const double leading = step / std::pow(10, std::floor(std::log10(step) + 1e-6));
    const bool is_round =
        std::abs(leading - 1) < 1e-6 || std::abs(leading - 2) < 1e-6 || std::abs(leading - 5) < 1e-6;
    CHECK(is_round);
    CHECK(std::abs(std::remainder(ticks[0], step)) < 1e-6 * step);
  }
}

TEST_CASE("tick labels have the digits that tell them apart", "[figures][plot]") {
  CHECK(tick_decimals({98, 99}) == 0);
  CHECK(tick_decimals({98.5, 99}) == 1);
  CHECK(tick_decimals({0.02, 0.04}) == 2);
  // Their difference is 0.09999999999999432.
  CHECK(tick_decimals({90.2, 90.3}) == 1);
  CHECK(tick_decimals({0, 1000}) == 0);
}

TEST_CASE("every panel shows its curve for one epoch and for a hundred", "[figures]") {
  for (const int epochs : {1, 2, 15, 100}) {
    INFO(epochs << " epochs");
    const Picture picture = draw_curves(converging_run(epochs));
    const auto panels = panels_of(picture);
    for (size_t i = 0; i < panels.size(); ++i) {
      INFO("panel " << i);
      const bool train = i < 2;
      const Patch curve = find(picture, panels[i], train ? is_blue : is_orange);
      CHECK(find(picture, panels[i], train ? is_orange : is_blue).count == 0);
      CHECK(curve.count >= 60);
      if (epochs == 1) {
        // A dot: small and round.
        CHECK(curve.right - curve.left < 20);
        CHECK(std::abs((curve.right - curve.left) - (curve.bottom - curve.top)) <= 2);
      } else {
        CHECK(curve.right - curve.left > 0.6 * picture.width / 2);
      }
      // The test accuracy shares its panel with the goal, which the first epochs miss by far.
      const bool fills_panel = epochs >= 15 || (epochs == 2 && i < 3);
      if (fills_panel) CHECK(curve.bottom - curve.top > 0.5 * picture.height / 2);
    }
  }
}

TEST_CASE("the training panels show every batch below the epochs", "[figures]") {
  const auto run = converging_run(3);
  const Picture without = draw_curves(run), with = draw_curves(run, converging_batches());
  const auto panels = panels_of(with);
  for (size_t i = 0; i < panels.size(); ++i) {
    INFO("panel " << i);
    const Patch batches = find(with, panels[i], is_faint_blue);
    if (i >= 2) {
      CHECK(batches.count == 0);
      continue;
    }
    CHECK(batches.right - batches.left > 0.6 * with.width / 2);
    CHECK(batches.count > 5 * find(without, panels[i], is_faint_blue).count);
    // Falling for the loss, rising for the accuracy.
    Box first = panels[i], last = panels[i];
    first.top += 140;  // below the legend
    last.top += 140;
    first.right = batches.left + 60;
    last.left = batches.right - 60;
    const bool falls = find(with, first, is_faint_blue).y() < find(with, last, is_faint_blue).y();
    CHECK(falls == (i == 0));
  }
}

TEST_CASE("the worst batches are cut off at the frame, and nothing is drawn outside", "[figures]") {
  const auto run = converging_run(3);
  auto batches = converging_batches();
  const Picture before = draw_curves(run, batches);
  batches[0].loss = 1e6;
  batches[0].accuracy = 0;
  const Picture after = draw_curves(run, batches);
  for (size_t i = 0; i < 2; ++i) {
    INFO("panel " << i);
    // Right of the first batches the curve is where it was.
    Box rest = panels_of(before)[i];
    rest.left += rest.right / 2;
    const Patch a = find(before, rest, is_blue), b = find(after, rest, is_blue);
    CHECK(a.count == b.count);
    CHECK(a.top == b.top);
    CHECK(a.bottom == b.bottom);
  }
  // Between legend and frame there is white, above the peak too.
  const Box gap{panels_of(after)[0].left, 104, panels_of(after)[0].right, 116};
  CHECK(find(after, gap, is_blue).count == 0);
}

TEST_CASE("a single batch and diverged batches are drawn", "[figures]") {
  const Picture one = draw_curves(converging_run(1), {{1, 0, 2.3, 12.5}});
  CHECK(find(one, panels_of(one)[0], is_faint_blue).count > 60);
  const Picture none =
      draw_curves(converging_run(1), {{1, 0, not_a_number, 12.5}, {1, 1, not_a_number, 12.5}});
  CHECK(find(none, panels_of(none)[0], is_blue).count > 60);
}

TEST_CASE("training and test stand in one chart, for accuracy and for loss", "[figures]") {
  for (const int epochs : {1, 2, 15}) {
    INFO(epochs << " epochs");
    const Picture picture = draw_comparison(converging_run(epochs));
    const int legend = 180;  // in pixels from the top; the frames begin below
    for (const bool is_accuracy : {true, false}) {
      INFO((is_accuracy ? "accuracy" : "loss"));
      const int middle = picture.width / 2;
      const Box panel{is_accuracy ? 0 : middle, legend, is_accuracy ? middle : picture.width, picture.height};
      const Patch train = find(picture, panel, is_blue), test = find(picture, panel, is_orange);
      CHECK(train.count > 50);
      CHECK(test.count > 50);
      // The test is the more accurate, and its loss the lower.
      CHECK((test.y() < train.y()) == is_accuracy);
    }
  }
  CHECK(contains(error_of([] { write_comparison("comparison.png", "", {}); }), "comparison.png: no epochs"));
}

TEST_CASE("what is more is drawn higher, what is later further right", "[figures]") {
  const Picture picture = draw_curves(converging_run(15));
  const auto panels = panels_of(picture);
  for (size_t i = 0; i < panels.size(); ++i) {
    INFO("panel " << i);
    const auto kind = i < 2 ? is_blue : is_orange;
    const Patch curve = find(picture, panels[i], kind);
    Box first = panels[i], last = panels[i];
    first.right = curve.left + 20;
    last.left = curve.right - 20;
    const bool falls = find(picture, first, kind).y() < find(picture, last, kind).y();
    const bool is_loss = i == 0 || i == 2;
    CHECK(falls == is_loss);
  }
}

TEST_CASE("only the test accuracy has the line of the goal", "[figures]") {
  // Many dark pieces of the same length, 5 points of 2 pixels, in one row of pixels: no text looks like that.
  const auto dashed_row = [](const Picture& picture, Box panel) {
    for (int y = panel.top; y < panel.bottom; ++y) {
      int dashes = 0, length = 0;
      for (int x = panel.left; x < panel.right; ++x) {
        const bool dark = picture.at(x, y).red < 150;
        if (!dark && length >= 9 && length <= 11) ++dashes;
        length = dark ? length + 1 : 0;
      }
      if (dashes > 30) return y;
    }
    return -1;
  };
  auto run = converging_run(15);
  const Picture picture = draw_curves(run);
  const auto panels = panels_of(picture);
  for (size_t i = 0; i < 3; ++i) CHECK(dashed_row(picture, panels[i]) == -1);
  CHECK(dashed_row(picture, panels[3]) > 0);
  const Picture without = draw_curves(run, {}, {.goal_accuracy = {}});
  CHECK(dashed_row(without, panels_of(without)[3]) == -1);

  for (EpochMetrics& epoch : run) epoch.test_accuracy -= 50;
  const Picture far_away = draw_curves(run);
  CHECK(dashed_row(far_away, panels_of(far_away)[3]) == -1);
  // The curve keeps the panel.
  const Patch curve = find(far_away, panels[3], is_orange);
  CHECK(curve.bottom - curve.top > 0.5 * picture.height / 2);
}

TEST_CASE("equal and extreme values are drawn", "[figures]") {
  auto run = converging_run(3);
  for (EpochMetrics& epoch : run) {
    epoch = {epoch.epoch, 0.04, 0, 100, 2.302585, 99.4, 20};
  }
  const Picture flat = draw_curves(run);
  for (size_t i = 0; i < 4; ++i)
    CHECK(find(flat, panels_of(flat)[i], i < 2 ? is_blue : is_orange).count > 500);

  // Few epochs have dots, many a line alone.
  const Patch dotted = find(flat, panels_of(flat)[2], is_orange);
  CHECK(dotted.bottom - dotted.top >= 8);
  auto long_run = converging_run(100);
  for (EpochMetrics& epoch : long_run) epoch.test_loss = 2.302585;
  const Picture long_flat = draw_curves(long_run);
  const Patch line = find(long_flat, panels_of(long_flat)[2], is_orange);
  CHECK(line.bottom - line.top <= 5);

  // Ticks of many digits stay clear of the axis' label: white lies between, wider than between two digits.
  for (size_t i = 0; i < run.size(); ++i) run[i].test_loss = 2.298485 + 1e-5 * static_cast<double>(i);
  const Picture nearly_flat = draw_curves(run);
  const Box panel = panels_of(nearly_flat)[2];
  int white = 0, widest = 0;
  for (int x = panel.left + 20; x < panel.left + 60; ++x) {
    const bool has_ink = find(nearly_flat, {x, panel.top + 60, x + 1, panel.bottom - 80}, is_ink).count > 0;
    white = has_ink ? 0 : white + 1;
    widest = std::max(widest, white);
  }
  CHECK(widest >= 6);

  run[1].train_loss = 1e30;
  const Picture huge = draw_curves(run);
  CHECK(find(huge, panels_of(huge)[0], is_blue).count > 500);
}

TEST_CASE("values that are not finite leave a gap", "[figures]") {
  auto run = converging_run(5);
  run[1].train_loss = not_a_number;
  run[3].train_loss = std::numeric_limits<double>::infinity();
  run[0].test_loss = run[1].test_loss = run[2].test_loss = run[3].test_loss = run[4].test_loss = not_a_number;
  const Picture picture = draw_curves(run);
  const auto panels = panels_of(picture);
  // Three lone points.
  const Patch dots = find(picture, panels[0], is_blue);
  CHECK(dots.count >= 3 * 60);
  CHECK(dots.count <= 3 * 250);
  CHECK(dots.bottom - dots.top > 0.5 * picture.height / 2);
  CHECK(find(picture, panels[2], is_orange).count == 0);
}

TEST_CASE("curves of no epoch are refused", "[figures]") {
  CHECK(contains(error_of([] { write_curves("curves.png", {}, {}); }), "curves.png: no epochs"));
}

TEST_CASE("the first 24 misclassified images are shown in order, pixel by pixel", "[figures]") {
  for (const size_t count : {1, 5, 24, 30}) {
    INFO(count << " images");
    const auto images = random_images(count);
    const Picture picture = draw_misclassified(misclassified_of(images));
    double before = -1;
    for (size_t i = 0; i < count; ++i) {
      INFO("image " << i);
      const auto place = find_image(picture, images[i]);
      CHECK(place.has_value() == (i < 24));
      if (!place) continue;
      const double reading_order = place->y * picture.width + place->x;
      CHECK(reading_order > before);
      before = reading_order;
      // Both labels stand above it, the predicted one in red, the true one in green.
      const Box above{int(place->x), int(place->y) - 64, int(place->x) + 224, int(place->y)};
      CHECK(find(picture, above, [](Pixel p) { return p.red > p.green + 80; }).count > 50);
      CHECK(find(picture, above, [](Pixel p) { return p.green > p.red + 60; }).count > 50);
    }
  }
}

TEST_CASE("a network without mistakes gets a figure that says so", "[figures]") {
  const Picture none = draw_misclassified(misclassified_of({}));
  CHECK(find(none, is_ink).count > 300);
  CHECK(none.width == draw_misclassified(misclassified_of(random_images(24))).width);
}

TEST_CASE("predictions are red where they are wrong, and green where right", "[figures]") {
  const auto images = random_images(30);
  Predictions predictions{.images = {}, .note = "some of them", .class_names = digit_names};
  for (const Bytes& image : images)
    predictions.images.push_back(
        {.pixels = image, .predicted = 3, .actual = predictions.images.empty() ? 3 : 5});
  const TemporaryDirectory directory;
  write_predictions(directory / "a.png", predictions);
  const Picture picture(directory / "a.png");
  for (const size_t i : {size_t{0}, size_t{1}, size_t{23}}) {
    INFO("image " << i);
    const auto place = find_image(picture, images[i]);
    REQUIRE(place.has_value());
    const Box above{int(place->x), int(place->y) - 64, int(place->x) + 224, int(place->y)};
    const int red = find(picture, above, [](Pixel p) { return p.red > p.green + 80; }).count;
    CHECK((red > 50) == (i > 0));
    CHECK(find(picture, above, [](Pixel p) { return p.green > p.red + 60; }).count > 50);
  }
  CHECK_FALSE(find_image(picture, images[24]).has_value());
  predictions.images[29].predicted = 10;
  CHECK(contains(error_of([&] { write_predictions(directory / "b.png", predictions); }), "label 10"));
  CHECK_FALSE(std::filesystem::exists(directory / "b.png"));
}

TEST_CASE("training samples are shown in order, each under its label", "[figures]") {
  const auto images = random_images(25);
  TrainingSamples samples{.images = {}, .note = "some of them", .class_names = digit_names};
  for (const Bytes& image : images) samples.images.push_back({.pixels = image, .label = 7});
  const TemporaryDirectory directory;
  write_training_samples(directory / "a.png", samples);
  const Picture picture(directory / "a.png");
  double before = -1;
  for (const size_t i : {size_t{0}, size_t{5}, size_t{6}, size_t{23}}) {
    INFO("image " << i);
    const auto place = find_image(picture, images[i]);
    REQUIRE(place.has_value());
    const double reading_order = place->y * picture.width + place->x;
    CHECK(reading_order > before);
    before = reading_order;
    const Box above{int(place->x), int(place->y) - 40, int(place->x) + 224, int(place->y)};
    const Patch label = find(picture, above, is_ink);
    CHECK(label.count > 20);
    CHECK(std::abs(label.x() - place->x - 112) < 4);
  }
  CHECK_FALSE(find_image(picture, images[24]).has_value());
  samples.images[24].label = -1;
  CHECK(contains(error_of([&] { write_training_samples(directory / "b.png", samples); }), "label -1"));
}

TEST_CASE("bars are as high as their classes are accurate", "[figures]") {
  const auto names = std::span(digit_names).first(4);
  ConfusionMatrix matrix(names);
  matrix.add(0, 0, 100);
  matrix.add(1, 1, 50), matrix.add(1, 0, 50);
  matrix.add(2, 2, 25), matrix.add(2, 0, 75);  // and no image of the last class
  const Picture picture = draw_class_accuracies(matrix);
  const Patch all = find(picture, is_blue);
  const double place = (all.right - all.left) / 2.7;  // two places and a bar of 0.7
  std::array<int, 4> heights{};
  for (size_t i = 0; i < 4; ++i) {
    const int left = all.left + static_cast<int>(static_cast<double>(i) * place - 0.1 * place);
    const Patch bar = find(picture, {left, 0, left + static_cast<int>(0.9 * place), picture.height}, is_blue);
    heights[i] = bar.count == 0 ? 0 : bar.bottom - bar.top + 1;
  }
  // The axis starts at 0.
  CHECK(std::abs(heights[1] - 0.50 * heights[0]) <= 2);
  CHECK(std::abs(heights[2] - 0.25 * heights[0]) <= 2);
  CHECK(heights[3] == 0);
}

TEST_CASE("bars of accurate classes start where their differences show", "[figures]") {
  ConfusionMatrix matrix(digit_names);
  for (int label = 0; label < 10; ++label)
    matrix.add(label, label, 990 + label), matrix.add(label, 9 - label, 10 - label);
  const Picture picture = draw_class_accuracies(matrix);
  const Patch all = find(picture, is_blue);
  const double place = (all.right - all.left) / 9.7;
  const auto height = [&](int i) {
    const int left = all.left + static_cast<int>(i * place - 0.1 * place);
    const Patch bar = find(picture, {left, 0, left + static_cast<int>(0.9 * place), picture.height}, is_blue);
    return bar.bottom - bar.top;
  };
  CHECK(height(9) > 1.3 * height(0));
  CHECK(height(0) > 50);
}

TEST_CASE("bars without images, perfect ones and long names are drawn", "[figures]") {
  CHECK(find(draw_class_accuracies(ConfusionMatrix(digit_names)), is_blue).count == 0);
  std::vector<std::string_view> names(10, "T-shirt/top");
  ConfusionMatrix perfect(names);
  for (int label = 0; label < 10; ++label) perfect.add(label, label, 7);
  const Picture picture = draw_class_accuracies(perfect);
  const Patch bars = find(picture, is_blue), ink = find(picture, is_ink);
  CHECK(bars.bottom - bars.top > 150);
  CHECK(ink.left > 8);
  CHECK(ink.bottom < picture.height - 8);
}

TEST_CASE("misclassified images that cannot be drawn are refused", "[figures]") {
  const TemporaryDirectory directory;
  const auto path = directory / "wrong.png";
  const auto images = random_images(2);
  const auto error_after = [&](auto change) {
    MisclassifiedImages misclassified = misclassified_of(images);
    change(misclassified);
    return error_of([&] { write_misclassified(path, misclassified); });
  };
  CHECK(contains(error_after([](auto& m) { m.images[1].predicted = 10; }), "label 10"));
  CHECK(contains(error_after([](auto& m) { m.images[0].actual = -1; }), "label -1"));
  CHECK(contains(error_after([](auto& m) { m.images[0].pixels = m.images[0].pixels.first(783); }),
                 "783 pixels"));
  CHECK(contains(error_after([](auto& m) { m.images[0].pixels = {}; }), "0 pixels"));
  CHECK(contains(error_after([](auto& m) { m.tested = 1; }), "only 1 tested"));
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("the confusion matrix counts", "[figures]") {
  ConfusionMatrix matrix(digit_names);
  matrix.add(3, 3, 5);
  matrix.add(3, 8);
  matrix.add(3, 8);
  matrix.add(0, 0);
  CHECK(matrix.count(3, 8) == 2);
  CHECK(matrix.count(8, 3) == 0);
  CHECK(matrix.total(3) == 7);
  CHECK(matrix.total() == 8);
  CHECK(matrix.correct() == 6);
  CHECK(matrix.largest_confusion() == 2);
  CHECK_THROWS_AS(matrix.add(10, 0), kg::Error);
  CHECK_THROWS_AS(matrix.add(0, -1), kg::Error);
  CHECK_THROWS_AS(ConfusionMatrix({}), kg::Error);
}

TEST_CASE("true classes are rows, predicted ones columns, and mistakes show", "[figures]") {
  ConfusionMatrix matrix(digit_names);
  for (int label = 0; label < 10; ++label) matrix.add(label, label, 1000);
  const Picture perfect = draw_confusion(matrix);
  const Patch diagonal = find(perfect, is_blue);
  const double cell_width = (diagonal.right - diagonal.left) / 10.0;
  const double cell_height = (diagonal.bottom - diagonal.top) / 10.0;
  CHECK(find(perfect, is_orange).count == 0);
  const Pixel never = perfect.at(static_cast<int>(diagonal.left + 5.1 * cell_width),
                                 static_cast<int>(diagonal.top + 0.2 * cell_height));
  CHECK(std::min({never.red, never.green, never.blue}) == 255);

  matrix.add(1, 8);
  const Picture one_wrong = draw_confusion(matrix);
  const Patch wrong = find(one_wrong, is_orange);
  CHECK(wrong.count > 0.7 * cell_width * cell_height);
  CHECK(std::floor((wrong.x() - diagonal.left) / cell_width) == 8);
  CHECK(std::floor((wrong.y() - diagonal.top) / cell_height) == 1);
}

TEST_CASE("long class names lie on the picture and off the cells", "[figures]") {
  std::vector<std::string_view> names(10, "a class of a rather long name");
  ConfusionMatrix matrix(names);
  for (int label = 0; label < 10; ++label) matrix.add(label, label, 1000);
  const Picture picture = draw_confusion(matrix);
  const Patch cells = find(picture, is_blue), ink = find(picture, is_ink);
  CHECK(ink.left > 8);
  CHECK(ink.right < picture.width - 8);
  CHECK(ink.bottom < picture.height - 8);
  // The names at the left, and those below with the axis title.
  CHECK(find(picture, {0, cells.top, cells.left - 4, cells.bottom}, is_ink).right < cells.left - 8);
  CHECK(find(picture, {0, cells.bottom + 4, picture.width, picture.height}, is_ink).top > cells.bottom + 8);
}

TEST_CASE("an empty confusion matrix and a single class are drawn", "[figures]") {
  CHECK(find(draw_confusion(ConfusionMatrix(digit_names)), is_ink).count > 300);
  CHECK(find(draw_confusion(ConfusionMatrix(std::span(digit_names).first(1))), is_ink).count > 300);
}

TEST_CASE("figures that cannot be written name their file", "[figures]") {
  const std::filesystem::path missing = "no such folder";
  const auto run = converging_run(2);
  CHECK(contains(error_of([&] { write_curves(missing / "a.png", run, {}); }),
                 "no such folder/a.png: cannot be written"));
  CHECK(contains(error_of([&] { write_misclassified(missing / "b.png", misclassified_of({})); }),
                 "folder/b.png"));
  CHECK(contains(error_of([&] { write_confusion(missing / "c.png", ConfusionMatrix(digit_names)); }),
                 "folder/c.png"));
  CHECK(contains(error_of([&] { write_comparison(missing / "d.png", "", run); }), "folder/d.png"));
  CHECK(contains(error_of([&] { write_class_accuracies(missing / "e.png", ConfusionMatrix(digit_names)); }),
                 "folder/e.png"));
}

}  // namespace mnist
