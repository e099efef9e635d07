// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "report/canvas.h"

namespace mnist {

struct Interval {
  double low = 0, high = 0;
};

/// The multiples of the smallest of {1, 2, 5} x 10^k that lie within `range`, both ends included, and are
/// `max_count` at most. With `integers` the step is at least 1. Empty if no such number lies in the range.
std::vector<double> round_ticks(Interval range, int max_count, bool integers = false);

/// The digits after the point that tell apart neighbours of `round_ticks`: "0.05" wants 2.
int tick_decimals(const std::vector<double>& ticks);

/// A dashed horizontal line to compare with.
struct ReferenceLine {
  double y = 0;
  double reach = 0;   ///< how far from the data it may lie and still be drawn, whatever their span
  std::string label;  ///< a short one, written at the right of the frame
};

/// A line through points, from left to right.
struct Curve {
  std::vector<double> x, y;  ///< points whose y is not finite are left out and break the line
  Color color;
  std::string label = {};  ///< its name in the legend; without one it is not in it
  double width = 1.8;
  bool dots = true;                          ///< one on each point, unless the points are many
  Interval covered = {-INFINITY, INFINITY};  ///< the y axis need not reach values outside; they are cut off
};

/// Curves over an x axis with ticks at whole numbers.
struct LineChart {
  std::string title, note;  ///< above the frame: the title at its left, the note small at its right
  std::string x_label, y_label;
  std::vector<Curve> curves;  ///< later ones are drawn over earlier ones
  std::optional<ReferenceLine> reference;
  double min_span = 0;                        ///< the y axis covers at least this much
  Interval y_limits = {-INFINITY, INFINITY};  ///< no ticks outside of these
};

/// Draws the chart with its title, legend, ticks and axis labels into `area`. The y axis covers the finite
/// values, and the reference line too if that is no farther from them than its reach or than they spread;
/// otherwise an arrow at the edge of the frame tells in which direction it lies. Throws kg::Error unless
/// there is a curve, and each has as many x as y values, at least 1.
void draw_line_chart(Canvas& canvas, const Rectangle& area, const LineChart& chart);

struct Bar {
  std::string name;         ///< below the bar
  double value = 0;         ///< not finite: no bar
  std::string value_label;  ///< above the bar
};

/// Upright bars, side by side.
struct BarChart {
  std::string title, note;  ///< as LineChart's
  std::string x_label, y_label;
  std::vector<Bar> bars;
  Color color;
  std::optional<ReferenceLine> reference;
  double base = 0;  ///< where the bars stand; smaller values have no bar
  Interval y_limits = {-INFINITY, INFINITY};
};

/// Draws the chart into `area`, as draw_line_chart() does. Names wider than a bar's place are slanted. Throws
/// kg::Error if there is no bar.
void draw_bar_chart(Canvas& canvas, const Rectangle& area, const BarChart& chart);

/// A name below the point: centred, or slanted with its end there.
void draw_name_below(Canvas& canvas, Point top, const std::string& name, bool slanted);

/// The height that draw_name_below() takes for names up to `longest` wide.
double name_height(double longest, bool slanted);

}  // namespace mnist
