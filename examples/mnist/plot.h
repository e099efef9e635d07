#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "canvas.h"

namespace mnist {

struct Range {
  double low = 0, high = 0;
};

/// The multiples of the smallest of {1, 2, 5} x 10^k that lie within `range`, both ends included, and are
/// `max_count` at most. With `integers` the step is at least 1. Empty if no such number lies in the range.
std::vector<double> round_ticks(Range range, int max_count, bool integers = false);

/// The digits after the point that tell apart neighbours of `round_ticks`: "0.05" wants 2.
int tick_decimals(const std::vector<double>& ticks);

/// A dashed horizontal line to compare with.
struct ReferenceLine {
  double y = 0;
  double reach = 0;   ///< how far from the data it may lie and still be drawn, whatever their span
  std::string label;  ///< a short one, written at the right of the frame
};

/// One curve over whole-numbered x.
struct LineChart {
  std::string title, note;  ///< above the frame: the title at its left, the note small at its right
  std::string x_label, y_label;
  std::vector<double> x, y;  ///< points whose y is not finite are left out and break the line
  Color color;
  std::optional<ReferenceLine> reference;
  double min_span = 0;                     ///< the y axis covers at least this much
  Range y_limits = {-INFINITY, INFINITY};  ///< no ticks outside of these
};

/// Draws the chart with its title, ticks and axis labels into `area`. The y axis covers the finite values,
/// and the reference line too if that is no farther from them than its reach or than they spread; otherwise
/// an arrow at the edge of the frame tells in which direction it lies. Throws kg::Error unless x and y have
/// the same length, at least 1.
void draw_line_chart(Canvas& canvas, const Rectangle& area, const LineChart& chart);

}  // namespace mnist
