// SPDX-License-Identifier: MIT
#include "models/receptive_field.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace mnist {

namespace {

namespace nn = kg::nn;

enum class Kind { convolution, max_pooling, average_pooling };

/// A layer that moves a window over a map.
struct Window {
  Kind kind;
  std::int64_t kernel, stride, padding;  ///< kernel 0: the whole map
  std::size_t child;                     ///< which of the network's direct children it belongs to
};

std::int64_t square(const kg::Pair& pair) {
  if (pair.h != pair.w)
    throw kg::Error(
        fmt::format("receptive_fields: given a window of {} x {}, expected square ones with equal "
                    "strides and paddings",
                    pair.h, pair.w));
  return pair.h;
}

Window window_of(Kind kind, const nn::Pool2d& pool, std::size_t child) {
  const std::int64_t kernel = square(pool.kernel()), stride = square(pool.options().stride);
  return {kind, kernel, stride == 0 ? kernel : stride, square(pool.options().padding), child};
}

Window window_of(const nn::Conv2d& conv, std::size_t child) {
  const kg::Conv2dOptions& options = conv.options();
  const std::int64_t reach = square(options.dilation) * (square(conv.kernel()) - 1) + 1;
  return {Kind::convolution, reach, square(options.stride), square(options.padding), child};
}

/// Appends the windows of a module and of what it consists of.
void collect(const nn::Module& module, std::size_t child, std::vector<Window>& windows) {
  if (const auto* conv = dynamic_cast<const nn::Conv2d*>(&module))
    windows.push_back(window_of(*conv, child));
  else if (const auto* max_pool = dynamic_cast<const nn::MaxPool2d*>(&module))
    windows.push_back(window_of(Kind::max_pooling, *max_pool, child));
  else if (const auto* average_pool = dynamic_cast<const nn::AvgPool2d*>(&module))
    windows.push_back(window_of(Kind::average_pooling, *average_pool, child));
  else if (dynamic_cast<const nn::GlobalAvgPool2d*>(&module))
    windows.push_back({Kind::average_pooling, 0, 0, 0, child});
  for (const auto& [name, inner] : module.children()) collect(*inner, child, windows);
}

bool is_larger_convolution(const Window& window) {
  return window.kind == Kind::convolution && window.kernel > 1;
}

/// The row without its names: what `window` makes of the map that the row before it describes.
ReceptiveField follow(const ReceptiveField& before, const Window& window) {
  ReceptiveField row{};
  row.rf_in = before.rf_out, row.n_in = before.n_out, row.jump_in = before.jump_out;
  row.kernel = window.kernel == 0 ? row.n_in : window.kernel;
  row.padding = window.padding;
  if (row.kernel > row.n_in + 2 * row.padding)
    throw kg::Error(
        fmt::format("receptive_fields: a window of {0} x {0} meets a map of {1} x {1}, padding {2}",
                    row.kernel, row.n_in, row.padding));
  const bool whole_map = window.kind != Kind::convolution && row.kernel == row.n_in && row.padding == 0;
  row.stride = whole_map ? 1 : window.stride;
  row.n_out = (row.n_in + 2 * row.padding - row.kernel) / row.stride + 1;
  row.rf_out = row.rf_in + (row.kernel - 1) * row.jump_in;
  row.jump_out = row.jump_in * row.stride;
  return row;
}

/// A 1x1 convolution is a transition if larger ones follow it, and a classifier otherwise.
std::string block_name(const ReceptiveField& row, std::span<const Window> from_here) {
  switch (from_here[0].kind) {
    case Kind::convolution:
      if (row.kernel > 1) return "Convolution Block";
      return std::ranges::any_of(from_here, is_larger_convolution) ? "Transition Block" : "1x1";
    case Kind::average_pooling:
      if (row.n_out == 1) return "Global Average Pooling";
      break;
    case Kind::max_pooling:
      break;
  }
  return "Pooling Layer";
}

std::string layer_name(const ReceptiveField& row, Kind kind, int convolutions) {
  if (kind == Kind::convolution) return fmt::format("conv{}", convolutions);
  if (kind == Kind::max_pooling) return "maxpool";
  return row.n_out == 1 ? "GAP" : "avgpool";
}

/// Whether the child of a window has another one: it is a block by itself then.
bool has_siblings(std::span<const Window> windows, std::size_t i) {
  return (i > 0 && windows[i - 1].child == windows[i].child) ||
         (i + 1 < windows.size() && windows[i + 1].child == windows[i].child);
}

}  // namespace

std::vector<ReceptiveField> receptive_fields(const nn::Module& network, std::int64_t size) {
  std::vector<Window> windows;
  for (std::size_t child = 0; child < network.children().size(); ++child)
    collect(*network.children()[child].second, child, windows);

  std::vector<ReceptiveField> rows;
  ReceptiveField before{};
  before.rf_out = 1, before.n_out = size, before.jump_out = 1;
  int convolutions = 0;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    ReceptiveField row = follow(before, windows[i]);
    convolutions += windows[i].kind == Kind::convolution;
    row.layer = layer_name(row, windows[i].kind, convolutions);
    row.block = block_name(row, std::span(windows).subspan(i));
    row.begins_block = i == 0 || row.block != before.block ||
                       (windows[i].child != windows[i - 1].child &&
                        (has_siblings(windows, i) || has_siblings(windows, i - 1)));
    rows.push_back(row);
    before = row;
  }
  return rows;
}

std::string receptive_field_table(const nn::Module& network, std::int64_t size) {
  constexpr const char* format =
      "| {:<22} | {:<7} | {:>5} | {:>4} | {:>4} | {:>6} | {:>7} | {:>6} | {:>6} | {:>5} | {:>5} |\n";
  std::string table = fmt::format(format, "block", "layer", "rf in", "n in", "j in", "stride", "padding",
                                  "kernel", "rf out", "n out", "j out");
  table +=
      "| ---------------------- | ------- | ----: | ---: | ---: | -----: | ------: | -----: | -----: | ----: "
      "| ----: |\n";
  for (const ReceptiveField& row : receptive_fields(network, size))
    table +=
        fmt::format(format, row.begins_block ? row.block : "", row.layer, row.rf_in, row.n_in, row.jump_in,
                    row.stride, row.padding, row.kernel, row.rf_out, row.n_out, row.jump_out);
  return table;
}

}  // namespace mnist
