#include "figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "canvas.h"
#include "kernelgrad/error.h"
#include "plot.h"

namespace mnist {
namespace {

constexpr Color kWhite{1, 1, 1};
constexpr Color kBlue{0.12, 0.40, 0.68};
constexpr Color kRed{0.80, 0.22, 0.20};
constexpr Color kOrange{0.85, 0.37, 0.05};
constexpr Color kGreen{0.10, 0.50, 0.28};

LineChart chart_of(std::span<const EpochMetrics> epochs, double EpochMetrics::*value) {
  LineChart chart;
  for (const EpochMetrics& epoch : epochs) {
    chart.x.push_back(epoch.epoch);
    chart.y.push_back(epoch.*value);
  }
  chart.x_label = "epoch";
  return chart;
}

/// The last value and the best one of those that `better` puts first; `format` is fmt's for one value.
std::string last_and_best(const LineChart& chart, const char* format, const char* superlative,
                          bool (*better)(double, double)) {
  const auto text = [format](double value) { return fmt::format(fmt::runtime(format), value); };
  size_t best = 0;
  for (size_t i = 1; i < chart.y.size(); ++i) {
    if (better(chart.y[i], chart.y[best]) || std::isnan(chart.y[best])) best = i;
  }
  if (chart.y.size() == 1) return text(chart.y[0]);
  if (best == chart.y.size() - 1) return fmt::format("last and {} {}", superlative, text(chart.y[best]));
  return fmt::format("last {}, {} {} (epoch {:.0f})", text(chart.y.back()), superlative, text(chart.y[best]),
                     chart.x[best]);
}

LineChart loss_chart(std::span<const EpochMetrics> epochs, double EpochMetrics::*value) {
  LineChart chart = chart_of(epochs, value);
  chart.y_label = "loss (nats per image)";
  chart.y_limits = {0, INFINITY};
  chart.note = last_and_best(chart, "{:.4g}", "lowest", [](double a, double b) { return a < b; });
  return chart;
}

LineChart accuracy_chart(std::span<const EpochMetrics> epochs, double EpochMetrics::*value) {
  LineChart chart = chart_of(epochs, value);
  chart.y_label = "accuracy (%)";
  chart.y_limits = {0, 100};
  chart.min_span = 0.2;
  chart.note = last_and_best(chart, "{:.2f} %", "best", [](double a, double b) { return a > b; });
  return chart;
}

constexpr int kImagesPerRow = 6;
constexpr int kMostImages = 24;
constexpr double kImageSize = 112;
constexpr Rectangle kImageCell{0, 0, 152, 166};

void check_label(int label, size_t classes, const char* figure) {
  if (label < 0 || static_cast<size_t>(label) >= classes) {
    throw kg::Error(fmt::format("{}: label {}, but there are names for {} classes", figure, label, classes));
  }
}

void check_misclassified(const MisclassifiedImages& misclassified) {
  if (static_cast<int64_t>(misclassified.images.size()) > misclassified.tested) {
    throw kg::Error(fmt::format("write_misclassified: {} images misclassified, but only {} tested",
                                misclassified.images.size(), misclassified.tested));
  }
  for (const Misclassified& image : misclassified.images) {
    check_label(image.predicted, misclassified.class_names.size(), "write_misclassified");
    check_label(image.actual, misclassified.class_names.size(), "write_misclassified");
  }
}

std::string misclassified_note(size_t all, size_t shown) {
  if (all == 0) return "There is none to show.";
  if (all == 1) return "";
  return all == shown ? "All of them, in data-set order."
                      : fmt::format("The first {}, in data-set order.", shown);
}

void draw_misclassified(Canvas& canvas, Point corner, const Misclassified& wrong,
                        const MisclassifiedImages& misclassified) {
  const auto name = [&](int label) {
    return std::string(misclassified.class_names[static_cast<size_t>(label)]);
  };
  const double middle = corner.x + kImageCell.width / 2;
  TextStyle style{.size = 12, .align = Align::center, .max_width = kImageCell.width - 8};
  style.color = kRed;
  canvas.text({middle, corner.y + 8}, "predicted: " + name(wrong.predicted), style);
  style.color = kGreen;
  canvas.text({middle, corner.y + 24}, "true: " + name(wrong.actual), style);
  canvas.gray_image({middle - kImageSize / 2, corner.y + 36, kImageSize, kImageSize}, wrong.pixels,
                    misclassified.image_width);
}

constexpr double kMatrixCellWidth = 52;
constexpr double kMatrixCellHeight = 38;

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
  layout.slanted_names = layout.longest_name > kMatrixCellWidth - 6;
  layout.cells = {layout.longest_name + 62, 84, kMatrixCellWidth * matrix.classes(),
                  kMatrixCellHeight * matrix.classes()};
  layout.width = layout.cells.right() + 104;
  layout.height =
      layout.cells.bottom() + (layout.slanted_names ? layout.longest_name / std::sqrt(2.0) + 20 : 26) + 34;
  return layout;
}

Rectangle matrix_cell(const MatrixLayout& layout, int row, int column) {
  return {layout.cells.x + column * kMatrixCellWidth, layout.cells.y + row * kMatrixCellHeight,
          kMatrixCellWidth, kMatrixCellHeight};
}

Color wrong_color(int64_t count, int64_t largest) {
  if (count == 0) return kWhite;
  // A single confusion has to differ from none.
  return mix(kWhite, kOrange, 0.10 + 0.90 * static_cast<double>(count) / static_cast<double>(largest));
}

Color right_color(int64_t count, int64_t total) {
  return mix(kWhite, kBlue,
             total == 0 ? 0.1 : 0.1 + 0.8 * static_cast<double>(count) / static_cast<double>(total));
}

Color ink_on(Color background) {
  const double luminance = 0.299 * background.red + 0.587 * background.green + 0.114 * background.blue;
  return luminance < 0.55 ? kWhite : kInk;
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
    const double x = cells.x + i * kMatrixCellWidth, y = cells.y + i * kMatrixCellHeight;
    canvas.line({x, cells.y}, {x, cells.bottom()}, {.color = {0.85, 0.85, 0.87}});
    canvas.line({cells.x, y}, {cells.right(), y}, {.color = {0.85, 0.85, 0.87}});
  }
}

void draw_names(Canvas& canvas, const MatrixLayout& layout, const ConfusionMatrix& matrix) {
  for (int label = 0; label < matrix.classes(); ++label) {
    const Rectangle cell = matrix_cell(layout, label, label);
    canvas.text({layout.cells.x - 8, cell.center().y}, matrix.name(label), {.align = Align::right});
    const Point below{cell.center().x, layout.cells.bottom() + 14};
    if (layout.slanted_names) {
      canvas.text({below.x + 4, below.y - 3}, matrix.name(label), {.align = Align::right, .angle = 45});
    } else {
      canvas.text(below, matrix.name(label), {.align = Align::center});
    }
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

void write_curves(const std::filesystem::path& path, std::span<const EpochMetrics> epochs,
                  double goal_accuracy) {
  if (epochs.empty())
    throw kg::Error(fmt::format("{}: no epochs to draw, expected at least 1", path.string()));
  const double width = 570, height = 340, margin = 10;
  LineChart train_loss = loss_chart(epochs, &EpochMetrics::train_loss);
  LineChart train_accuracy = accuracy_chart(epochs, &EpochMetrics::train_accuracy);
  LineChart test_loss = loss_chart(epochs, &EpochMetrics::test_loss);
  LineChart test_accuracy = accuracy_chart(epochs, &EpochMetrics::test_accuracy);
  train_loss.title = "Training loss";
  train_accuracy.title = "Training accuracy";
  test_loss.title = "Test loss";
  test_accuracy.title = "Test accuracy";
  train_loss.color = train_accuracy.color = kBlue;
  test_loss.color = test_accuracy.color = kOrange;
  test_accuracy.reference =
      ReferenceLine{.y = goal_accuracy, .reach = 2, .label = fmt::format("goal {} %", goal_accuracy)};

  const double left = margin, right = margin + width, top = margin, bottom = margin + height;
  Canvas canvas(2 * (width + margin), 2 * (height + margin));
  draw_line_chart(canvas, {left, top, width, height}, train_loss);
  draw_line_chart(canvas, {left, bottom, width, height}, train_accuracy);
  draw_line_chart(canvas, {right, top, width, height}, test_loss);
  draw_line_chart(canvas, {right, bottom, width, height}, test_accuracy);
  canvas.save_png(path);
}

void write_misclassified(const std::filesystem::path& path, const MisclassifiedImages& misclassified) {
  check_misclassified(misclassified);
  const size_t all = misclassified.images.size(), shown = std::min<size_t>(all, kMostImages);
  const size_t rows = (shown + kImagesPerRow - 1) / kImagesPerRow;
  const double margin = 16, heading = 72;

  Canvas canvas(kImagesPerRow * kImageCell.width + 2 * margin,
                heading + static_cast<double>(rows) * kImageCell.height);
  const double text_x = margin + (kImageCell.width - kImageSize) / 2;
  canvas.text({text_x, 24},
              fmt::format("{} of {} test images misclassified", with_thousands(static_cast<int64_t>(all)),
                          with_thousands(misclassified.tested)),
              {.size = 17, .bold = true});
  canvas.text({text_x, 46}, misclassified_note(all, shown), {.color = kFaintInk});
  for (size_t i = 0; i < shown; ++i) {
    const Point corner{margin + static_cast<double>(i % kImagesPerRow) * kImageCell.width,
                       heading + static_cast<double>(i / kImagesPerRow) * kImageCell.height};
    draw_misclassified(canvas, corner, misclassified.images[i], misclassified);
  }
  canvas.save_png(path);
}

ConfusionMatrix::ConfusionMatrix(std::span<const std::string_view> class_names)
    : class_names_(class_names.begin(), class_names.end()),
      counts_(class_names_.size() * class_names_.size()) {
  if (class_names_.empty()) throw kg::Error("ConfusionMatrix: no class names, expected at least 1");
}

void ConfusionMatrix::add(int actual, int predicted, int64_t images) {
  check_label(actual, class_names_.size(), "ConfusionMatrix");
  check_label(predicted, class_names_.size(), "ConfusionMatrix");
  counts_[index(actual, predicted)] += images;
}

int64_t ConfusionMatrix::total(int actual) const {
  int64_t sum = 0;
  for (int predicted = 0; predicted < classes(); ++predicted) sum += count(actual, predicted);
  return sum;
}

int64_t ConfusionMatrix::total() const {
  int64_t sum = 0;
  for (const int64_t images : counts_) sum += images;
  return sum;
}

int64_t ConfusionMatrix::correct() const {
  int64_t sum = 0;
  for (int label = 0; label < classes(); ++label) sum += count(label, label);
  return sum;
}

int64_t ConfusionMatrix::largest_confusion() const {
  int64_t largest = 0;
  for (int actual = 0; actual < classes(); ++actual) {
    for (int predicted = 0; predicted < classes(); ++predicted) {
      if (actual != predicted) largest = std::max(largest, count(actual, predicted));
    }
  }
  return largest;
}

void write_confusion(const std::filesystem::path& path, const ConfusionMatrix& matrix) {
  const MatrixLayout layout = matrix_layout(matrix);
  Canvas canvas(layout.width, layout.height);
  const int64_t total = matrix.total(), correct = matrix.correct();
  std::string heading = fmt::format("{} of {} test images classified correctly", with_thousands(correct),
                                    with_thousands(total));
  if (total > 0) heading += fmt::format(" ({:.2f} %)", percent(correct, total));
  canvas.text({layout.cells.x, 24}, heading,
              {.size = 15, .bold = true, .max_width = layout.width - layout.cells.x - 16});
  canvas.text({layout.cells.x, 46},
              fmt::format("Blue: correct, share of the true class. Orange: confused, darkest at {}.",
                          with_thousands(matrix.largest_confusion())),
              {.size = 11, .color = kFaintInk, .max_width = layout.width - layout.cells.x - 16});
  draw_cells(canvas, layout, matrix);
  draw_names(canvas, layout, matrix);
  draw_class_accuracies(canvas, layout, matrix);
  canvas.save_png(path);
}

}  // namespace mnist
