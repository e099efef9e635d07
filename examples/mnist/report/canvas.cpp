// SPDX-License-Identifier: MIT
#include "report/canvas.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "kernelgrad/error.h"
#include "report/png_file.h"

// Fontconfig, through which Cairo finds its fonts, keeps them until the program ends. LeakSanitizer, in the
// builds that have it, takes them for leaks.
extern "C" const char* __lsan_default_suppressions() { return "leak:libfontconfig"; }
extern "C" const char* __lsan_default_options() { return "print_suppressions=0"; }

namespace mnist {
namespace {

constexpr double pixels_per_point = 2;

void check(cairo_status_t status) {
  if (status != CAIRO_STATUS_SUCCESS)
    throw kg::Error(fmt::format("Canvas: {}", cairo_status_to_string(status)));
}

}  // namespace

Color mix(Color from, Color to, double amount) {
  const auto channel = [amount](double a, double b) { return a + (b - a) * amount; };
  return {channel(from.red, to.red), channel(from.green, to.green), channel(from.blue, to.blue)};
}

Canvas::Canvas(double width, double height)
    : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24,
                                          static_cast<int>(std::ceil(width * pixels_per_point)),
                                          static_cast<int>(std::ceil(height * pixels_per_point)))),
      context_(cairo_create(surface_.get())) {
  check(cairo_status(context_.get()));
  cairo_scale(context_.get(), pixels_per_point, pixels_per_point);
  set_color({1, 1, 1});
  cairo_paint(context_.get());
}

void Canvas::fill(const Rectangle& area, Color color) {
  set_color(color);
  cairo_rectangle(context_.get(), area.x, area.y, area.width, area.height);
  cairo_fill(context_.get());
}

void Canvas::line(std::span<const Point> points, const LineStyle& style) {
  static constexpr std::array<double, 2> dashes = {5, 4};
  cairo_t* cr = context_.get();
  cairo_save(cr);
  if (style.clip) {
    cairo_rectangle(cr, style.clip->x, style.clip->y, style.clip->width, style.clip->height);
    cairo_clip(cr);
  }
  set_color(style.color);
  cairo_set_line_width(cr, style.width);
  cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
  cairo_set_dash(cr, dashes.data(), style.dashed ? 2 : 0, 0);
  for (const Point& point : points) cairo_line_to(cr, point.x, point.y);
  cairo_stroke(cr);
  cairo_restore(cr);
}

void Canvas::line(Point from, Point to, const LineStyle& style) { line(std::array{from, to}, style); }

void Canvas::dot(Point center, double radius, Color color) {
  set_color(color);
  cairo_arc(context_.get(), center.x, center.y, radius, 0, 2 * std::numbers::pi);
  cairo_fill(context_.get());
}

void Canvas::text(Point anchor, const std::string& text, const TextStyle& style) {
  cairo_t* cr = context_.get();
  set_font(style);
  double width = text_width(text, style);
  if (style.max_width > 0 && width > style.max_width) {
    cairo_set_font_size(cr, style.size * style.max_width / width);
    width = style.max_width;
  }
  // The height of capitals and digits: centring on it keeps labels with and without descenders level.
  cairo_text_extents_t capital;
  cairo_text_extents(cr, "0", &capital);
  const double offset = style.align == Align::left ? 0 : style.align == Align::center ? width / 2 : width;

  cairo_save(cr);
  cairo_translate(cr, anchor.x, anchor.y);
  cairo_rotate(cr, -style.angle * std::numbers::pi / 180);
  cairo_move_to(cr, -offset, -capital.y_bearing - capital.height / 2);
  set_color(style.color);
  cairo_show_text(cr, text.c_str());
  cairo_new_path(cr);
  cairo_restore(cr);
}

double Canvas::text_width(const std::string& text, const TextStyle& style) {
  set_font(style);
  cairo_text_extents_t extents;
  cairo_text_extents(context_.get(), text.c_str(), &extents);
  return extents.x_advance;
}

void Canvas::image(const Rectangle& area, std::span<const uint8_t> values, const ImageLayout& layout) {
  const auto [columns, channels] = layout;
  const size_t plane = values.size() / static_cast<size_t>(channels);
  const int rows = columns > 0 ? static_cast<int>(plane) / columns : 0;
  if (rows == 0 || values.size() != static_cast<size_t>(channels) * static_cast<size_t>(rows) *
                                        static_cast<size_t>(columns)) {
    throw kg::Error(
        fmt::format("Canvas: image of {} pixels, expected whole rows of {}", values.size(), columns));
  }
  const std::unique_ptr<cairo_surface_t, Destroy> image(
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns, rows));
  check(cairo_surface_status(image.get()));
  auto* image_pixels = reinterpret_cast<uint32_t*>(cairo_image_surface_get_data(image.get()));
  // Of a grey image all three are the same.
  const size_t green = channels == 3 ? plane : 0, blue = channels == 3 ? 2 * plane : 0;
  for (size_t i = 0; i < plane; ++i)
    image_pixels[i] =
        uint32_t{values[i]} << 16 | uint32_t{values[green + i]} << 8 | uint32_t{values[blue + i]};
  cairo_surface_mark_dirty(image.get());

  cairo_t* cr = context_.get();
  cairo_save(cr);
  cairo_rectangle(cr, area.x, area.y, area.width, area.height);
  cairo_clip(cr);
  cairo_translate(cr, area.x, area.y);
  cairo_scale(cr, area.width / columns, area.height / rows);
  cairo_set_source_surface(cr, image.get(), 0, 0);
  cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_NEAREST);
  cairo_paint(cr);
  cairo_restore(cr);
}

void Canvas::save_png(const std::filesystem::path& path) {
  check(cairo_status(context_.get()));
  cairo_surface_flush(surface_.get());
  write_png(path, Rgb24View{cairo_image_surface_get_width(surface_.get()),
                            cairo_image_surface_get_height(surface_.get()),
                            cairo_image_surface_get_stride(surface_.get()),
                            cairo_image_surface_get_data(surface_.get())});
}

void Canvas::set_font(const TextStyle& style) {
  cairo_select_font_face(context_.get(), "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                         style.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(context_.get(), style.size);
  cairo_scaled_font_t* const font = cairo_get_scaled_font(context_.get());
  // Cairo says "out of memory" of a font file that cannot be opened as well.
  if (const cairo_status_t status = cairo_scaled_font_status(font); status != CAIRO_STATUS_SUCCESS)
    throw kg::Error(
        fmt::format("figures: the font that fontconfig has for DejaVu Sans cannot be loaded ({}): its file "
                    "cannot be read, or memory has run out",
                    cairo_status_to_string(status)));
  // Cairo's own, which it takes without a word where fontconfig has none.
  if (cairo_scaled_font_get_type(font) == CAIRO_FONT_TYPE_USER)
    throw kg::Error(
        "figures: the system has no font to write with, expected DejaVu Sans or any other that fontconfig "
        "finds; Debian's package fonts-dejavu-core has it");
}

void Canvas::set_color(Color color) {
  cairo_set_source_rgb(context_.get(), color.red, color.green, color.blue);
}

}  // namespace mnist
