// SPDX-License-Identifier: MIT
#include "kernels/cpu/conv2d_channels.h"

#include <algorithm>

#include "kernels/cpu/block_loops.h"
#include "kernels/cpu/channel_loops.h"
#include "kernels/cpu/conv2d_axis.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/scratch.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// So many bytes of images are packed at a time.
constexpr std::int64_t packed_bytes = 16 << 20;

/// Images of some channels, one group of a tensor's: image n begins at data + n * pitch.
template <class T>
struct Images {
  const T* data;
  std::int64_t pitch, channels, h, w;

  std::int64_t vectors() const { return ceil_div(channels, channel_loops().of<T>()->lanes); }
};

/// A plane with zeros around it: rows of `pitch` pixels.
struct PaddedPlane {
  std::int64_t rows, pitch, top, left;

  std::int64_t size() const { return rows * pitch; }
};

/// Some images as [image][vector of channels][plane][lanes].
template <class T>
class PackedImages {
 public:
  PackedImages(const Images<T>& images, const PaddedPlane& plane, std::int64_t capacity)
      : images_(images), plane_(plane), memory_(static_cast<std::size_t>(capacity * pitch()) * sizeof(T)) {}

  std::int64_t pitch() const { return images_.vectors() * vector_pitch(); }
  const T* vector(std::int64_t image, std::int64_t vector) const {
    return memory_.as<const T>() + image * pitch() + vector * vector_pitch();
  }

  void pack(Range images) {
    const std::int64_t vectors = images_.vectors();
    parallel_for((images.end - images.begin) * vectors, [&](std::int64_t i) {
      pack_vector(images_.data + (images.begin + i / vectors) * images_.pitch, i % vectors,
                  memory_.as<T>() + i / vectors * pitch() + i % vectors * vector_pitch());
    });
  }

 private:
  std::int64_t vector_pitch() const { return plane_.size() * block_loops().of<T>()->lanes; }

  void pack_vector(const T* image, std::int64_t vector, T* to) const {
    const BlockLoops<T>& loops = *block_loops().of<T>();
    const std::int64_t lanes = loops.lanes, pixels = images_.h * images_.w, row = images_.w * lanes;
    const std::int64_t present = std::min(lanes, images_.channels - vector * lanes);
    const T* planes = image + vector * lanes * pixels;
    if (plane_.size() == pixels) return loops.to_block(planes, present, pixels, to);
    thread_local Scratch<T> memory;
    const T* block = memory.reserve(pixels * lanes);
    loops.to_block(planes, present, pixels, memory.reserve(pixels * lanes));
    std::fill_n(to, vector_pitch(), T(0));
    for (std::int64_t y = 0; y < images_.h; ++y)
      std::copy_n(block + y * row, row, to + ((plane_.top + y) * plane_.pitch + plane_.left) * lanes);
  }

  Images<T> images_;
  PaddedPlane plane_;
  Memory memory_;
};

/// How many images are packed at a time.
std::int64_t images_at_once(std::int64_t n, std::int64_t bytes_of_image) {
  constexpr std::int64_t least = 4;
  return std::min(n, std::max(least, packed_bytes / std::max<std::int64_t>(bytes_of_image, 1)));
}

/// Output pixels and taps by where they read in a padded plane.
struct Gather {
  Array<std::int64_t> pixels, taps;
  Array<std::int64_t> kernel_taps;  ///< Which of the kernel's taps each is, counted in rows.
};

PaddedPlane input_plane(const Conv2dProblem& p) {
  return {p.h + 2 * p.padding_h, p.w + 2 * p.padding_w, p.padding_h, p.padding_w};
}

Gather gather_input(const Conv2dProblem& p) {
  const std::int64_t pitch = input_plane(p).pitch;
  Gather gather;
  for (std::int64_t y = 0; y < p.out_h(); ++y)
    for (std::int64_t x = 0; x < p.out_w(); ++x)
      gather.pixels.push_back(y * p.stride_h * pitch + x * p.stride_w);
  for (std::int64_t i = 0; i < p.k_h; ++i)
    for (std::int64_t j = 0; j < p.k_w; ++j) {
      gather.taps.push_back(i * p.dilation_h * pitch + j * p.dilation_w);
      gather.kernel_taps.push_back(i * p.k_w + j);
    }
  return gather;
}

/// Some pixels of the result: rows row, row + row_step, ...
struct OutputPixels {
  std::int64_t row, row_step, column, column_step, rows, columns;
};

/// The weights of a panel as ChannelCorrelation wants them; weight_of(o, c, t) is that of output channel o,
/// input channel c and the gather's tap t.
template <class T, class WeightOf>
void pack_panel(const ChannelPanel& panel, std::int64_t out_channels, std::int64_t channels,
                std::int64_t taps, const WeightOf& weight_of, T* packed) {
  const std::int64_t lanes = channel_loops().of<T>()->lanes, width = panel.vectors * lanes,
                     first = panel.first * lanes;
  std::fill_n(packed, ceil_div(channels, lanes) * taps * lanes * width, T(0));
  // Vector by vector of input channels: what is written stays in a near cache until its lines are full.
  for (std::int64_t c = 0; c < channels; c += lanes, packed += taps * lanes * width)
    for (std::int64_t o = first; o < std::min(first + width, out_channels); ++o)
      for (std::int64_t i = c; i < std::min(c + lanes, channels); ++i)
        for (std::int64_t t = 0; t < taps; ++t)
          packed[(t * lanes + i - c) * width + o - first] = weight_of(o, i, t);
}

/// A correlation of packed images with the weights of one gather; its results go to planes of h x w pixels.
template <class T>
class Correlator {
 public:
  template <class WeightOf>
  Correlator(const Gather& gather, const OutputPixels& pixels, std::int64_t channels,
             std::int64_t out_channels, const WeightOf& weight_of, const T* bias)
      : gather_(gather),
        pixels_(pixels),
        channels_(channels),
        out_channels_(out_channels),
        weights_(static_cast<std::size_t>(taps() * padded(channels) * padded(out_channels)) * sizeof(T)),
        bias_(static_cast<std::size_t>(padded(out_channels)), T(0)),
        has_bias_(bias != nullptr) {
    parallel_for(panels(), [&](std::int64_t index) {
      const ChannelPanel panel = loops().panel(out_channels, index);
      pack_panel(panel, out_channels, channels, taps(), weight_of, weights_of(panel));
    });
    if (bias) std::copy_n(bias, out_channels, bias_.begin());
  }

  std::int64_t panels() const { return loops().panels(out_channels_); }

  void run(const PackedImages<T>& images, const PaddedPlane& plane, std::int64_t image,
           std::int64_t panel_index, std::int64_t h, std::int64_t w, T* output) const {
    thread_local Scratch<T> memory, plane_memory;
    const std::int64_t lanes = loops().lanes, count = pixels_.rows * pixels_.columns;
    const ChannelPanel panel = loops().panel(out_channels_, panel_index);
    T* computed = memory.reserve(panel.vectors * count * lanes);
    loops().correlate({.input = images.vector(image, 0),
                       .channels = channels_,
                       .plane = plane.size(),
                       .pixels = gather_.pixels.data(),
                       .count = count,
                       .taps = gather_.taps.data(),
                       .tap_count = taps(),
                       .vectors = panel.vectors,
                       .weights = weights_of(panel),
                       .bias = has_bias_ ? bias_.data() + panel.first * lanes : nullptr,
                       .output = computed});
    for (std::int64_t v = 0; v < panel.vectors; ++v) {
      const std::int64_t channel = (panel.first + v) * lanes,
                         present = std::min(lanes, out_channels_ - channel);
      T* planes = output + channel * h * w;
      const T* block = computed + v * count * lanes;
      if (count == h * w) {
        block_loops().of<T>()->from_block(block, count, present, planes);
        continue;
      }
      T* dense = plane_memory.reserve(present * count);
      block_loops().of<T>()->from_block(block, count, present, dense);
      for (std::int64_t c = 0; c < present; ++c) scatter(dense + c * count, planes + c * h * w, w);
    }
  }

 private:
  static const ChannelLoops<T>& loops() { return *channel_loops().of<T>(); }
  static std::int64_t padded(std::int64_t channels) {
    return ceil_div(channels, loops().lanes) * loops().lanes;
  }
  std::int64_t taps() const { return static_cast<std::int64_t>(gather_.taps.size()); }
  T* weights_of(const ChannelPanel& panel) const {
    return weights_.as<T>() + panel.first * loops().lanes * taps() * padded(channels_);
  }

  void scatter(const T* dense, T* plane, std::int64_t w) const {
    for (std::int64_t r = 0; r < pixels_.rows; ++r)
      for (std::int64_t x = 0; x < pixels_.columns; ++x)
        plane[(pixels_.row + r * pixels_.row_step) * w + pixels_.column + x * pixels_.column_step] = *dense++;
  }

  Gather gather_;
  OutputPixels pixels_;
  std::int64_t channels_, out_channels_;
  Memory weights_;  ///< A panel after the other.
  Array<T> bias_;
  bool has_bias_;
};

/// Runs the correlators on all images: of one group, whose output images begin at output + n * output_pitch.
template <class T>
void correlate_images(const Images<T>& images, std::int64_t n, const PaddedPlane& plane,
                      const Array<Correlator<T>>& correlators, std::int64_t h, std::int64_t w, T* output,
                      std::int64_t output_pitch) {
  const std::int64_t lanes = channel_loops().of<T>()->lanes;
  const std::int64_t at_once =
      images_at_once(n, images.vectors() * lanes * plane.size() * static_cast<std::int64_t>(sizeof(T)));
  PackedImages<T> packed(images, plane, at_once);
  for (std::int64_t first = 0; first < n; first += at_once) {
    const std::int64_t count = std::min(at_once, n - first);
    packed.pack({first, first + count});
    // A panel's weights stay in a near cache for all images.
    for (const Correlator<T>& correlator : correlators)
      parallel_for(correlator.panels() * count, [&](std::int64_t i) {
        correlator.run(packed, plane, i % count, i / count, h, w,
                       output + (first + i % count) * output_pitch);
      });
  }
}

/// The products of one group, summed in double, and written.
template <class T>
void products_of_group(const Conv2dProblem& p, const Images<T>& input, const Images<T>& gradient,
                       T* grad_weight) {
  const ChannelLoops<T>& loops = *channel_loops().of<T>();
  const std::int64_t lanes = loops.lanes, size = static_cast<std::int64_t>(sizeof(T));
  const Gather gather = gather_input(p);
  const PaddedPlane plane = input_plane(p), out_plane{gradient.h, gradient.w, 0, 0};
  const std::int64_t taps = p.k_h * p.k_w, panels = loops.panels(gradient.channels),
                     vectors = input.vectors();
  const std::int64_t at_once =
      images_at_once(p.n, (vectors * plane.size() + gradient.vectors() * out_plane.size()) * lanes * size);
  PackedImages<T> inputs(input, plane, at_once), gradients(gradient, out_plane, at_once);
  const std::int64_t sums_of_vector = taps * lanes * lanes;
  const Memory memory(static_cast<std::size_t>(vectors * gradient.vectors() * sums_of_vector) *
                      sizeof(double));
  const auto sums_of = [&](const ChannelPanel& panel, std::int64_t vector) {
    return memory.as<double>() + (panel.first * vectors + vector * panel.vectors) * sums_of_vector;
  };
  for (std::int64_t first = 0; first < p.n; first += at_once) {
    const std::int64_t count = std::min(at_once, p.n - first);
    inputs.pack({first, first + count});
    gradients.pack({first, first + count});
    parallel_for(panels * vectors, [&](std::int64_t task) {
      const ChannelPanel panel = loops.panel(gradient.channels, task / vectors);
      double* sums = sums_of(panel, task % vectors);
      if (first == 0) std::fill_n(sums, panel.vectors * sums_of_vector, 0.0);
      loops.add_products({.input = inputs.vector(0, task % vectors),
                          .input_pitch = inputs.pitch(),
                          .gradient = gradients.vector(0, panel.first),
                          .gradient_pitch = gradients.pitch(),
                          .images = count,
                          .vectors = panel.vectors,
                          .pixels = gather.pixels.data(),
                          .count = out_plane.size(),
                          .taps = gather.taps.data(),
                          .tap_count = taps,
                          .sums = sums});
    });
  }
  parallel_for(panels * vectors, [&](std::int64_t task) {
    const ChannelPanel panel = loops.panel(gradient.channels, task / vectors);
    const double* sums = sums_of(panel, task % vectors);
    const std::int64_t c_end = std::min(input.channels, (task % vectors + 1) * lanes),
                       o_end = std::min(gradient.channels, (panel.first + panel.vectors) * lanes);
    for (std::int64_t o = panel.first * lanes; o < o_end; ++o)
      for (std::int64_t c = task % vectors * lanes; c < c_end; ++c)
        for (std::int64_t t = 0; t < taps; ++t)
          grad_weight[(o * input.channels + c) * taps + t] = static_cast<T>(
              sums[((t * lanes + c % lanes) * panel.vectors * lanes) + o - panel.first * lanes]);
  });
}

/// Group g of images [n][groups * channels][h][w].
template <class T>
Images<T> group_of(const T* data, std::int64_t groups, std::int64_t g, std::int64_t channels, std::int64_t h,
                   std::int64_t w) {
  return {data + g * channels * h * w, groups * channels * h * w, channels, h, w};
}

}  // namespace

bool takes_channels(const Conv2dProblem& p) {
  // Below that the lanes are not full.
  constexpr std::int64_t least = 32;
  return p.c_in / p.groups >= least && p.c_out / p.groups >= least;
}

template <class T>
void conv2d_channels_forward(const Conv2dProblem& p, const T* input, const T* weight, const T* bias,
                             T* output) {
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups, taps = p.k_h * p.k_w;
  const OutputPixels all{0, 1, 0, 1, p.out_h(), p.out_w()};
  for (std::int64_t g = 0; g < p.groups; ++g) {
    const T* weights = weight + g * c_out * c_in * taps;
    const auto weight_of = [=](std::int64_t o, std::int64_t c, std::int64_t t) {
      return weights[(o * c_in + c) * taps + t];
    };
    Array<Correlator<T>> correlators;
    correlators.emplace_back(gather_input(p), all, c_in, c_out, weight_of, bias ? bias + g * c_out : nullptr);
    correlate_images(group_of(input, p.groups, g, c_in, p.h, p.w), p.n, input_plane(p), correlators,
                     p.out_h(), p.out_w(), output + g * c_out * p.out_h() * p.out_w(),
                     p.c_out * p.out_h() * p.out_w());
  }
}

template <class T>
void conv2d_channels_backward_input(const Conv2dProblem& p, const T* grad_output, const T* weight,
                                    T* grad_input) {
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups, taps = p.k_h * p.k_w;
  const GradientAxis rows(vertical(p)), columns(horizontal(p));
  const PaddedPlane plane{rows.extent, columns.extent, rows.before, columns.before};
  for (std::int64_t g = 0; g < p.groups; ++g) {
    const T* weights = weight + g * c_out * c_in * taps;
    Array<Correlator<T>> correlators;
    for (std::int64_t a = 0; a < std::min(p.stride_h, p.h); ++a)
      for (std::int64_t b = 0; b < std::min(p.stride_w, p.w); ++b) {
        Gather gather;
        for (std::int64_t y = 0; y < rows.rows(a); ++y)
          for (std::int64_t x = 0; x < columns.rows(b); ++x)
            gather.pixels.push_back((rows.before + y) * plane.pitch + columns.before + x);
        for (std::int64_t i = 0; i < p.k_h; ++i)
          for (std::int64_t j = 0; j < p.k_w; ++j) {
            if (!rows.has_tap(a, i) || !columns.has_tap(b, j)) continue;
            gather.taps.push_back(rows.shift(a, i) * plane.pitch + columns.shift(b, j));
            gather.kernel_taps.push_back(i * p.k_w + j);
          }
        const auto weight_of = [&](std::int64_t c, std::int64_t o, std::int64_t t) {
          return weights[(o * c_in + c) * taps + gather.kernel_taps[static_cast<std::size_t>(t)]];
        };
        correlators.emplace_back(gather,
                                 OutputPixels{a, p.stride_h, b, p.stride_w, rows.rows(a), columns.rows(b)},
                                 c_out, c_in, weight_of, nullptr);
      }
    correlate_images(group_of(grad_output, p.groups, g, c_out, p.out_h(), p.out_w()), p.n, plane, correlators,
                     p.h, p.w, grad_input + g * c_in * p.h * p.w, p.c_in * p.h * p.w);
  }
}

template <class T>
void conv2d_channels_backward_weight(const Conv2dProblem& p, const T* input, const T* grad_output,
                                     T* grad_weight) {
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups;
  for (std::int64_t g = 0; g < p.groups; ++g)
    products_of_group(p, group_of(input, p.groups, g, c_in, p.h, p.w),
                      group_of(grad_output, p.groups, g, c_out, p.out_h(), p.out_w()),
                      grad_weight + g * c_out * c_in * p.k_h * p.k_w);
}

#define KG_CHANNELS(T)                                                                           \
  template void conv2d_channels_forward(const Conv2dProblem&, const T*, const T*, const T*, T*); \
  template void conv2d_channels_backward_input(const Conv2dProblem&, const T*, const T*, T*);    \
  template void conv2d_channels_backward_weight(const Conv2dProblem&, const T*, const T*, T*);
KG_CHANNELS(float)
KG_CHANNELS(double)
#undef KG_CHANNELS

}  // namespace kg::kernels::cpu
