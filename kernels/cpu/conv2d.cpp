#include "kernels/conv2d.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/correlate.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"

namespace kg::kernels::cpu {

namespace {

/// Images are packed, convolved and unpacked in groups this large by one task.
constexpr std::int64_t images_per_task = 4;
/// A weight gradient is summed in at most this many partial sums, each over at least images_per_pass images.
/// More would cost memory, fewer could not be shared out.
constexpr std::int64_t max_partial_sums = 16;
constexpr std::int64_t images_per_pass = 8;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

/// One direction, vertical or horizontal, of a convolution.
struct Axis {
  std::int64_t in, out, kernel, stride, padding, dilation;
};

Axis vertical(const Conv2dProblem& p) {
  return {p.h, p.out_h(), p.k_h, p.stride_h, p.padding_h, p.dilation_h};
}
Axis horizontal(const Conv2dProblem& p) {
  return {p.w, p.out_w(), p.k_w, p.stride_w, p.padding_w, p.dilation_w};
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
};

/// The input gradient, sorted by remainder likewise: input row q * stride + phase gets grad_output row
/// (q * stride + phase + padding - i * dilation) / stride for those taps i where that is a whole number.
struct GradientAxis {
  Axis axis;
  std::int64_t before;  ///< Zero rows before grad_output's first, so that no tap reaches above.
  std::int64_t extent;  ///< Rows of grad_output, zeros included.

  explicit GradientAxis(const Axis& a) : axis(a), before(0), extent(0) {
    std::int64_t last = a.out;
    for (std::int64_t phase = 0; phase < a.stride; ++phase)
      for (std::int64_t i = 0; i < a.kernel; ++i) {
        if (!has_tap(phase, i)) continue;
        before = std::max(before, -shift(phase, i));
        last = std::max(last, rows(phase) + shift(phase, i));
      }
    extent = before + last;
  }
  std::int64_t phases() const { return axis.stride; }
  std::int64_t rows(std::int64_t phase) const {
    return std::max<std::int64_t>(0, ceil_div(axis.in - phase, axis.stride));
  }
  bool has_tap(std::int64_t phase, std::int64_t i) const {
    return (phase + axis.padding - i * axis.dilation) % axis.stride == 0;
  }
  std::int64_t shift(std::int64_t phase, std::int64_t i) const {
    return (phase + axis.padding - i * axis.dilation) / axis.stride;
  }
};

/// Writes one row of `extent` elements: element x is source[x * stride + first] where that lies in [0,
/// width), otherwise 0.
template <class T>
void pack_row(const T* source, std::int64_t width, std::int64_t first, std::int64_t stride, T* row,
              std::int64_t extent) {
  const std::int64_t begin = std::clamp<std::int64_t>(first >= 0 ? 0 : ceil_div(-first, stride), 0, extent);
  const std::int64_t end = std::clamp<std::int64_t>(ceil_div(width - first, stride), begin, extent);
  std::fill(row, row + begin, T(0));
  if (stride == 1)
    std::copy(source + first + begin, source + first + end, row + begin);
  else
    for (std::int64_t x = begin; x < end; ++x) row[x] = source[x * stride + first];
  std::fill(row + end, row + extent, T(0));
}

/// How an input image of one group is packed for forward and for the weight gradient.
struct InputLayout {
  InputAxis rows, columns;
  std::int64_t channels;
  std::int64_t pitch, plane, size;
  std::int64_t out_count;  ///< Output pixels per channel at this pitch, surplus columns included.
  std::vector<std::int64_t> offsets;

  explicit InputLayout(const Conv2dProblem& p)
      : rows(vertical(p)),
        columns(horizontal(p)),
        channels(p.c_in / p.groups),
        pitch(columns.extent),
        plane(rows.extent * pitch),
        size(channels * rows.phases() * columns.phases() * plane),
        out_count((p.out_h() - 1) * pitch + p.out_w()) {
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t i = 0; i < p.k_h; ++i)
        for (std::int64_t j = 0; j < p.k_w; ++j)
          offsets.push_back(plane_offset(c, rows.phase_of_tap(i), columns.phase_of_tap(j)) +
                            rows.row_of_tap(i) * pitch + columns.row_of_tap(j));
  }

  std::int64_t plane_offset(std::int64_t c, std::int64_t row_phase, std::int64_t column_phase) const {
    return ((c * rows.phases() + row_phase) * columns.phases() + column_phase) * plane;
  }

  template <class T>
  void pack(const T* image, T* packed) const {
    const std::int64_t h = rows.axis.in, w = columns.axis.in;
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t a = 0; a < rows.phases(); ++a)
        for (std::int64_t b = 0; b < columns.phases(); ++b)
          for (std::int64_t r = 0; r < rows.extent; ++r) {
            const std::int64_t y = rows.input_row(a, r);
            const bool inside = y >= 0 && y < h;
            pack_row(image + c * h * w + (inside ? y * w : 0), inside ? w : 0, columns.input_row(b, 0),
                     columns.axis.stride, packed + plane_offset(c, a, b) + r * pitch, pitch);
          }
    std::fill(packed + size, packed + size + correlate_slack, T(0));
  }
};

/// [taps][to] from weight [from][to] or its like: element (t, o) is weight[o * taps + t].
template <class T>
std::vector<T> transposed(const T* weight, std::int64_t channels, std::int64_t taps) {
  std::vector<T> result(static_cast<std::size_t>(channels * taps));
  for (std::int64_t o = 0; o < channels; ++o)
    for (std::int64_t t = 0; t < taps; ++t)
      result[static_cast<std::size_t>(t * channels + o)] = weight[o * taps + t];
  return result;
}

template <class T>
void forward(const Conv2dProblem& p, const T* input, const T* weight, const T* bias, T* output, Stream) {
  const InputLayout layout(p);
  const std::int64_t taps = static_cast<std::int64_t>(layout.offsets.size());
  const std::int64_t channels = p.c_out / p.groups, out_h = p.out_h(), out_w = p.out_w();
  const std::int64_t output_pitch = round_up(layout.out_count, correlate_slack) + correlate_slack;
  std::vector<std::vector<T>> weights;
  for (std::int64_t g = 0; g < p.groups; ++g)
    weights.push_back(transposed(weight + g * channels * taps, channels, taps));

  parallel_for_ranges(p.n, images_per_task, [&](Range images) {
    thread_local Scratch<T> packed_memory, output_memory;
    T* packed = packed_memory.reserve(layout.size + correlate_slack);
    T* computed = output_memory.reserve(channels * output_pitch);
    for (std::int64_t n = images.begin; n < images.end; ++n)
      for (std::int64_t g = 0; g < p.groups; ++g) {
        layout.pack(input + (n * p.c_in + g * layout.channels) * p.h * p.w, packed);
        correlate(Correlation<T>{.source = packed,
                                 .offsets = layout.offsets.data(),
                                 .taps = taps,
                                 .weights = weights[static_cast<std::size_t>(g)].data(),
                                 .bias = bias ? bias + g * channels : nullptr,
                                 .channels = channels,
                                 .output = computed,
                                 .output_pitch = output_pitch,
                                 .count = layout.out_count});
        T* image = output + (n * p.c_out + g * channels) * out_h * out_w;
        for (std::int64_t o = 0; o < channels; ++o)
          for (std::int64_t y = 0; y < out_h; ++y, image += out_w)
            std::copy_n(computed + o * output_pitch + y * layout.pitch, out_w, image);
      }
  });
}

/// The taps of one phase of the input gradient: offsets into a packed grad_output and the weights that go
/// with them.
template <class T>
struct GradientPhase {
  std::int64_t row_phase, column_phase, rows, columns;
  std::vector<std::int64_t> offsets;
  std::vector<T> weights;  ///< [groups][taps][input channels of a group]
};

template <class T>
std::vector<GradientPhase<T>> gradient_phases(const Conv2dProblem& p, const GradientAxis& rows,
                                              const GradientAxis& columns, const T* weight) {
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups,
                     plane = rows.extent * columns.extent;
  std::vector<GradientPhase<T>> phases;
  for (std::int64_t a = 0; a < rows.phases(); ++a)
    for (std::int64_t b = 0; b < columns.phases(); ++b) {
      GradientPhase<T> phase{.row_phase = a,
                             .column_phase = b,
                             .rows = rows.rows(a),
                             .columns = columns.rows(b),
                             .offsets = {},
                             .weights = {}};
      for (std::int64_t g = 0; g < p.groups; ++g)
        for (std::int64_t o = 0; o < c_out; ++o)
          for (std::int64_t i = 0; i < p.k_h; ++i)
            for (std::int64_t j = 0; j < p.k_w; ++j) {
              if (!rows.has_tap(a, i) || !columns.has_tap(b, j)) continue;
              if (g == 0)
                phase.offsets.push_back(o * plane + (rows.before + rows.shift(a, i)) * columns.extent +
                                        columns.before + columns.shift(b, j));
              for (std::int64_t c = 0; c < c_in; ++c)
                phase.weights.push_back(weight[(((g * c_out + o) * c_in + c) * p.k_h + i) * p.k_w + j]);
            }
      if (phase.rows > 0 && phase.columns > 0) phases.push_back(std::move(phase));
    }
  return phases;
}

template <class T>
void backward_input(const Conv2dProblem& p, const T* grad_output, const T* weight, T* grad_input, Stream) {
  const GradientAxis rows(vertical(p)), columns(horizontal(p));
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups, out_h = p.out_h(),
                     out_w = p.out_w();
  const std::int64_t pitch = columns.extent, plane = rows.extent * pitch;
  const std::vector<GradientPhase<T>> phases = gradient_phases(p, rows, columns, weight);
  const std::int64_t output_pitch =
      round_up(ceil_div(p.h, p.stride_h) * pitch, correlate_slack) + correlate_slack;

  parallel_for_ranges(p.n, images_per_task, [&](Range images) {
    thread_local Scratch<T> packed_memory, output_memory;
    T* packed = packed_memory.reserve(c_out * plane + correlate_slack);
    T* computed = output_memory.reserve(c_in * output_pitch);
    for (std::int64_t n = images.begin; n < images.end; ++n)
      for (std::int64_t g = 0; g < p.groups; ++g) {
        const T* gradient = grad_output + (n * p.c_out + g * c_out) * out_h * out_w;
        for (std::int64_t o = 0; o < c_out; ++o)
          for (std::int64_t r = 0; r < rows.extent; ++r) {
            const std::int64_t y = r - rows.before;
            const bool inside = y >= 0 && y < out_h;
            pack_row(gradient + (o * out_h + (inside ? y : 0)) * out_w, inside ? out_w : 0, -columns.before,
                     1, packed + o * plane + r * pitch, pitch);
          }
        std::fill(packed + c_out * plane, packed + c_out * plane + correlate_slack, T(0));
        for (const GradientPhase<T>& phase : phases) {
          const std::int64_t taps = static_cast<std::int64_t>(phase.offsets.size());
          correlate(Correlation<T>{.source = packed,
                                   .offsets = phase.offsets.data(),
                                   .taps = taps,
                                   .weights = phase.weights.data() + g * taps * c_in,
                                   .bias = nullptr,
                                   .channels = c_in,
                                   .output = computed,
                                   .output_pitch = output_pitch,
                                   .count = (phase.rows - 1) * pitch + phase.columns});
          T* image = grad_input + (n * p.c_in + g * c_in) * p.h * p.w;
          for (std::int64_t c = 0; c < c_in; ++c, image += p.h * p.w)
            for (std::int64_t r = 0; r < phase.rows; ++r) {
              const T* from = computed + c * output_pitch + r * pitch;
              T* to = image + (r * p.stride_h + phase.row_phase) * p.w + phase.column_phase;
              if (p.stride_w == 1)
                std::copy_n(from, phase.columns, to);
              else
                for (std::int64_t x = 0; x < phase.columns; ++x) to[x * p.stride_w] = from[x];
            }
        }
      }
  });
}

template <class T>
void backward_weight(const Conv2dProblem& p, const T* input, const T* grad_output, T* grad_weight, Stream) {
  const InputLayout layout(p);
  const std::int64_t taps = static_cast<std::int64_t>(layout.offsets.size());
  const std::int64_t channels = p.c_out / p.groups, out_h = p.out_h(), out_w = p.out_w();
  const std::int64_t gradient_pitch = round_up(layout.out_count, correlate_slack);
  const std::int64_t source_pitch = layout.size + correlate_slack;
  const std::int64_t images_per_sum = std::max(images_per_pass, ceil_div(p.n, max_partial_sums));
  const std::int64_t partial_sums = ceil_div(p.n, images_per_sum);
  std::vector<T> sums(static_cast<std::size_t>(partial_sums * p.c_out * taps));

  const auto pack_gradient = [&](const T* image, T* packed) {
    for (std::int64_t o = 0; o < channels; ++o, packed += gradient_pitch, image += out_h * out_w) {
      for (std::int64_t y = 0; y < out_h; ++y) {
        // The last row ends where the pitch may still go on.
        const std::int64_t row_length = std::min(layout.pitch, gradient_pitch - y * layout.pitch);
        pack_row(image + y * out_w, out_w, 0, 1, packed + y * layout.pitch, row_length);
      }
      std::fill(packed + std::min(out_h * layout.pitch, gradient_pitch), packed + gradient_pitch, T(0));
    }
  };
  parallel_for(partial_sums * p.groups, [&](std::int64_t task) {
    const std::int64_t g = task % p.groups, part = task / p.groups;
    const std::int64_t end = std::min(p.n, (part + 1) * images_per_sum);
    thread_local Scratch<T> source_memory, gradient_memory;
    T* sources = source_memory.reserve(images_per_pass * source_pitch);
    T* gradients = gradient_memory.reserve(images_per_pass * channels * gradient_pitch);
    for (std::int64_t first = part * images_per_sum; first < end; first += images_per_pass) {
      const std::int64_t images = std::min(images_per_pass, end - first);
      for (std::int64_t i = 0; i < images; ++i) {
        layout.pack(input + ((first + i) * p.c_in + g * layout.channels) * p.h * p.w,
                    sources + i * source_pitch);
        pack_gradient(grad_output + ((first + i) * p.c_out + g * channels) * out_h * out_w,
                      gradients + i * channels * gradient_pitch);
      }
      accumulate_products(ProductSums<T>{.source = sources,
                                         .source_pitch = source_pitch,
                                         .offsets = layout.offsets.data(),
                                         .taps = taps,
                                         .gradient = gradients,
                                         .gradient_pitch = gradient_pitch,
                                         .channels = channels,
                                         .images = images,
                                         .count = layout.out_count,
                                         .sums = sums.data() + (part * p.groups + g) * taps * channels});
    }
  });
  for (std::int64_t o = 0; o < p.c_out; ++o)
    for (std::int64_t t = 0; t < taps; ++t) {
      const std::int64_t g = o / channels;
      double sum = 0;
      for (std::int64_t part = 0; part < partial_sums; ++part)
        sum += static_cast<double>(
            sums[static_cast<std::size_t>(((part * p.groups + g) * taps + t) * channels + o % channels)]);
      grad_weight[o * taps + t] = static_cast<T>(sum);
    }
}

template <class T>
void backward_bias(const Conv2dProblem& p, const T* grad_output, T* grad_bias, Stream) {
  const std::int64_t plane = p.out_h() * p.out_w();
  parallel_for(p.c_out, [&](std::int64_t o) {
    double sum = 0;
    for (std::int64_t n = 0; n < p.n; ++n)
      for (std::int64_t i = 0; i < plane; ++i)
        sum += static_cast<double>(grad_output[(n * p.c_out + o) * plane + i]);
    grad_bias[o] = static_cast<T>(sum);
  });
}

}  // namespace

template <class T>
const Conv2dKernels<T>& conv2d() {
  static constexpr Conv2dKernels<T> kernels{forward<T>, backward_input<T>, backward_weight<T>,
                                            backward_bias<T>};
  return kernels;
}
template const Conv2dKernels<float>& conv2d();
template const Conv2dKernels<double>& conv2d();

}  // namespace kg::kernels::cpu
