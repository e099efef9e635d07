// SPDX-License-Identifier: MIT
#include "report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr Color grid_color{0.88, 0.88, 0.90};
constexpr Color axis_color{0.55, 0.55, 0.58};
constexpr size_t most_points_with_dots = 40;
constexpr double tick_label_width = 35;  // beside the y axis' label

Interval finite_range(const std::vector<double>& values) {
  Interval range{INFINITY, -INFINITY};
  for (const double value : values) {
    if (std::isfinite(value)) range = {std::min(range.low, value), std::max(range.high, value)};
  }
  return range;
}

/// Widened evenly to a span of at least `span`, and by a margin.
Interval with_margin(Interval range, double span, double margin) {
  const double missing = std::max(0.0, span - (range.high - range.low));
  const double each_side = missing / 2 + margin * std::max(span, range.high - range.low);
  return {range.low - each_side, range.high + each_side};
}

struct YAxis {
  Interval range;
  bool shows_reference = false;
};

/// The finite values that the y axis has to reach; low > high if there is none.
Interval covered_values(const std::vector<Curve>& curves) {
  Interval all{INFINITY, -INFINITY};
  for (const Curve& curve : curves) {
    const Interval values = finite_range(curve.y);
    if (values.low > values.high) continue;
    all.low = std::min(all.low, std::clamp(values.low, curve.covered.low, curve.covered.high));
    all.high = std::max(all.high, std::clamp(values.high, curve.covered.low, curve.covered.high));
  }
  return all;
}

/// An axis for values in `data`, widened to `min_span`, and for the reference line if that is near.
YAxis choose_y_axis(Interval data, double min_span, Interval limits,
                    const std::optional<ReferenceLine>& reference) {
  if (data.low > data.high) data = {0, 1};
  // Equal values still need an axis around them.
  if (min_span <= 0 && data.low == data.high) min_span = std::max(0.1 * std::abs(data.high), 1e-3);

  YAxis axis;
  if (reference) {
    const Interval both{std::min(data.low, reference->y), std::max(data.high, reference->y)};
    const double stretch = (both.high - both.low) - (data.high - data.low);
    axis.shows_reference = stretch <= std::max(reference->reach, data.high - data.low);
    if (axis.shows_reference) data = both;
  }
  axis.range = with_margin(data, min_span, 0.06);
  axis.range.low = std::max(axis.range.low, limits.low);
  // Room for the upper half of a dot at 100 %, no more.
  const double covered = axis.range.high - axis.range.low;
  axis.range.high = std::min(axis.range.high, limits.high + 0.06 * covered);
  return axis;
}

/// Maps data to the frame on the canvas.
struct Scale {
  Rectangle frame;
  Interval x, y;

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

void draw_y_ticks(Canvas& canvas, const Scale& scale, Interval limits) {
  const auto ticks = round_ticks({scale.y.low, std::min(scale.y.high, limits.high)}, 8);
  const int decimals = tick_decimals(ticks);
  for (const double tick : ticks) {
    const double y = scale.at_y(tick);
    canvas.line({scale.frame.x, y}, {scale.frame.right(), y}, {.color = grid_color});
    canvas.text({scale.frame.x - 7, y}, y_tick_label(tick, decimals),
                {.size = 10.5, .align = Align::right, .max_width = tick_label_width});
  }
}

void draw_x_ticks(Canvas& canvas, const Scale& scale, Interval data) {
  const double bottom = scale.frame.bottom();
  for (const double tick : round_ticks(data, 16, true)) {
    const double x = scale.at_x(tick);
    canvas.line({x, scale.frame.y}, {x, bottom}, {.color = grid_color});
    canvas.line({x, bottom}, {x, bottom + 4}, {.color = axis_color});
    canvas.text({x, bottom + 13}, fmt::format("{:.0f}", tick), {.size = 10.5, .align = Align::center});
  }
}

void draw_curve(Canvas& canvas, const Scale& scale, const Curve& curve) {
  std::vector<Point> run;
  for (size_t i = 0; i <= curve.x.size(); ++i) {
    if (i < curve.x.size() && std::isfinite(curve.y[i])) {
      run.push_back(scale.at(curve.x[i], curve.y[i]));
      continue;
    }
    canvas.line(run, {.color = curve.color, .width = curve.width, .clip = scale.frame});
    // A point between two gaps has no line to show it.
    const bool dots = (curve.dots && curve.x.size() <= most_points_with_dots) || run.size() == 1;
    if (dots) {
      for (const Point& point : run)
        if (scale.frame.contains(point)) canvas.dot(point, 3.2, curve.color);
    }
    run.clear();
  }
}

/// A sample of each named curve with its name, in a row.
void draw_legend(Canvas& canvas, Point left, const std::vector<Curve>& curves) {
  const TextStyle style{.size = 10.5};
  for (const Curve& curve : curves) {
    if (curve.label.empty()) continue;
    canvas.line(left, {left.x + 18, left.y}, {.color = curve.color, .width = std::max(curve.width, 1.8)});
    canvas.text({left.x + 24, left.y}, curve.label, style);
    left.x += 24 + canvas.text_width(curve.label, style) + 18;
  }
}

void draw_reference(Canvas& canvas, const Scale& scale, const ReferenceLine& reference, bool in_range) {
  const double right = scale.frame.right();
  const TextStyle style{.size = 10.5, .color = faint_ink_color};
  if (in_range) {
    const double y = scale.at_y(reference.y);
    canvas.line({scale.frame.x, y}, {right, y}, {.color = faint_ink_color, .width = 1.3, .dashed = true});
    canvas.text({right + 6, y}, reference.label, style);
    return;
  }
  const bool above = reference.y > scale.y.high;
  const double tip = above ? scale.frame.y : scale.frame.bottom();
  const double into_frame = above ? 1 : -1;
  const double x = right + 10;
  canvas.line({x, tip}, {x, tip + 14 * into_frame}, {.color = faint_ink_color, .width = 1.3});
  canvas.line(std::vector<Point>{{x - 3, tip + 4 * into_frame}, {x, tip}, {x + 3, tip + 4 * into_frame}},
              {.color = faint_ink_color, .width = 1.3});
  canvas.text({right + 6, tip + 24 * into_frame}, reference.label, style);
}

/// `place` is as wide as the bar and the gap to the next, and as high as the frame.
void draw_bar(Canvas& canvas, const Scale& scale, const Rectangle& place, const Bar& bar, Color color) {
  const bool stands = std::isfinite(bar.value) && bar.value > scale.y.low;
  const double top = stands ? scale.at_y(bar.value) : place.bottom();
  canvas.fill({place.x + 0.15 * place.width, top, 0.7 * place.width, place.bottom() - top}, color);

  const TextStyle style{.size = 10.5, .align = Align::center, .max_width = place.width - 4};
  const Point middle{place.center().x, top - 9};
  // The lines of the grid and of the reference do not cross the figures.
  const double width = std::min(canvas.text_width(bar.value_label, style), style.max_width) + 4;
  canvas.fill({middle.x - width / 2, middle.y - 6, width, 12}, {1, 1, 1});
  canvas.text(middle, bar.value_label, style);
}

/// What a chart has around its frame, of either kind.
template <class Chart>
void draw_labels(Canvas& canvas, const Rectangle& area, const Rectangle& frame, const Chart& chart) {
  canvas.text({frame.x, area.y + 14}, chart.title, {.size = 14, .bold = true});
  canvas.text({frame.right(), area.y + 14}, chart.note,
              {.size = 10.5, .color = faint_ink_color, .align = Align::right});
  canvas.line(
      std::vector<Point>{{frame.x, frame.y}, {frame.x, frame.bottom()}, {frame.right(), frame.bottom()}},
      {.color = axis_color});
  canvas.text({frame.center().x, area.bottom() - 10}, chart.x_label, {.align = Align::center});
  canvas.text({area.x + 10, frame.center().y}, chart.y_label, {.align = Align::center, .angle = 90});
}

/// Left of the frame are the y axis and its label, right of it the reference line's.
Rectangle frame_in(const Rectangle& area, double above, double below) {
  return {area.x + 64, area.y + above, area.width - 64 - 78, area.height - above - below};
}

void check_curves(const LineChart& chart) {
  if (chart.curves.empty()) throw kg::Error(fmt::format("draw_line_chart: \"{}\" has no curve", chart.title));
  for (const Curve& curve : chart.curves) {
    if (!curve.x.empty() && curve.x.size() == curve.y.size()) continue;
    throw kg::Error(
        fmt::format("draw_line_chart: \"{}\" has {} x and {} y values, expected as many of both, at least 1",
                    chart.title, curve.x.size(), curve.y.size()));
  }
}

}  // namespace

std::vector<double> round_ticks(Interval range, int max_count, bool integers) {
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
  check_curves(chart);
  std::vector<double> all_x;
  bool has_legend = false;
  for (const Curve& curve : chart.curves) {
    all_x.insert(all_x.end(), curve.x.begin(), curve.x.end());
    has_legend |= !curve.label.empty();
  }
  const Interval x_data = finite_range(all_x);
  const YAxis y_axis =
      choose_y_axis(covered_values(chart.curves), chart.min_span, chart.y_limits, chart.reference);
  const Scale scale{.frame = frame_in(area, has_legend ? 50 : 30, 44),
                    .x = with_margin(x_data, 0.9, 0.03),
                    .y = y_axis.range};

  if (has_legend) draw_legend(canvas, {scale.frame.x, area.y + 35}, chart.curves);
  draw_y_ticks(canvas, scale, chart.y_limits);
  draw_x_ticks(canvas, scale, x_data);
  draw_labels(canvas, area, scale.frame, chart);
  if (chart.reference) draw_reference(canvas, scale, *chart.reference, y_axis.shows_reference);
  for (const Curve& curve : chart.curves) draw_curve(canvas, scale, curve);
}

void draw_bar_chart(Canvas& canvas, const Rectangle& area, const BarChart& chart) {
  if (chart.bars.empty()) throw kg::Error(fmt::format("draw_bar_chart: \"{}\" has no bar", chart.title));
  double longest_name = 0;
  Interval values{chart.base, chart.base};
  for (const Bar& bar : chart.bars) {
    longest_name = std::max(longest_name, canvas.text_width(bar.name));
    if (std::isfinite(bar.value)) values.high = std::max(values.high, bar.value);
  }
  YAxis y_axis = choose_y_axis(values, 0, chart.y_limits, chart.reference);
  y_axis.range.low = chart.base;
  Scale scale{.frame = frame_in(area, 44, 0), .x = {}, .y = y_axis.range};
  const double place = scale.frame.width / static_cast<double>(chart.bars.size());
  const bool slanted = longest_name > place - 6;
  scale.frame.height -= name_height(longest_name, slanted) + 30;

  draw_y_ticks(canvas, scale, chart.y_limits);
  if (chart.reference) draw_reference(canvas, scale, *chart.reference, y_axis.shows_reference);
  for (size_t i = 0; i < chart.bars.size(); ++i) {
    const double left = scale.frame.x + static_cast<double>(i) * place;
    draw_bar(canvas, scale, {left, scale.frame.y, place, scale.frame.height}, chart.bars[i], chart.color);
    draw_name_below(canvas, {left + place / 2, scale.frame.bottom()}, chart.bars[i].name, slanted);
  }
  draw_labels(canvas, area, scale.frame, chart);
}

void draw_name_below(Canvas& canvas, Point top, const std::string& name, bool slanted) {
  if (slanted) {
    canvas.text({top.x + 4, top.y + 11}, name, {.align = Align::right, .angle = 45});
  } else {
    canvas.text({top.x, top.y + 14}, name, {.align = Align::center});
  }
}

double name_height(double longest, bool slanted) { return slanted ? longest / std::sqrt(2.0) + 20 : 26; }

}  // namespace mnist
