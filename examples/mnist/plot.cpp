#include "plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr Color kGrid{0.88, 0.88, 0.90};
constexpr Color kAxis{0.55, 0.55, 0.58};
constexpr size_t kMostPointsWithDots = 40;

Range finite_range(const std::vector<double>& values) {
  Range range{INFINITY, -INFINITY};
  for (const double value : values) {
    if (std::isfinite(value)) range = {std::min(range.low, value), std::max(range.high, value)};
  }
  return range;
}

/// Widened evenly to a span of at least `span`, and by a margin.
Range with_margin(Range range, double span, double margin) {
  const double missing = std::max(0.0, span - (range.high - range.low));
  const double each_side = missing / 2 + margin * std::max(span, range.high - range.low);
  return {range.low - each_side, range.high + each_side};
}

struct YAxis {
  Range range;
  bool shows_reference = false;
};

YAxis choose_y_axis(const LineChart& chart) {
  Range data = finite_range(chart.y);
  if (data.low > data.high) data = {0, 1};
  double span = chart.min_span;
  // Equal values still need an axis around them.
  if (span <= 0 && data.low == data.high) span = std::max(0.1 * std::abs(data.high), 1e-3);

  YAxis axis;
  if (const auto& reference = chart.reference) {
    const Range both{std::min(data.low, reference->y), std::max(data.high, reference->y)};
    const double stretch = (both.high - both.low) - (data.high - data.low);
    axis.shows_reference = stretch <= std::max(reference->reach, data.high - data.low);
    if (axis.shows_reference) data = both;
  }
  axis.range = with_margin(data, span, 0.06);
  axis.range.low = std::max(axis.range.low, chart.y_limits.low);
  // Room for the upper half of a dot at 100 %, no more.
  const double covered = axis.range.high - axis.range.low;
  axis.range.high = std::min(axis.range.high, chart.y_limits.high + 0.06 * covered);
  return axis;
}

/// Maps data to the frame on the canvas.
struct Scale {
  Rectangle frame;
  Range x, y;

  double at_x(double value) const { return frame.x + (value - x.low) / (x.high - x.low) * frame.width; }
  double at_y(double value) const {
    return frame.bottom() - (value - y.low) / (y.high - y.low) * frame.height;
  }
  Point at(double px, double py) const { return {at_x(px), at_y(py)}; }
};

/// As many digits as the neighbours need; powers of ten where a diverged loss would not fit beside its axis.
std::string y_tick_label(double tick, int decimals) {
  return std::abs(tick) < 1e5 ? fmt::format("{:.{}f}", tick, decimals) : fmt::format("{:g}", tick);
}

void draw_y_ticks(Canvas& canvas, const Scale& scale, Range limits) {
  const auto ticks = round_ticks({scale.y.low, std::min(scale.y.high, limits.high)}, 8);
  const int decimals = tick_decimals(ticks);
  for (const double tick : ticks) {
    const double y = scale.at_y(tick);
    canvas.line({scale.frame.x, y}, {scale.frame.right(), y}, {.color = kGrid});
    canvas.text({scale.frame.x - 7, y}, y_tick_label(tick, decimals), {.size = 10.5, .align = Align::right});
  }
}

void draw_x_ticks(Canvas& canvas, const Scale& scale, Range data) {
  const double bottom = scale.frame.bottom();
  for (const double tick : round_ticks(data, 15, true)) {
    const double x = scale.at_x(tick);
    canvas.line({x, scale.frame.y}, {x, bottom}, {.color = kGrid});
    canvas.line({x, bottom}, {x, bottom + 4}, {.color = kAxis});
    canvas.text({x, bottom + 13}, fmt::format("{:.0f}", tick), {.size = 10.5, .align = Align::center});
  }
}

void draw_curve(Canvas& canvas, const Scale& scale, const LineChart& chart) {
  std::vector<Point> run;
  for (size_t i = 0; i <= chart.x.size(); ++i) {
    if (i < chart.x.size() && std::isfinite(chart.y[i])) {
      run.push_back(scale.at(chart.x[i], chart.y[i]));
      continue;
    }
    canvas.line(run, {.color = chart.color, .width = 1.8});
    // A point between two gaps has no line to show it.
    const bool dots = chart.x.size() <= kMostPointsWithDots || run.size() == 1;
    if (dots) {
      for (const Point& point : run) canvas.dot(point, 3.2, chart.color);
    }
    run.clear();
  }
}

void draw_reference(Canvas& canvas, const Scale& scale, const ReferenceLine& reference, bool in_range) {
  const double right = scale.frame.right();
  const TextStyle style{.size = 10.5, .color = kFaintInk};
  if (in_range) {
    const double y = scale.at_y(reference.y);
    canvas.line({scale.frame.x, y}, {right, y}, {.color = kFaintInk, .width = 1.3, .dashed = true});
    canvas.text({right + 6, y}, reference.label, style);
    return;
  }
  const bool above = reference.y > scale.y.high;
  const double tip = above ? scale.frame.y : scale.frame.bottom();
  const double into_frame = above ? 1 : -1;
  const double x = right + 10;
  canvas.line({x, tip}, {x, tip + 14 * into_frame}, {.color = kFaintInk, .width = 1.3});
  canvas.line(std::vector<Point>{{x - 3, tip + 4 * into_frame}, {x, tip}, {x + 3, tip + 4 * into_frame}},
              {.color = kFaintInk, .width = 1.3});
  canvas.text({right + 6, tip + 24 * into_frame}, reference.label, style);
}

}  // namespace

std::vector<double> round_ticks(Range range, int max_count, bool integers) {
  const double span = range.high - range.low;
  double power = std::pow(10.0, std::floor(std::log10(std::max(span, 1e-300) / max_count)));
  if (integers || span <= 0) power = std::max(power, 1.0);
  for (;; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double step = factor * power;
      // The ends of the range count in spite of the rounding of the division.
      const double first = std::ceil(range.low / step - 1e-9), last = std::floor(range.high / step + 1e-9);
      if (last - first + 1 > max_count) continue;
      std::vector<double> ticks;
      for (double i = first; i <= last; ++i) ticks.push_back(i == 0 ? 0 : i * step);
      return ticks;
    }
  }
}

int tick_decimals(const std::vector<double>& ticks) {
  if (ticks.size() < 2) return 2;
  return std::max(0, static_cast<int>(-std::floor(std::log10(ticks[1] - ticks[0]) + 1e-9)));
}

void draw_line_chart(Canvas& canvas, const Rectangle& area, const LineChart& chart) {
  if (chart.x.empty() || chart.x.size() != chart.y.size()) {
    throw kg::Error(
        fmt::format("draw_line_chart: \"{}\" has {} x and {} y values, expected as many of both, at least 1",
                    chart.title, chart.x.size(), chart.y.size()));
  }
  const Range x_data = finite_range(chart.x);
  const YAxis y_axis = choose_y_axis(chart);
  const Scale scale{.frame = {area.x + 64, area.y + 30, area.width - 64 - 78, area.height - 30 - 44},
                    .x = with_margin(x_data, 0.9, 0.03),
                    .y = y_axis.range};
  const Rectangle& frame = scale.frame;

  canvas.text({frame.x, area.y + 14}, chart.title, {.size = 14, .bold = true});
  canvas.text({frame.right(), area.y + 14}, chart.note,
              {.size = 10.5, .color = kFaintInk, .align = Align::right});
  draw_y_ticks(canvas, scale, chart.y_limits);
  draw_x_ticks(canvas, scale, x_data);
  canvas.line(
      std::vector<Point>{{frame.x, frame.y}, {frame.x, frame.bottom()}, {frame.right(), frame.bottom()}},
      {.color = kAxis});
  canvas.text({frame.center().x, area.bottom() - 10}, chart.x_label, {.align = Align::center});
  canvas.text({area.x + 10, frame.center().y}, chart.y_label, {.align = Align::center, .angle = 90});
  if (chart.reference) draw_reference(canvas, scale, *chart.reference, y_axis.shows_reference);
  draw_curve(canvas, scale, chart);
}

}  // namespace mnist
