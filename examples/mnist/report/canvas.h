// SPDX-License-Identifier: MIT
#pragma once

#include <cairo.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mnist {

/// Each channel in [0, 1].
struct Color {
  double red = 0, green = 0, blue = 0;
};

/// The colour that lies `amount` in [0, 1] of the way from `from` to `to`.
Color mix(Color from, Color to, double amount);

struct Point {
  double x = 0, y = 0;
};

/// `y` grows downwards, as everywhere on a canvas.
struct Rectangle {
  double x = 0, y = 0, width = 0, height = 0;

  double right() const { return x + width; }
  double bottom() const { return y + height; }
  Point center() const { return {x + width / 2, y + height / 2}; }
  bool contains(Point p) const { return p.x >= x && p.x <= right() && p.y >= y && p.y <= bottom(); }
};

constexpr Color ink_color{0.13, 0.13, 0.15};
constexpr Color faint_ink_color{0.45, 0.45, 0.48};

enum class Align { left, center, right };

struct TextStyle {
  double size = 12;
  Color color = ink_color;
  Align align = Align::left;
  bool bold = false;
  double angle = 0;      ///< degrees, counter-clockwise about the anchor
  double max_width = 0;  ///< wider text is set in a smaller size; 0: no limit
};

struct LineStyle {
  Color color = ink_color;
  double width = 1;
  bool dashed = false;
  std::optional<Rectangle> clip = {};  ///< what lies outside is not drawn
};

/// What the values of an image are.
struct ImageLayout {
  int columns = 0;   ///< of a row
  int channels = 1;  ///< grey, or red, green and blue
};

/// A white picture to draw on with anti-aliased lines and text, saved as a PNG. Lengths are in points; the
/// PNG has two pixels per point. Text is in DejaVu Sans or what fontconfig has in its place; where it has no
/// font at all, writing throws kg::Error.
class Canvas {
 public:
  Canvas(double width, double height);

  void fill(const Rectangle& area, Color color);
  /// A line through `points`, in order.
  void line(std::span<const Point> points, const LineStyle& style = {});
  void line(Point from, Point to, const LineStyle& style = {});
  void dot(Point center, double radius, Color color);
  /// The anchor is in the middle of the line's height, horizontally where `align` says.
  void text(Point anchor, const std::string& text, const TextStyle& style = {});
  double text_width(const std::string& text, const TextStyle& style = {});
  /// 8-bit values, channel after channel and row by row, stretched over `area` with hard-edged pixels.
  void image(const Rectangle& area, std::span<const uint8_t> values, const ImageLayout& layout);

  /// Throws kg::Error naming `path`; never leaves half a file.
  void save_png(const std::filesystem::path& path);

 private:
  struct Destroy {
    void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
    void operator()(cairo_t* context) const { cairo_destroy(context); }
  };

  void set_font(const TextStyle& style);
  void set_color(Color color);

  std::unique_ptr<cairo_surface_t, Destroy> surface_;
  std::unique_ptr<cairo_t, Destroy> context_;
};

}  // namespace mnist
