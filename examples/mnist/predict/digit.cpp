// SPDX-License-Identifier: MIT
#include "predict/digit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "augment/image.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr int form_size = 28, box_size = 20;
constexpr int working_side = 1000;  // larger pictures are scaled down first
constexpr float faintest = 12;      // grey levels that ink must differ from paper by
constexpr std::size_t most_pieces = 10;
constexpr int smallest_digit = 8;  // pixels of height or width
// Of MNIST's test digits the strokes are 0.05 to 0.38 times as wide and 0.8 to 3.7 times as long as the box
// is large.
constexpr float thickest_stroke = 0.4F, shortest_stroke = 0.5F, longest_stroke = 10;
constexpr float thinnest_stroke = 1.6F;  // pixels of the form's box; thinner ones are made thicker
constexpr float darkest_ground = 32;     // of a picture that is taken as it is

using Colour = std::array<float, 3>;

template <class Pixel>
struct Grid {
  int width = 0;
  int height = 0;
  std::vector<Pixel> values;

  Grid(int width, int height)
      : width(width),
        height(height),
        values(static_cast<std::size_t>(width) * static_cast<std::size_t>(height)) {}
  std::size_t index(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
  }
  Pixel& at(int x, int y) { return values[index(x, y)]; }
  const Pixel& at(int x, int y) const { return values[index(x, y)]; }
};

[[noreturn]] void fail(const std::string& reason) { throw NoDigit("no digit: " + reason); }

float quantile(std::vector<float> values, double share) {
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(values.size()) * share);
  std::ranges::nth_element(values, place);
  return *place;
}

// The standard deviation of normally distributed values, from their magnitudes. Up to two thirds may be
// anything larger.
float deviation(std::vector<float> magnitudes) { return quantile(std::move(magnitudes), 0.3) / 0.3853F; }

// Means over squares of pixels, as large as it takes for working_side.
Grid<Colour> shrunk(const Picture& picture) {
  const int side = std::max(picture.width, picture.height), factor = (side + working_side - 1) / working_side;
  Grid<Colour> colours(std::max(1, picture.width / factor), std::max(1, picture.height / factor));
  for (int y = 0; y < colours.height; ++y)
    for (int x = 0; x < colours.width; ++x) {
      Colour sum{};
      int count = 0;
      for (int from_y = y * factor; from_y < std::min((y + 1) * factor, picture.height); ++from_y)
        for (int from_x = x * factor; from_x < std::min((x + 1) * factor, picture.width); ++from_x, ++count) {
          const auto& pixel =
              picture.pixels[static_cast<std::size_t>(from_y) * static_cast<std::size_t>(picture.width) +
                             static_cast<std::size_t>(from_x)];
          for (std::size_t c = 0; c < 3; ++c) sum[c] += pixel[c];
        }
      for (std::size_t c = 0; c < 3; ++c) colours.at(x, y)[c] = sum[c] / static_cast<float>(count);
    }
  return colours;
}

// A surface of third degree: how light falls on a page.
constexpr std::size_t terms = 10;
using Terms = std::array<double, terms>;

Terms terms_at(const Grid<Colour>& picture, int x, int y) {
  const double u = 2 * (x + 0.5) / picture.width - 1, v = 2 * (y + 0.5) / picture.height - 1;
  return {1, u, v, u * u, u * v, v * v, u * u * u, u * u * v, u * v * v, v * v * v};
}

double value(const Terms& coefficients, const Terms& at) {
  return std::inner_product(at.begin(), at.end(), coefficients.begin(), 0.0);
}

struct Sample {
  Terms at;
  Colour colour;
};

using Surface = std::array<Terms, 3>;  // one for each colour

float distance(const Surface& surface, const Sample& sample) {
  float largest = 0;
  for (std::size_t c = 0; c < 3; ++c)
    largest =
        std::max(largest, std::abs(sample.colour[c] - static_cast<float>(value(surface[c], sample.at))));
  return largest;
}

// Least squares over the samples by the first `count` terms: Gauss' elimination of the normal equations,
// whose matrix is positive definite but for rounding.
Surface fitted(const std::vector<const Sample*>& samples, std::size_t count) {
  std::array<std::array<double, terms + 3>, terms> rows{};
  for (const Sample* sample : samples)
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < count; ++j) rows[i][j] += sample->at[i] * sample->at[j];
      for (std::size_t c = 0; c < 3; ++c) rows[i][terms + c] += sample->at[i] * sample->colour[c];
    }
  for (std::size_t i = 0; i < count; ++i) rows[i][i] += 1e-6 * static_cast<double>(samples.size());
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t k = 0; k < count; ++k) {
      if (k == i) continue;
      const double factor = rows[k][i] / rows[i][i];
      for (std::size_t j = i; j < terms + 3; ++j) rows[k][j] -= factor * rows[i][j];
    }
  Surface surface{};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t i = 0; i < count; ++i) surface[c][i] = rows[i][terms + c] / rows[i][i];
  return surface;
}

struct Paper {
  Surface surface;
  float density;  // samples near it, for each grey level of what is near
};

// A surface through what lies near `start`, fitted again and again to what lies near it then.
Paper paper_from(const Colour& start, const std::vector<Sample>& samples) {
  Surface surface{};
  for (std::size_t c = 0; c < 3; ++c) surface[c][0] = start[c];
  std::vector<const Sample*> nearby;
  float near = 0;
  for (const std::size_t count : {1, 3, 3, 3, 6, 6, 6, 10, 10, 10}) {
    std::vector<float> distances;
    for (const Sample& sample : samples) distances.push_back(distance(surface, sample));
    near = std::max(2.25F * deviation(std::move(distances)), faintest / 2);
    nearby.clear();
    for (const Sample& sample : samples)
      if (distance(surface, sample) <= near) nearby.push_back(&sample);
    surface = fitted(nearby, count);
  }
  return {surface, static_cast<float>(nearby.size()) / near};
}

Colour median_colour(const std::vector<Sample>& samples) {
  Colour colour;
  for (std::size_t c = 0; c < 3; ++c) {
    std::vector<float> values;
    for (const Sample& sample : samples) values.push_back(sample.colour[c]);
    colour[c] = quantile(std::move(values), 0.5);
  }
  return colour;
}

// The paper is what most of the picture is, or most of its border: whichever has more near it.
Surface paper_of(const Grid<Colour>& picture) {
  std::vector<Sample> samples, border;
  const int step_x = std::max(1, picture.width / 64), step_y = std::max(1, picture.height / 64);
  const auto sample = [&](int x, int y) { return Sample{terms_at(picture, x, y), picture.at(x, y)}; };
  for (int y = 0; y < picture.height; y += step_y)
    for (int x = 0; x < picture.width; x += step_x) samples.push_back(sample(x, y));
  for (int x = 0; x < picture.width; x += step_x)
    for (const int y : {0, picture.height - 1}) border.push_back(sample(x, y));
  for (int y = 0; y < picture.height; y += step_y)
    for (const int x : {0, picture.width - 1}) border.push_back(sample(x, y));
  const Paper by_most = paper_from(median_colour(samples), samples);
  const Paper by_border = paper_from(median_colour(border), samples);
  return by_border.density > by_most.density ? by_border.surface : by_most.surface;
}

// The colour, of length 1, in which the picture differs most from its paper: the first principal component of
// the differences, by power iteration, of those that are at least half the largest.
Colour ink_colour(const Grid<Colour>& differences) {
  const auto square = [](const Colour& d) { return d[0] * d[0] + d[1] * d[1] + d[2] * d[2]; };
  float largest = 0;
  for (const Colour& d : differences.values) largest = std::max(largest, square(d));
  std::array<Colour, 3> products{};
  for (const Colour& d : differences.values)
    if (4 * square(d) >= largest)
      for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 3; ++j) products[i][j] += d[i] * d[j];
  Colour colour = {1, 0.9F, 1.1F};
  for (int iteration = 0; iteration < 20; ++iteration) {
    Colour next{};
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t j = 0; j < 3; ++j) next[i] += products[i][j] * colour[j];
    const float length = std::sqrt(square(next));
    if (length == 0) break;
    for (std::size_t i = 0; i < 3; ++i) colour[i] = next[i] / length;
  }
  return colour;
}

// How far each pixel is from the paper towards the ink, in grey levels.
Grid<float> contrast_of(const Grid<Colour>& picture) {
  const Surface paper = paper_of(picture);
  Grid<Colour> differences(picture.width, picture.height);
  for (int y = 0; y < picture.height; ++y)
    for (int x = 0; x < picture.width; ++x) {
      const Terms at = terms_at(picture, x, y);
      for (std::size_t c = 0; c < 3; ++c)
        differences.at(x, y)[c] = picture.at(x, y)[c] - static_cast<float>(value(paper[c], at));
    }
  const Colour ink = ink_colour(differences);
  Grid<float> contrast(picture.width, picture.height);
  double skew = 0;
  for (std::size_t i = 0; i < contrast.values.size(); ++i) {
    const Colour& d = differences.values[i];
    // A pixel of grey 0 differs from one of grey 255 by 255 in each colour.
    const float along = (d[0] * ink[0] + d[1] * ink[1] + d[2] * ink[2]) / std::sqrt(3.0F);
    contrast.values[i] = along;
    skew += double{along} * along * along;
  }
  if (skew < 0)
    for (float& along : contrast.values) along = -along;
  return contrast;
}

Grid<float> blurred(const Grid<float>& grid, int radius) {
  if (radius == 0) return grid;
  Grid<float> rows(grid.width, grid.height), both(grid.width, grid.height);
  const auto mean = [&](const Grid<float>& from, int x, int y, int dx, int dy) {
    float sum = 0;
    int count = 0;
    for (int i = -radius; i <= radius; ++i) {
      const int at_x = x + i * dx, at_y = y + i * dy;
      if (at_x < 0 || at_y < 0 || at_x >= grid.width || at_y >= grid.height) continue;
      sum += from.at(at_x, at_y);
      ++count;
    }
    return sum / static_cast<float>(count);
  };
  for (int y = 0; y < grid.height; ++y)
    for (int x = 0; x < grid.width; ++x) rows.at(x, y) = mean(grid, x, y, 1, 0);
  for (int y = 0; y < grid.height; ++y)
    for (int x = 0; x < grid.width; ++x) both.at(x, y) = mean(rows, x, y, 0, 1);
  return both;
}

struct Box {
  int left, top, right, bottom;  // the last two are in it

  int width() const { return right - left + 1; }
  int height() const { return bottom - top + 1; }
  int size() const { return std::max(width(), height()); }
  void add(int x, int y) {
    left = std::min(left, x), right = std::max(right, x), top = std::min(top, y),
    bottom = std::max(bottom, y);
  }
};

// Pixels that touch each other.
struct Blob {
  Box box;
  std::vector<std::size_t> pixels;
  double ink = 0;
  int edges = 0;  // how many edges of the picture it touches

  int distance_to(const Box& other) const {
    const int x = std::max({0, box.left - other.right, other.left - box.right});
    const int y = std::max({0, box.top - other.bottom, other.top - box.bottom});
    return std::max(x, y);
  }
};

std::vector<Blob> blobs_of(const Grid<float>& contrast, float threshold) {
  std::vector<Blob> blobs;
  Grid<char> seen(contrast.width, contrast.height);
  for (int start_y = 0; start_y < contrast.height; ++start_y)
    for (int start_x = 0; start_x < contrast.width; ++start_x) {
      const auto is_new = [&](int x, int y) {
        return x >= 0 && y >= 0 && x < contrast.width && y < contrast.height && !seen.at(x, y) &&
               contrast.at(x, y) > threshold;
      };
      if (!is_new(start_x, start_y)) continue;
      Blob blob{{start_x, start_y, start_x, start_y}, {contrast.index(start_x, start_y)}};
      seen.at(start_x, start_y) = 1;
      for (std::size_t next = 0; next < blob.pixels.size(); ++next) {
        const int x = static_cast<int>(blob.pixels[next] % static_cast<std::size_t>(contrast.width));
        const int y = static_cast<int>(blob.pixels[next] / static_cast<std::size_t>(contrast.width));
        blob.box.add(x, y);
        blob.ink += contrast.at(x, y);
        for (int to_y = y - 1; to_y <= y + 1; ++to_y)
          for (int to_x = x - 1; to_x <= x + 1; ++to_x)
            if (is_new(to_x, to_y)) {
              seen.at(to_x, to_y) = 1;
              blob.pixels.push_back(contrast.index(to_x, to_y));
            }
      }
      blob.edges = (blob.box.left == 0) + (blob.box.top == 0) + (blob.box.right == contrast.width - 1) +
                   (blob.box.bottom == contrast.height - 1);
      blobs.push_back(std::move(blob));
    }
  return blobs;
}

// A line from edge to edge is the paper's, as are the pieces of a frame.
bool is_ruling(const Blob& blob, const Grid<float>& picture) {
  const Box& box = blob.box;
  return (box.width() > 0.95 * picture.width && box.height() < 0.08 * picture.height) ||
         (box.height() > 0.95 * picture.height && box.width() < 0.08 * picture.width);
}

double ink_in(const std::vector<Blob>& blobs) {
  return std::accumulate(blobs.begin(), blobs.end(), 0.0,
                         [](double sum, const Blob& blob) { return sum + blob.ink; });
}

// The largest blob that does not lie across the picture's edge, and what is near enough to belong to it.
std::vector<Blob> digit_of(std::vector<Blob> blobs, int side) {
  const auto weight = [](const Blob& blob) {
    return blob.edges > 0 ? blob.ink / (4 * blob.edges) : blob.ink;
  };
  const auto main = std::ranges::max_element(blobs, {}, weight);
  const double speck = 0.03 * main->ink;
  const int edges = main->edges;
  std::vector<Blob> digit = {std::move(*main)};
  blobs.erase(main);
  std::erase_if(blobs, [&](const Blob& blob) { return blob.edges > edges; });
  const double ink = ink_in(digit) + ink_in(blobs);
  std::erase_if(blobs, [&](const Blob& blob) { return blob.ink < speck; });

  Box box = digit[0].box;
  const auto is_near = [&](const Blob& blob) {
    return blob.distance_to(box) <= std::max(box.size() / 3, side / 6);
  };
  for (auto next = std::ranges::find_if(blobs, is_near); next != blobs.end();
       next = std::ranges::find_if(blobs, is_near)) {
    box.add(next->box.left, next->box.top);
    box.add(next->box.right, next->box.bottom);
    digit.push_back(std::move(*next));
    blobs.erase(next);
  }
  if (digit.size() > most_pieces || ink_in(digit) < 0.5 * ink)
    fail("what stands out is all over the picture");
  return digit;
}

// How far each pixel is from the mask, in pixels: steps of 1 straight and of sqrt(2) aslant, forwards and
// backwards.
Grid<float> distance_from(const Grid<char>& mask) {
  Grid<float> distances(mask.width, mask.height);
  for (std::size_t i = 0; i < mask.values.size(); ++i) distances.values[i] = mask.values[i] ? 0 : 1e9F;
  const auto step = [&](int x, int y, int dx, int dy) {
    const int from_x = x + dx, from_y = y + dy;
    if (from_x < 0 || from_y < 0 || from_x >= mask.width || from_y >= mask.height) return;
    const float length = dx != 0 && dy != 0 ? 1.41421F : 1;
    distances.at(x, y) = std::min(distances.at(x, y), distances.at(from_x, from_y) + length);
  };
  for (const int sign : {1, -1})
    for (int row = 0; row < mask.height; ++row)
      for (int column = 0; column < mask.width; ++column) {
        const int y = sign > 0 ? row : mask.height - 1 - row, x = sign > 0 ? column : mask.width - 1 - column;
        for (const int dx : {-1, 0, 1}) step(x, y, dx, -sign);
        step(x, y, -sign, 0);
      }
  return distances;
}

struct Stroke {
  float width, length;
};

// A long stroke's outline is twice as long as it; it is pi / 4 times the number of the pixels' edges, in the
// mean over all directions.
Stroke stroke_of(const Grid<char>& mask) {
  std::int64_t area = 0, edges = 0;
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x) {
      const char here = mask.at(x, y);
      area += here;
      edges += (x == 0 ? here : here != mask.at(x - 1, y)) + (y == 0 ? here : here != mask.at(x, y - 1));
      edges += (x == mask.width - 1 ? here : 0) + (y == mask.height - 1 ? here : 0);
    }
  const float length = 0.785398F * static_cast<float>(edges) / 2;
  return {static_cast<float>(area) / std::max(length, 1.0F), length};
}

struct Ink {
  Grid<float> shade;  // 0 is paper, 1 ink
  Box box;
};

// What stands out from the paper, as blobs that may be a digit.
std::vector<Blob> find_digit(const Grid<float>& contrast) {
  std::vector<float> magnitudes;
  for (const float along : contrast.values) magnitudes.push_back(std::abs(along));
  const float noise = deviation(std::move(magnitudes));
  const float strongest = *std::ranges::max_element(contrast.values);
  std::vector<Blob> blobs = blobs_of(contrast, std::max({faintest, 5 * noise, 0.35F * strongest}));
  std::erase_if(blobs, [&](const Blob& blob) { return is_ruling(blob, contrast); });
  if (blobs.empty()) fail("nothing stands out from the ground");
  return digit_of(std::move(blobs), std::max(contrast.width, contrast.height));
}

// Throws unless the mask has the size and the strokes of a digit.
void check_shape(const Grid<char>& mask, const Box& box) {
  if (box.size() < smallest_digit)
    fail(fmt::format("what stands out is {} pixels high and wide at most, expected at least {}", box.size(),
                     smallest_digit));
  const Stroke stroke = stroke_of(mask);
  const auto size = static_cast<float>(box.size());
  if (stroke.width > thickest_stroke * size) fail("what stands out is a filled area");
  if (stroke.length < shortest_stroke * size) fail("what stands out are specks");
  if (stroke.length > longest_stroke * size) fail("what stands out has no clear strokes");
  int on_edges = 0;
  for (int x = 0; x < mask.width; ++x) on_edges += mask.at(x, 0) + mask.at(x, mask.height - 1);
  for (int y = 0; y < mask.height; ++y) on_edges += mask.at(0, y) + mask.at(mask.width - 1, y);
  if (on_edges > mask.width + mask.height) fail("what stands out is the picture's edge");
}

Ink ink_of(const Picture& picture) {
  const Grid<Colour> colours = shrunk(picture);
  const Grid<float> contrast =
      blurred(contrast_of(colours), (std::max(colours.width, colours.height) + 150) / 400);
  const std::vector<Blob> digit = find_digit(contrast);

  Ink ink{Grid<float>(contrast.width, contrast.height), digit[0].box};
  std::vector<float> shades;
  Grid<char> mask(contrast.width, contrast.height);
  for (const Blob& blob : digit) {
    ink.box.add(blob.box.left, blob.box.top);
    ink.box.add(blob.box.right, blob.box.bottom);
    for (const std::size_t pixel : blob.pixels) {
      mask.values[pixel] = 1;
      shades.push_back(contrast.values[pixel]);
    }
  }
  check_shape(mask, ink.box);

  // Edges are fainter than the threshold, and belong to the digit as far as a pixel of its form reaches.
  const float full = quantile(std::move(shades), 0.8);
  const float reach = std::max(1.0F, static_cast<float>(ink.box.size()) / box_size);
  const Grid<float> away = distance_from(mask);
  for (int y = 0; y < contrast.height; ++y)
    for (int x = 0; x < contrast.width; ++x) {
      if (away.at(x, y) > reach) continue;
      const float shade = std::clamp((contrast.at(x, y) / full - 0.08F) / 0.84F, 0.0F, 1.0F);
      ink.shade.at(x, y) = shade;
      if (shade > 0.1F) ink.box.add(x, y);
    }
  return ink;
}

Grid<char> solid(const Ink& ink) {
  Grid<char> mask(ink.shade.width, ink.shade.height);
  for (std::size_t i = 0; i < mask.values.size(); ++i) mask.values[i] = ink.shade.values[i] > 0.5F;
  return mask;
}

// A thin pen's line would fade to a shadow in a box of 20x20.
void thicken(Ink& ink) {
  const float pixel = static_cast<float>(ink.box.size()) / box_size;
  const Grid<char> mask = solid(ink);
  const float more = (thinnest_stroke * pixel - stroke_of(mask).width) / 2;
  if (more <= 0) return;
  const Grid<float> away = distance_from(mask);
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x) {
      const float shade = std::clamp(more + 0.5F - away.at(x, y), 0.0F, 1.0F);
      if (shade <= ink.shade.at(x, y)) continue;
      ink.shade.at(x, y) = shade;
      if (shade > 0.1F) ink.box.add(x, y);
    }
}

// The digit in its box, from 0 to 255.
Image boxed(const Ink& ink) {
  const Box& box = ink.box;
  Image image{box.height(), box.width(), {}}, scratch;
  for (int y = box.top; y <= box.bottom; ++y)
    for (int x = box.left; x <= box.right; ++x)
      image.pixels.push_back(static_cast<std::uint8_t>(std::lround(255 * ink.shade.at(x, y))));
  const auto scaled = [&](int length) {
    return std::max(1, static_cast<int>(std::lround(double(length) * box_size / box.size())));
  };
  resized_crop(image, scratch, {0, 0, box.height(), box.width()},
               {scaled(box.height()), scaled(box.width())});
  const int lightest = std::max<int>(1, *std::ranges::max_element(image.pixels));
  for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(pixel * 255 / lightest);
  return image;
}

// How far along the digit's centre of mass lies, in a direction.
int centred(const Image& image, bool along_x) {
  double sum = 0, mass = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const double pixel = image.pixels[static_cast<std::size_t>(y * image.width + x)];
      sum += pixel * (along_x ? x : y);
      mass += pixel;
    }
  const int length = along_x ? image.width : image.height;
  return std::clamp(static_cast<int>(std::lround(form_size / 2.0 - sum / mass)), 0, form_size - length);
}

GreyImage in_form(const Image& image) {
  GreyImage form{form_size, form_size, std::vector<std::uint8_t>(form_size * form_size)};
  const int left = centred(image, true), top = centred(image, false);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      form.pixels[static_cast<std::size_t>((top + y) * form_size + left + x)] =
          image.pixels[static_cast<std::size_t>(y * image.width + x)];
  return form;
}

// A picture of MNIST's size on black or on white is in its form but for the sign.
std::optional<GreyImage> stored(const GreyImage& image) {
  if (image.width != form_size || image.height != form_size) return std::nullopt;
  std::vector<float> border;
  for (int i = 0; i < form_size; ++i)
    for (const int at : {i, (form_size - 1) * form_size + i, i * form_size, i * form_size + form_size - 1})
      border.push_back(image.pixels[static_cast<std::size_t>(at)]);
  const float ground = quantile(std::move(border), 0.5);
  if (ground > darkest_ground && ground < 255 - darkest_ground) return std::nullopt;
  GreyImage form = image;
  if (ground > darkest_ground)
    for (std::uint8_t& pixel : form.pixels) pixel = static_cast<std::uint8_t>(255 - pixel);
  return form;
}

}  // namespace

GreyImage as_mnist(Picture picture) {
  lay_on_ground(picture);
  const std::optional<GreyImage> form = stored(to_gray(picture));
  Ink ink = ink_of(picture);
  if (form) return *form;
  thicken(ink);
  return in_form(boxed(ink));
}

GreyImage white_on_black(GreyImage image) {
  int64_t sum = 0, count = 0;
  for (int y = 0; y < image.height; ++y) {
    const bool whole_row = y == 0 || y == image.height - 1;
    const int step = whole_row || image.width == 1 ? 1 : image.width - 1;
    for (int x = 0; x < image.width; x += step, ++count) {
      sum += image.pixels[static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)];
    }
  }
  if (sum >= 128 * count) {
    for (uint8_t& pixel : image.pixels) pixel = static_cast<uint8_t>(255 - pixel);
  }
  return image;
}

GreyImage fit_to(GreyImage image, int width, int height) {
  if (image.width <= 0 || image.height <= 0 || width <= 0 || height <= 0) {
    throw kg::Error(fmt::format("fit_to: {} x {} image to {} x {}, expected at least 1 x 1", image.width,
                                image.height, width, height));
  }
  if (image.pixels.size() != static_cast<size_t>(image.width) * static_cast<size_t>(image.height)) {
    throw kg::Error(
        fmt::format("fit_to: {} pixels, expected {} x {}", image.pixels.size(), image.width, image.height));
  }
  const double scale = std::min(double(width) / image.width, double(height) / image.height);
  const int scaled_width = std::clamp(static_cast<int>(std::lround(image.width * scale)), 1, width);
  const int scaled_height = std::clamp(static_cast<int>(std::lround(image.height * scale)), 1, height);

  Image picture{image.height, image.width, std::move(image.pixels)}, scratch;
  resized_crop(picture, scratch, {0, 0, image.height, image.width}, {scaled_height, scaled_width});
  center_crop(picture, scratch, {height, width});
  return {width, height, std::move(picture.pixels)};
}

}  // namespace mnist
