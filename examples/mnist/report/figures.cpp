// SPDX-License-Identifier: MIT
#include "report/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernelgrad/error.h"
#include "report/canvas.h"
#include "report/plot.h"

namespace mnist {
namespace {

constexpr Color white{1, 1, 1};
constexpr Color blue{0.12, 0.40, 0.68};
constexpr Color red{0.80, 0.22, 0.20};
constexpr Color orange{0.85, 0.37, 0.05};
constexpr Color green{0.10, 0.50, 0.28};

constexpr Color faint_blue = {0.62, 0.76, 0.93};

Curve curve_of(std::span<const EpochMetrics> epochs, double EpochMetrics::*value, Color color) {
  Curve curve{.x = {}, .y = {}, .color = color};
  for (const EpochMetrics& epoch : epochs) {
    curve.x.push_back(epoch.epoch);
    curve.y.push_back(epoch.*value);
  }
  return curve;
}

/// The value of each batch, where in its epoch the batch began.
Curve curve_of(std::span<const BatchMetrics> batches, double BatchMetrics::*value, std::string label) {
  Curve curve{.x = {}, .y = {}, .color = faint_blue, .label = std::move(label), .width = 1, .dots = false};
  int per_epoch = 0;
  for (const BatchMetrics& batch : batches) per_epoch = std::max(per_epoch, batch.batch + 1);
  for (const BatchMetrics& batch : batches) {
    curve.x.push_back(batch.epoch - 1 + static_cast<double>(batch.batch) / per_epoch);
    curve.y.push_back(batch.*value);
  }
  return curve;
}

/// The finite value that a share of the finite values lie below; NaN if there are none.
double quantile(std::vector<double> values, double share) {
  values.erase(std::remove_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); }),
               values.end());
  if (values.empty()) return NAN;
  const auto place =
      std::min(static_cast<size_t>(share * static_cast<double>(values.size())), values.size() - 1);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(place), values.end());
  return values[place];
}

/// The last value and the best one of those that `better` puts first; `format` is fmt's for one value.
std::string last_and_best(const Curve& curve, const char* format, const char* superlative,
                          bool (*better)(double, double)) {
  const auto text = [format](double value) { return fmt::format(fmt::runtime(format), value); };
  size_t best = 0;
  for (size_t i = 1; i < curve.y.size(); ++i) {
    if (better(curve.y[i], curve.y[best]) || std::isnan(curve.y[best])) best = i;
  }
  if (curve.y.size() == 1) return text(curve.y[0]);
  if (best == curve.y.size() - 1) return fmt::format("last and {} {}", superlative, text(curve.y[best]));
  return fmt::format("last {}, {} {} (epoch {:.0f})", text(curve.y.back()), superlative, text(curve.y[best]),
                     curve.x[best]);
}

std::string last_and_lowest(const Curve& loss) {
  return last_and_best(loss, "{:.4g}", "lowest", [](double a, double b) { return a < b; });
}

std::string last_and_highest(const Curve& accuracy) {
  return last_and_best(accuracy, "{:.2f} %", "best", [](double a, double b) { return a > b; });
}

LineChart loss_chart(std::string title, std::vector<Curve> curves) {
  return {.title = std::move(title),
          .note = last_and_lowest(curves.back()),
          .x_label = "epoch",
          .y_label = "loss (nats per image)",
          .curves = std::move(curves),
          .reference = {},
          .y_limits = {0, INFINITY}};
}

LineChart accuracy_chart(std::string title, std::vector<Curve> curves) {
  return {.title = std::move(title),
          .note = last_and_highest(curves.back()),
          .x_label = "epoch",
          .y_label = "accuracy (%)",
          .curves = std::move(curves),
          .reference = {},
          .min_span = 0.2,
          .y_limits = {0, 100}};
}

std::optional<ReferenceLine> goal_line(std::optional<double> accuracy) {
  if (!accuracy) return std::nullopt;
  return ReferenceLine{.y = *accuracy, .reach = 2, .label = fmt::format("goal {} %", *accuracy)};
}

constexpr double worst_batches = 0.02;

/// The epochs over their batches, if those are known.
std::vector<Curve> training_curves(Curve epochs, Curve batches) {
  if (batches.x.empty()) return {std::move(epochs)};
  return {std::move(batches), std::move(epochs)};
}

LineChart training_loss_chart(std::span<const EpochMetrics> epochs, std::span<const BatchMetrics> batches) {
  Curve each = curve_of(batches, &BatchMetrics::loss, "each batch");
  Curve mean = curve_of(epochs, &EpochMetrics::train_loss, blue);
  if (const double limit = quantile(each.y, 1 - worst_batches); !std::isnan(limit)) each.covered.high = limit;
  if (!each.x.empty()) mean.label = "mean of the epoch";
  return loss_chart("Training loss", training_curves(std::move(mean), std::move(each)));
}

LineChart training_accuracy_chart(std::span<const EpochMetrics> epochs,
                                  std::span<const BatchMetrics> batches) {
  Curve running = curve_of(batches, &BatchMetrics::accuracy, "of the epoch so far, after each batch");
  Curve whole = curve_of(epochs, &EpochMetrics::train_accuracy, blue);
  if (const double limit = quantile(running.y, worst_batches); !std::isnan(limit))
    running.covered.low = limit;
  if (!running.x.empty()) whole.label = "of the whole epoch";
  return accuracy_chart("Training accuracy", training_curves(std::move(whole), std::move(running)));
}

void check_epochs(const std::filesystem::path& path, std::span<const EpochMetrics> epochs) {
  if (epochs.empty())
    throw kg::Error(fmt::format("{}: no epochs to draw, expected at least 1", path.string()));
}

struct CaptionLine {
  std::string text;
  Color color = ink_color;
};

struct CaptionedImage {
  std::span<const uint8_t> pixels;
  std::vector<CaptionLine> caption;
};

struct ImageGrid {
  std::string heading, note;
  std::vector<CaptionedImage> images;
  int image_width = 28, channels = 1;
};

constexpr int images_per_row = 6;
constexpr double image_size = 112;
constexpr double cell_width = 152;
constexpr double caption_line_height = 16;

/// As many lines in every caption as the longest has.
size_t caption_lines(const ImageGrid& grid) {
  size_t lines = 0;
  for (const CaptionedImage& image : grid.images) lines = std::max(lines, image.caption.size());
  return lines;
}

void draw_captioned(Canvas& canvas, Point corner, double caption_height, const CaptionedImage& image,
                    const ImageGrid& grid) {
  const double middle = corner.x + cell_width / 2;
  for (size_t i = 0; i < image.caption.size(); ++i) {
    canvas.text({middle, corner.y + 8 + static_cast<double>(i) * caption_line_height}, image.caption[i].text,
                {.color = image.caption[i].color, .align = Align::center, .max_width = cell_width - 8});
  }
  canvas.image({middle - image_size / 2, corner.y + caption_height, image_size, image_size}, image.pixels,
               {.columns = grid.image_width, .channels = grid.channels});
}

void write_image_grid(const std::filesystem::path& path, const ImageGrid& grid) {
  const size_t rows = (grid.images.size() + images_per_row - 1) / images_per_row;
  const double margin = 16, top = 72;
  const double caption_height = static_cast<double>(caption_lines(grid)) * caption_line_height + 4;
  const double cell_height = caption_height + image_size + 18;

  Canvas canvas(images_per_row * cell_width + 2 * margin, top + static_cast<double>(rows) * cell_height);
  const double text_x = margin + (cell_width - image_size) / 2;
  canvas.text({text_x, 24}, grid.heading, {.size = 17, .bold = true});
  canvas.text({text_x, 46}, grid.note, {.color = faint_ink_color});
  for (size_t i = 0; i < grid.images.size(); ++i) {
    const Point corner{margin + static_cast<double>(i % images_per_row) * cell_width,
                       top + static_cast<double>(i / images_per_row) * cell_height};
    draw_captioned(canvas, corner, caption_height, grid.images[i], grid);
  }
  canvas.save_png(path);
}

using ClassNames = std::span<const std::string_view>;

std::string name_of(int label, ClassNames names, std::string_view where) {
  check_label(label, names.size(), where);
  return std::string(names[static_cast<size_t>(label)]);
}

CaptionedImage captioned(const ClassifiedImage& image, ClassNames names, std::string_view where) {
  const bool right = image.predicted == image.actual;
  return {.pixels = image.pixels,
          .caption = {{"predicted: " + name_of(image.predicted, names, where), right ? green : red},
                      {"true: " + name_of(image.actual, names, where), green}}};
}

/// The first images, captioned. All of them are checked.
std::vector<CaptionedImage> first_captioned(const std::vector<ClassifiedImage>& images, ClassNames names,
                                            std::string_view where) {
  std::vector<CaptionedImage> all;
  for (const ClassifiedImage& image : images) all.push_back(captioned(image, names, where));
  all.resize(std::min<size_t>(all.size(), most_images));
  return all;
}

std::string misclassified_note(size_t all) {
  if (all == 0) return "There is none to show.";
  if (all == 1) return "";
  return all <= most_images ? "All of them, in data-set order."
                            : fmt::format("The first {}, in data-set order.", most_images);
}

/// Where bars stand that end at `lowest` percent and above: at 0 unless they would all look the same.
double axis_base(double lowest) {
  if (lowest < 80) return 0;
  return lowest < 95 ? 10 * std::floor((lowest - 5) / 10) : std::floor(lowest) - 1;
}

constexpr double matrix_cell_width = 52;
constexpr double matrix_cell_height = 38;

/// Where the parts of the confusion matrix lie: they depend on the lengths of the class names.
struct MatrixLayout {
  double longest_name = 0;
  bool slanted_names = false;
  Rectangle cells;
  double width = 0, height = 0;
};

MatrixLayout matrix_layout(const ConfusionMatrix& matrix) {
  MatrixLayout layout;
  Canvas ruler(1, 1);
  for (int label = 0; label < matrix.classes(); ++label) {
    layout.longest_name = std::max(layout.longest_name, ruler.text_width(matrix.name(label)));
  }
  layout.slanted_names = layout.longest_name > matrix_cell_width - 6;
  layout.cells = {layout.longest_name + 62, 84, matrix_cell_width * matrix.classes(),
                  matrix_cell_height * matrix.classes()};
  layout.width = layout.cells.right() + 104;
  layout.height = layout.cells.bottom() + name_height(layout.longest_name, layout.slanted_names) + 34;
  return layout;
}

Rectangle matrix_cell(const MatrixLayout& layout, int row, int column) {
  return {layout.cells.x + column * matrix_cell_width, layout.cells.y + row * matrix_cell_height,
          matrix_cell_width, matrix_cell_height};
}

Color wrong_color(int64_t count, int64_t largest) {
  if (count == 0) return white;
  // A single confusion has to differ from none.
  return mix(white, orange, 0.10 + 0.90 * static_cast<double>(count) / static_cast<double>(largest));
}

Color right_color(int64_t count, int64_t total) {
  return mix(white, blue,
             total == 0 ? 0.1 : 0.1 + 0.8 * static_cast<double>(count) / static_cast<double>(total));
}

Color ink_on(Color background) {
  const double luminance = 0.299 * background.red + 0.587 * background.green + 0.114 * background.blue;
  return luminance < 0.55 ? white : ink_color;
}

void draw_cells(Canvas& canvas, const MatrixLayout& layout, const ConfusionMatrix& matrix) {
  const int64_t largest = matrix.largest_confusion();
  for (int row = 0; row < matrix.classes(); ++row) {
    for (int column = 0; column < matrix.classes(); ++column) {
      const int64_t count = matrix.count(row, column);
      const Color color = row == column ? right_color(count, matrix.total(row)) : wrong_color(count, largest);
      const Rectangle cell = matrix_cell(layout, row, column);
      canvas.fill(cell, color);
      canvas.text(cell.center(), with_thousands(count),
                  {.color = count == 0 ? Color{0.72, 0.72, 0.75} : ink_on(color), .align = Align::center});
    }
  }
  const Rectangle& cells = layout.cells;
  for (int i = 0; i <= matrix.classes(); ++i) {
    const double x = cells.x + i * matrix_cell_width, y = cells.y + i * matrix_cell_height;
    canvas.line({x, cells.y}, {x, cells.bottom()}, {.color = {0.85, 0.85, 0.87}});
    canvas.line({cells.x, y}, {cells.right(), y}, {.color = {0.85, 0.85, 0.87}});
  }
}

void draw_names(Canvas& canvas, const MatrixLayout& layout, const ConfusionMatrix& matrix) {
  for (int label = 0; label < matrix.classes(); ++label) {
    const Rectangle cell = matrix_cell(layout, label, label);
    canvas.text({layout.cells.x - 8, cell.center().y}, matrix.name(label), {.align = Align::right});
    draw_name_below(canvas, {cell.center().x, layout.cells.bottom()}, matrix.name(label),
                    layout.slanted_names);
  }
  const Point center = layout.cells.center();
  canvas.text({center.x, layout.height - 18}, "predicted",
              {.size = 13, .align = Align::center, .bold = true});
  canvas.text({20, center.y}, "true", {.size = 13, .align = Align::center, .bold = true, .angle = 90});
}

void draw_class_accuracies(Canvas& canvas, const MatrixLayout& layout, const ConfusionMatrix& matrix) {
  const double right = layout.cells.right() + 76;
  canvas.text({right, layout.cells.y - 12}, "accuracy", {.align = Align::right, .bold = true});
  for (int label = 0; label < matrix.classes(); ++label) {
    const int64_t total = matrix.total(label);
    const std::string text =
        total == 0 ? "no images" : fmt::format("{:.2f} %", percent(matrix.count(label, label), total));
    canvas.text({right, matrix_cell(layout, label, 0).center().y}, text, {.align = Align::right});
  }
}

}  // namespace

void require_font() { Canvas(1, 1).text_width("0"); }

void write_curves(const std::filesystem::path& path, std::span<const EpochMetrics> epochs,
                  std::span<const BatchMetrics> batches, const CurveTexts& texts) {
  check_epochs(path, epochs);
  const double width = 570, height = 340, margin = 10;
  const double left = margin, right = margin + width, top = margin, bottom = margin + height;
  const std::string tested = capitalized(texts.tested);
  LineChart test_accuracy =
      accuracy_chart(tested + " accuracy", {curve_of(epochs, &EpochMetrics::test_accuracy, orange)});
  test_accuracy.reference = goal_line(texts.goal_accuracy);

  Canvas canvas(2 * (width + margin), 2 * (height + margin));
  draw_line_chart(canvas, {left, top, width, height}, training_loss_chart(epochs, batches));
  draw_line_chart(canvas, {left, bottom, width, height}, training_accuracy_chart(epochs, batches));
  draw_line_chart(canvas, {right, top, width, height},
                  loss_chart(tested + " loss", {curve_of(epochs, &EpochMetrics::test_loss, orange)}));
  draw_line_chart(canvas, {right, bottom, width, height}, test_accuracy);
  canvas.save_png(path);
}

void write_comparison(const std::filesystem::path& path, const std::string& heading,
                      std::span<const EpochMetrics> epochs, const CurveTexts& texts) {
  check_epochs(path, epochs);
  const double width = 570, height = 360, margin = 10, top = 48;
  const auto pair = [&](double EpochMetrics::*train, double EpochMetrics::*test) {
    std::vector<Curve> curves = {curve_of(epochs, train, blue), curve_of(epochs, test, orange)};
    curves[0].label = "training";
    curves[1].label = texts.tested;
    return curves;
  };
  LineChart accuracy =
      accuracy_chart("Accuracy", pair(&EpochMetrics::train_accuracy, &EpochMetrics::test_accuracy));
  LineChart loss = loss_chart("Loss", pair(&EpochMetrics::train_loss, &EpochMetrics::test_loss));
  accuracy.reference = goal_line(texts.goal_accuracy);
  for (LineChart* chart : {&accuracy, &loss}) chart->note = fmt::format("{}: {}", texts.tested, chart->note);

  Canvas canvas(2 * (width + margin), top + height + margin);
  canvas.text({margin + 64, 26}, heading,
              {.size = 17, .bold = true, .max_width = 2 * (width + margin) - 2 * 64});
  draw_line_chart(canvas, {margin, top, width, height}, accuracy);
  draw_line_chart(canvas, {margin + width, top, width, height}, loss);
  canvas.save_png(path);
}

void write_misclassified(const std::filesystem::path& path, const MisclassifiedImages& misclassified) {
  const auto all = static_cast<int64_t>(misclassified.images.size());
  if (all > misclassified.tested) {
    throw kg::Error(fmt::format("write_misclassified: {} images misclassified, but only {} tested", all,
                                misclassified.tested));
  }
  write_image_grid(path, {.heading = fmt::format("{} of {} {} images misclassified", with_thousands(all),
                                                 with_thousands(misclassified.tested), misclassified.split),
                          .note = misclassified_note(misclassified.images.size()),
                          .images = first_captioned(misclassified.images, misclassified.class_names,
                                                    "write_misclassified"),
                          .image_width = misclassified.image_width,
                          .channels = misclassified.channels});
}

void write_predictions(const std::filesystem::path& path, const Predictions& predictions) {
  write_image_grid(
      path, {.heading = fmt::format("Predictions for {} images", predictions.split),
             .note = predictions.note,
             .images = first_captioned(predictions.images, predictions.class_names, "write_predictions"),
             .image_width = predictions.image_width,
             .channels = predictions.channels});
}

void write_training_samples(const std::filesystem::path& path, const TrainingSamples& samples) {
  ImageGrid grid{.heading = "Training images as the network sees them",
                 .note = samples.note,
                 .images = {},
                 .image_width = samples.image_width,
                 .channels = samples.channels};
  for (const LabelledImage& image : samples.images) {
    std::string name = name_of(image.label, samples.class_names, "write_training_samples");
    if (grid.images.size() < most_images) grid.images.push_back({image.pixels, {{std::move(name)}}});
  }
  write_image_grid(path, grid);
}

void write_confusion(const std::filesystem::path& path, const ConfusionMatrix& matrix,
                     std::string_view split) {
  const MatrixLayout layout = matrix_layout(matrix);
  Canvas canvas(layout.width, layout.height);
  const int64_t total = matrix.total(), correct = matrix.correct();
  std::string heading = fmt::format("{} of {} {} images classified correctly", with_thousands(correct),
                                    with_thousands(total), split);
  if (total > 0) heading += fmt::format(" ({:.2f} %)", percent(correct, total));
  canvas.text({layout.cells.x, 24}, heading,
              {.size = 15, .bold = true, .max_width = layout.width - layout.cells.x - 16});
  canvas.text({layout.cells.x, 46},
              fmt::format("Blue: correct, share of the true class. Orange: confused, darkest at {}.",
                          with_thousands(matrix.largest_confusion())),
              {.size = 11, .color = faint_ink_color, .max_width = layout.width - layout.cells.x - 16});
  draw_cells(canvas, layout, matrix);
  draw_names(canvas, layout, matrix);
  draw_class_accuracies(canvas, layout, matrix);
  canvas.save_png(path);
}

void write_class_accuracies(const std::filesystem::path& path, const ConfusionMatrix& matrix) {
  BarChart chart{.title = "Accuracy of each class",
                 .note = {},
                 .x_label = "true class",
                 .y_label = "accuracy (%)",
                 .bars = {},
                 .color = blue,
                 .reference = {},
                 .y_limits = {0, 100}};
  double lowest = matrix.total() > 0 ? 100 : 0;
  for (int label = 0; label < matrix.classes(); ++label) {
    const int64_t images = matrix.total(label);
    const double accuracy = images == 0 ? NAN : percent(matrix.count(label, label), images);
    chart.bars.push_back({.name = matrix.name(label),
                          .value = accuracy,
                          .value_label = images == 0 ? "no images" : fmt::format("{:.2f}", accuracy)});
    if (images > 0) lowest = std::min(lowest, accuracy);
  }
  if (matrix.total() > 0) {
    const double all = percent(matrix.correct(), matrix.total());
    chart.reference = ReferenceLine{.y = all, .reach = 100, .label = fmt::format("all {:.2f} %", all)};
  }
  chart.base = axis_base(lowest);
  if (chart.base > 0) chart.note = fmt::format("the axis starts at {} %", chart.base);

  Canvas canvas(780, 400);
  draw_bar_chart(canvas, {10, 10, 760, 380}, chart);
  canvas.save_png(path);
}

}  // namespace mnist
