// SPDX-License-Identifier: MIT
#include "kernels/conv2d.h"

#include <algorithm>
#include <limits>
#include <string>

#include "kernelgrad/error.h"
#include "kernels/cpu/conv2d_axis.h"
#include "kernels/cpu/conv2d_blocks.h"
#include "kernels/cpu/conv2d_channels.h"
#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/correlate.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd_level.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// Images that one task convolves.
constexpr std::int64_t images_per_task = 4;
/// A weight gradient is summed in at most this many partial sums, each over at least min_images_per_sum
/// images. More would cost memory, fewer could not be shared out.
constexpr std::int64_t max_partial_sums = 16;
constexpr std::int64_t min_images_per_sum = 8;
/// Products are summed in registers over as many images as fit here, half of a second-level cache, before
/// they are added up across lanes; at most min_images_per_sum.
constexpr std::int64_t pass_bytes = 512 << 10;

/// Calls body(image, group) for every group of every image, images shared out among the threads.
template <class Body>
void for_images(const Conv2dProblem& p, const Body& body) {
  parallel_for_ranges(p.n, images_per_task, [&](Range images) {
    for (std::int64_t n = images.begin; n < images.end; ++n)
      for (std::int64_t g = 0; g < p.groups; ++g) body(n, g);
  });
}

/// The padded input, sorted by remainder modulo the stride: tap i of output y reads padded row y * stride + i
/// * dilation, which is row y + i * dilation / stride of the phase i * dilation % stride. Within a phase the
/// stride is 1.
struct InputAxis {
  Axis axis;
  std::int64_t extent;  ///< Rows per phase.

  explicit InputAxis(const Axis& a) : axis(a), extent(a.out + (a.kernel - 1) * a.dilation / a.stride) {}
  std::int64_t phases() const { return axis.stride; }
  std::int64_t phase_of_tap(std::int64_t i) const { return i * axis.dilation % axis.stride; }
  std::int64_t row_of_tap(std::int64_t i) const { return i * axis.dilation / axis.stride; }
  /// The input row behind a row of a phase; outside [0, in) it is padding.
  std::int64_t input_row(std::int64_t phase, std::int64_t row) const {
    return row * axis.stride + phase - axis.padding;
  }
  /// The rows of a phase that are not padding.
  Range inside(std::int64_t phase) const {
    const std::int64_t begin =
        std::clamp<std::int64_t>(ceil_div(axis.padding - phase, axis.stride), 0, extent);
    return {begin,
            std::clamp<std::int64_t>(ceil_div(axis.in + axis.padding - phase, axis.stride), begin, extent)};
  }
};

/// How an input image of one group lies in memory for forward and for the weight gradient: planes of rows,
/// `pitch` apart.
///
/// With a horizontal stride of 1 a row has its zeros on the left only, `gap` of them: those on its right are
/// those on the left of the next row. Without padding the image itself has the layout.
struct InputLayout {
  InputAxis rows, columns;
  std::int64_t channels, gap, pitch, plane, size;
  bool in_place;
  std::int64_t out_count;  ///< Output pixels per channel at this pitch, surplus columns included.
  Array<std::int64_t> offsets;

  explicit InputLayout(const Conv2dProblem& p)
      : rows(vertical(p)),
        columns(horizontal(p)),
        channels(p.c_in / p.groups),
        gap(p.stride_w == 1 ? std::max(p.padding_w, p.out_w() - p.w) : 0),
        pitch(p.stride_w == 1 ? p.w + gap : columns.extent),
        plane(rows.extent * pitch),
        size(channels * rows.phases() * columns.phases() * plane),
        in_place(p.stride_h == 1 && p.stride_w == 1 && p.padding_h == 0 && p.padding_w == 0),
        out_count((p.out_h() - 1) * pitch + p.out_w()) {
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t i = 0; i < p.k_h; ++i)
        for (std::int64_t j = 0; j < p.k_w; ++j)
          offsets.push_back(plane_offset(c, rows.phase_of_tap(i), columns.phase_of_tap(j)) +
                            rows.row_of_tap(i) * pitch + columns.row_of_tap(j) +
                            (p.stride_w == 1 ? gap - p.padding_w : 0));
  }

  std::int64_t taps() const { return static_cast<std::int64_t>(offsets.size()); }
  std::int64_t plane_offset(std::int64_t c, std::int64_t row_phase, std::int64_t column_phase) const {
    return ((c * rows.phases() + row_phase) * columns.phases() + column_phase) * plane;
  }
  /// Elements of a packed image, with what may be read behind it.
  std::int64_t packed_size() const { return size + gap + correlate_slack; }
  /// Whether images may be read where they are, given how many elements of the array lie behind them.
  bool usable_in_place(std::int64_t elements_behind) const {
    return in_place && elements_behind >= correlate_slack;
  }

  template <class T>
  void pack(const T* image, T* packed) const {
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t a = 0; a < rows.phases(); ++a)
        for (std::int64_t b = 0; b < columns.phases(); ++b)
          pack_plane(image + c * rows.axis.in * columns.axis.in, a, b, packed + plane_offset(c, a, b));
    std::fill(packed + size, packed + packed_size(), T(0));
  }

 private:
  template <class T>
  void pack_plane(const T* image, std::int64_t row_phase, std::int64_t column_phase, T* packed) const {
    const std::int64_t w = columns.axis.in;
    const Range inside = rows.inside(row_phase);
    std::fill(packed, packed + inside.begin * pitch, T(0));
    std::fill(packed + inside.end * pitch, packed + plane, T(0));
    const T* first = image + rows.input_row(row_phase, inside.begin) * w;
    if (columns.axis.stride == 1)
      return convolution_loops().of<T>()->copy_rows({.from = first,
                                                     .from_pitch = rows.axis.stride * w,
                                                     .to = packed + inside.begin * pitch,
                                                     .to_pitch = pitch,
                                                     .rows = inside.end - inside.begin,
                                                     .width = w,
                                                     .gap = gap});
    const Range across = columns.inside(column_phase);
    for (std::int64_t r = inside.begin; r < inside.end; ++r, first += rows.axis.stride * w) {
      T* row = packed + r * pitch;
      std::fill(row, row + across.begin, T(0));
      for (std::int64_t x = across.begin; x < across.end; ++x)
        row[x] = first[columns.input_row(column_phase, x)];
      std::fill(row + across.end, row + pitch, T(0));
    }
  }
};

/// Whether the layouts of an image and its gradient, for any of the kernels, would be mostly zeros, or the
/// phases of the input gradient mostly without taps: conv2d_direct.h needs far less memory then. In floating
/// point, for sizes beyond all memory.
bool is_sparse(const Conv2dProblem& p) {
  constexpr double most_phases = 4096, most_zeros = 16, few_elements = 1 << 16;
  struct Lengths {
    double in, out, packed_in, packed_out, phases;
  };
  const auto lengths = [](const Axis& a) -> Lengths {
    const double in = static_cast<double>(a.in), out = static_cast<double>(a.out),
                 stride = static_cast<double>(a.stride), padding = static_cast<double>(a.padding),
                 reach = static_cast<double>((a.kernel - 1) * a.dilation);
    return {.in = in,
            .out = out,
            .packed_in = out * stride + reach,
            .packed_out =
                std::max(out, (in + padding) / stride + 2) + std::max(0.0, reach - padding) / stride + 1,
            .phases = stride};
  };
  const Lengths h = lengths(vertical(p)), w = lengths(horizontal(p));
  const std::int64_t group_in = p.c_in / p.groups, group_out = p.c_out / p.groups;
  const double c_in = static_cast<double>(group_in), c_out = static_cast<double>(group_out);
  const double arrays = c_in * h.in * w.in + c_out * h.out * w.out +
                        c_in * c_out * static_cast<double>(p.k_h) * static_cast<double>(p.k_w);
  const double packed =
      c_in * h.packed_in * w.packed_in + c_out * std::max(h.packed_out * w.packed_out, h.out * w.packed_in);
  return h.phases * w.phases > most_phases || packed > most_zeros * arrays + few_elements;
}

template <class T>
Array<T> packed(const WeightMatrix<T>& weights) {
  Array<T> result(static_cast<std::size_t>(weights.taps * weights.channels));
  convolution_loops().of<T>()->pack_weights(weights, result.data());
  return result;
}

/// correlate() numbers columns in T, as far as T counts in ones.
template <class T>
void check_row(std::int64_t columns) {
  constexpr std::int64_t most = std::int64_t{1} << std::numeric_limits<T>::digits;
  if (columns > most)
    throw Error("conv2d: rows of " + std::to_string(columns) +
                " elements with their padding, expected at most " + std::to_string(most) + " of this dtype");
}

/// Whether conv2d_direct.h takes the problem.
bool takes_direct(const Conv2dProblem& p) {
  const bool sparse = is_sparse(p);
  note_variant(sparse ? "direct" : simd_level());
  return sparse;
}

/// Whether conv2d_blocks.h does. A 1x1 kernel is not worth making blocks of a plain array.
template <class T>
bool in_blocks(const Conv2dProblem& p, bool is_plain) {
  if (!takes_blocks<T>(p) || (is_plain && p.k_h == 1 && p.k_w == 1)) return false;
  note_variant("blocks");
  return true;
}

template <class T>
void forward(const Conv2dProblem& p, Input<T> input_array, const T* weight, const T* bias,
             Output<T> output_array) {
  // Nor is forward worth it where the result must be plain too: it takes up to twice as long.
  const bool is_plain = !form_of(input_array, p.n, p.c_in, p.h * p.w);
  if ((!is_plain || output_array.takes_form()) && in_blocks<T>(p, is_plain))
    return conv2d_forward(p, blocks_of(input_array, p.n, p.c_in, p.h * p.w), is_plain, weight, bias,
                          output_array);
  const T* input = input_array;
  T* output = output_array;
  if (takes_direct(p)) return conv2d_direct().of<T>()->forward(p, input, weight, bias, output);
  if (takes_channels(p)) return conv2d_channels_forward(p, input, weight, bias, output);
  const InputLayout layout(p);
  check_row<T>(layout.pitch);
  const std::int64_t channels = p.c_out / p.groups, out_h = p.out_h(), out_w = p.out_w();
  Array<Array<T>> weights;
  for (std::int64_t g = 0; g < p.groups; ++g)
    weights.push_back(packed<T>({.data = weight + g * channels * layout.taps(),
                                 .tap_stride = 1,
                                 .channel_stride = layout.taps(),
                                 .taps = layout.taps(),
                                 .channels = channels}));

  for_images(p, [&](std::int64_t n, std::int64_t g) {
    thread_local Scratch<T> packed_memory;
    const T* source = input + (n * p.c_in + g * layout.channels) * p.h * p.w;
    if (!layout.usable_in_place((p.n - n - 1) * p.c_in * p.h * p.w)) {
      T* packed = packed_memory.reserve(layout.packed_size());
      layout.pack(source, packed);
      source = packed;
    }
    convolution_loops().of<T>()->correlate({.source = source,
                                            .offsets = layout.offsets.data(),
                                            .taps = layout.taps(),
                                            .weights = weights[static_cast<std::size_t>(g)].data(),
                                            .bias = bias ? bias + g * channels : nullptr,
                                            .channels = channels,
                                            .rows = out_h,
                                            .width = out_w,
                                            .pitch = layout.pitch,
                                            .output = output + (n * p.c_out + g * channels) * out_h * out_w});
  });
}

/// How grad_output of one group lies in memory for the input gradient: rows with zeros on their left, as
/// above, and zero rows above and below.
struct GradientLayout {
  GradientAxis rows, columns;
  std::int64_t channels, gap, pitch, plane, size;

  explicit GradientLayout(const Conv2dProblem& p)
      : rows(vertical(p)),
        columns(horizontal(p)),
        channels(p.c_out / p.groups),
        gap(std::max({columns.before, columns.extent - columns.before - columns.axis.out,
                      columns.rows(0) - columns.axis.out})),
        pitch(columns.axis.out + gap),
        plane(rows.extent * pitch),
        size(channels * plane) {}

  std::int64_t packed_size() const { return size + gap + correlate_slack; }

  template <class T>
  void pack(const T* gradient, T* packed) const {
    const std::int64_t out_h = rows.axis.out, out_w = columns.axis.out;
    for (std::int64_t o = 0; o < channels; ++o, packed += plane) {
      T* first = packed + rows.before * pitch;
      std::fill(packed, first, T(0));
      convolution_loops().of<T>()->copy_rows({.from = gradient + o * out_h * out_w,
                                              .from_pitch = out_w,
                                              .to = first,
                                              .to_pitch = pitch,
                                              .rows = out_h,
                                              .width = out_w,
                                              .gap = gap});
      std::fill(first + out_h * pitch, packed + plane, T(0));
    }
    std::fill(packed, packed + gap + correlate_slack, T(0));
  }
};

/// One phase of the input gradient: a correlation of its own.
template <class T>
struct GradientPhase {
  std::int64_t row_phase, column_phase, rows, columns;
  Array<std::int64_t> offsets;
  Array<T> weights;  ///< [groups][taps][input channels of a group], each group's packed.

  std::int64_t taps() const { return static_cast<std::int64_t>(offsets.size()); }
};

template <class T>
GradientPhase<T> gradient_phase(const Conv2dProblem& p, const GradientLayout& layout, std::int64_t a,
                                std::int64_t b, const T* weight) {
  const GradientAxis &rows = layout.rows, &columns = layout.columns;
  const std::int64_t c_in = p.c_in / p.groups;
  GradientPhase<T> phase{.row_phase = a,
                         .column_phase = b,
                         .rows = rows.rows(a),
                         .columns = columns.rows(b),
                         .offsets = {},
                         .weights = {}};
  for (std::int64_t o = 0; o < p.c_out; ++o)
    for (std::int64_t i = 0; i < p.k_h; ++i) {
      if (!rows.has_tap(a, i)) continue;
      for (std::int64_t j = 0; j < p.k_w; ++j) {
        if (!columns.has_tap(b, j)) continue;
        if (o < layout.channels)  // the same in every group
          phase.offsets.push_back(o * layout.plane + (rows.before + rows.shift(a, i)) * layout.pitch +
                                  layout.gap + columns.shift(b, j));
        for (std::int64_t c = 0; c < c_in; ++c)
          phase.weights.push_back(weight[((o * c_in + c) * p.k_h + i) * p.k_w + j]);
      }
    }
  for (std::int64_t g = 0; g < p.groups; ++g) {
    T* of_group = phase.weights.data() + g * phase.taps() * c_in;
    std::ranges::copy(packed<T>({.data = of_group,
                                 .tap_stride = c_in,
                                 .channel_stride = 1,
                                 .taps = phase.taps(),
                                 .channels = c_in}),
                      of_group);
  }
  return phase;
}

/// Copies the computed pixels of a phase, [rows][columns], to their places in a plane of the input gradient.
template <class T>
void scatter(const Conv2dProblem& p, const GradientPhase<T>& phase, const T* computed, T* plane) {
  for (std::int64_t r = 0; r < phase.rows; ++r) {
    T* row = plane + (r * p.stride_h + phase.row_phase) * p.w + phase.column_phase;
    for (std::int64_t x = 0; x < phase.columns; ++x) row[x * p.stride_w] = computed[r * phase.columns + x];
  }
}

template <class T>
std::shared_ptr<const Blocks<T>> gradient_blocks(const Conv2dProblem& p, Input<T> grad_output) {
  return blocks_of(grad_output, p.n, p.c_out, p.out_h() * p.out_w());
}

template <class T>
bool gradient_is_plain(const Conv2dProblem& p, Input<T> grad_output) {
  return !form_of(grad_output, p.n, p.c_out, p.out_h() * p.out_w());
}

template <class T>
void backward_input(const Conv2dProblem& p, Input<T> gradient_array, const T* weight,
                    Output<T> grad_input_array) {
  if (in_blocks<T>(p, gradient_is_plain(p, gradient_array)))
    return conv2d_backward<T>(p, nullptr, weight, *gradient_blocks(p, gradient_array), grad_input_array,
                              nullptr);
  const T* grad_output = gradient_array;
  T* grad_input = grad_input_array;
  if (takes_direct(p)) return conv2d_direct().of<T>()->backward_input(p, grad_output, weight, grad_input);
  if (takes_channels(p)) return conv2d_channels_backward_input(p, grad_output, weight, grad_input);
  const GradientLayout layout(p);
  check_row<T>(layout.pitch);
  const std::int64_t c_in = p.c_in / p.groups;
  const bool one_phase = p.stride_h == 1 && p.stride_w == 1;
  Array<GradientPhase<T>> phases;
  for (std::int64_t a = 0; a < std::min(p.stride_h, p.h); ++a)
    for (std::int64_t b = 0; b < std::min(p.stride_w, p.w); ++b)
      phases.push_back(gradient_phase(p, layout, a, b, weight));

  for_images(p, [&](std::int64_t n, std::int64_t g) {
    thread_local Scratch<T> packed_memory, output_memory;
    T* packed = packed_memory.reserve(layout.packed_size());
    layout.pack(grad_output + (n * p.c_out + g * layout.channels) * p.out_h() * p.out_w(), packed);
    T* image = grad_input + (n * p.c_in + g * c_in) * p.h * p.w;
    for (const GradientPhase<T>& phase : phases) {
      T* computed = one_phase ? image : output_memory.reserve(c_in * phase.rows * phase.columns);
      convolution_loops().of<T>()->correlate({.source = packed,
                                              .offsets = phase.offsets.data(),
                                              .taps = phase.taps(),
                                              .weights = phase.weights.data() + g * phase.taps() * c_in,
                                              .bias = nullptr,
                                              .channels = c_in,
                                              .rows = phase.rows,
                                              .width = phase.columns,
                                              .pitch = layout.pitch,
                                              .output = computed});
      for (std::int64_t c = 0; c < c_in && !one_phase; ++c)
        scatter(p, phase, computed + c * phase.rows * phase.columns, image + c * p.h * p.w);
    }
  });
}

/// Copies planes of grad_output to the pitch of the input, with zeros in the surplus columns and up to
/// packed_plane.
template <class T>
void pack_gradient(const Conv2dProblem& p, const T* gradient, std::int64_t planes, std::int64_t pitch,
                   T* packed, std::int64_t packed_plane) {
  const std::int64_t out_h = p.out_h(), out_w = p.out_w();
  for (std::int64_t o = 0; o < planes; ++o, packed += packed_plane, gradient += out_h * out_w) {
    convolution_loops().of<T>()->copy_rows(
        {.from = gradient, .from_pitch = out_w, .to = packed, .to_pitch = pitch, .rows = 1, .width = out_w});
    convolution_loops().of<T>()->copy_rows({.from = gradient + out_w,
                                            .from_pitch = out_w,
                                            .to = packed + out_w,
                                            .to_pitch = pitch,
                                            .rows = out_h - 1,
                                            .width = out_w,
                                            .gap = pitch - out_w});
    std::fill(packed + (out_h - 1) * pitch + out_w, packed + packed_plane, T(0));
  }
}

template <class T>
void backward_weight(const Conv2dProblem& p, Input<T> input_array, Input<T> gradient_array, T* grad_weight) {
  if (in_blocks<T>(p, gradient_is_plain(p, gradient_array)))
    return conv2d_backward<T>(p, blocks_of(input_array, p.n, p.c_in, p.h * p.w), nullptr,
                              *gradient_blocks(p, gradient_array), nullptr, grad_weight);
  const T *input = input_array, *grad_output = gradient_array;
  if (takes_direct(p)) return conv2d_direct().of<T>()->backward_weight(p, input, grad_output, grad_weight);
  if (takes_channels(p)) return conv2d_channels_backward_weight(p, input, grad_output, grad_weight);
  const InputLayout layout(p);
  const std::int64_t taps = layout.taps(), channels = p.c_out / p.groups, out_plane = p.out_h() * p.out_w();
  const std::int64_t gradient_pitch = ceil_div(layout.out_count, correlate_slack) * correlate_slack;
  const std::int64_t images_per_sum = std::max(min_images_per_sum, ceil_div(p.n, max_partial_sums));
  const std::int64_t partial_sums = ceil_div(p.n, images_per_sum);
  const std::int64_t image_bytes =
      (layout.size + channels * gradient_pitch) * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t images_per_pass =
      std::clamp<std::int64_t>(pass_bytes / std::max<std::int64_t>(image_bytes, 1), 1, min_images_per_sum);
  Array<T> sums(static_cast<std::size_t>(partial_sums * p.c_out * taps));

  const auto add_images = [&](Range images, std::int64_t g, T* sum) {
    thread_local Scratch<T> source_memory, gradient_memory;
    const std::int64_t count = images.end - images.begin;
    const T* source = input + (images.begin * p.c_in + g * layout.channels) * p.h * p.w;
    std::int64_t source_pitch = p.c_in * p.h * p.w;
    if (!layout.usable_in_place((p.n - images.end) * source_pitch)) {
      T* packed = source_memory.reserve(count * layout.packed_size());
      for (std::int64_t i = 0; i < count; ++i)
        layout.pack(source + i * source_pitch, packed + i * layout.packed_size());
      source = packed;
      source_pitch = layout.packed_size();
    }
    T* gradients = gradient_memory.reserve(count * channels * gradient_pitch);
    for (std::int64_t i = 0; i < count; ++i)
      pack_gradient(p, grad_output + ((images.begin + i) * p.c_out + g * channels) * out_plane, channels,
                    layout.pitch, gradients + i * channels * gradient_pitch, gradient_pitch);
    convolution_loops().of<T>()->accumulate_products({.source = source,
                                                      .source_pitch = source_pitch,
                                                      .offsets = layout.offsets.data(),
                                                      .taps = taps,
                                                      .gradient = gradients,
                                                      .gradient_pitch = gradient_pitch,
                                                      .channels = channels,
                                                      .images = count,
                                                      .count = layout.out_count,
                                                      .sums = sum});
  };
  parallel_for(partial_sums * p.groups, [&](std::int64_t task) {
    const std::int64_t g = task % p.groups, part = task / p.groups;
    const std::int64_t end = std::min(p.n, (part + 1) * images_per_sum);
    for (std::int64_t first = part * images_per_sum; first < end; first += images_per_pass)
      add_images({first, std::min(first + images_per_pass, end)}, g, sums.data() + task * taps * channels);
  });
  for (std::int64_t o = 0; o < p.c_out; ++o)
    for (std::int64_t t = 0; t < taps; ++t) {
      double sum = 0;
      for (std::int64_t part = 0; part < partial_sums; ++part) {
        const std::int64_t task = part * p.groups + o / channels;
        sum +=
            static_cast<double>(sums[static_cast<std::size_t>((task * taps + t) * channels + o % channels)]);
      }
      grad_weight[o * taps + t] = static_cast<T>(sum);
    }
}

template <class T>
void backward(const Conv2dProblem& p, Input<T> input, const T* weight, Input<T> grad_output,
              Output<T> grad_input, T* grad_weight) {
  if (!in_blocks<T>(p, gradient_is_plain(p, grad_output))) {
    backward_input<T>(p, grad_output, weight, grad_input);
    return backward_weight<T>(p, input, grad_output, grad_weight);
  }
  conv2d_backward(p, blocks_of(input, p.n, p.c_in, p.h * p.w), weight, *gradient_blocks(p, grad_output),
                  grad_input, grad_weight);
}

template <class T>
void backward_bias(const Conv2dProblem& p, Input<T> gradient_array, T* grad_bias) {
  const T* grad_output = gradient_array;
  const std::int64_t plane = p.out_h() * p.out_w();
  parallel_for(p.c_out, [&](std::int64_t o) {
    double sum = 0;
    for (std::int64_t n = 0; n < p.n; ++n)
      for (std::int64_t i = 0; i < plane; ++i)
        sum += static_cast<double>(grad_output[(n * p.c_out + o) * plane + i]);
    grad_bias[o] = static_cast<T>(sum);
  });
}

template <class T>
constexpr Conv2dKernels<T> conv2d{forward<T>, backward_input<T>, backward_weight<T>, backward_bias<T>,
                                  backward<T>};

}  // namespace

template <>
Tables<Conv2dKernels> tables() {
  return {&conv2d<float>, &conv2d<double>};
}

}  // namespace kg::kernels::cpu
