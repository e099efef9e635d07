// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

namespace mnist {

/// Where an epoch stands after its latest batch.
struct EpochState {
  int batches_done = 0;
  double loss = 0;      ///< of the latest batch
  int64_t correct = 0;  ///< of the images of this epoch so far
  int64_t images = 0;   ///< of this epoch so far
};

/// "EPOCH: 1" and a newline, which stands above the progress line.
std::string epoch_header(int epoch);

/// "Adjusting learning rate of group 0 to 1.0000e-02." and a newline: PyTorch's schedulers print so.
std::string learning_rate_line(double learning_rate);

/// "Test set: Average loss: 0.0588, Accuracy: 9827/10000 (98.27%)", a newline and an empty line, for the
/// split called "test". Throws kg::Error unless 0 <= correct <= total and total > 0.
std::string test_line(std::string_view split, double average_loss, int64_t correct, int64_t total);

/// The progress line in tqdm's format, without newline, here broken in two:
///     Loss=0.08434382826089859 Batch_id=468 Accuracy=86.18: 100%|██████████|
///         469/469 [00:46<00:00, 10.14it/s, 1297 images/s]
/// `seconds` is the time since the epoch's start; speeds and the time left are averages from there, not
/// tqdm's moving average. The bar fills the line to `columns` characters. Where they are too few, as on a
/// terminal of 80, the line leaves out what matters least and is then cut off:
///     Loss=0.0843 Accuracy=86.18:  21%|█▋      | 100/469 [00:09<00:36, 1297 images/s]
/// 0 columns: as many as it takes, with a bar of ten. Throws kg::Error unless 0 <= batches_done <= batches,
/// batches > 0 and, once a batch is done, 0 <= correct <= images and images > 0.
std::string progress_line(const EpochState& state, int batches, double seconds, int columns = 0);

/// How much of an epoch is shown.
enum class ProgressMode {
  automatic,  ///< `terminal` if the output is one that can move its cursor, else `plain`
  terminal,   ///< redrawn in place, ten times a second at most
  plain,      ///< one line at the end of the epoch
  quiet,      ///< nothing
};

/// Seconds on a clock that never goes back.
double monotonic_seconds();

struct ProgressOptions {
  std::FILE* out = stdout;
  ProgressMode mode = ProgressMode::automatic;
  std::function<double()> clock = monotonic_seconds;
};

/// Shows one epoch's training as a line that follows the batches. The time starts with the constructor.
///
///     EpochProgress progress(469);
///     for (each batch) progress.update({.batches_done = ..., .loss = ..., .correct = ..., .images = ...});
///     progress.finish();
class EpochProgress {
 public:
  /// Throws kg::Error unless `batches` > 0.
  explicit EpochProgress(int batches, ProgressOptions options = {});
  EpochProgress(const EpochProgress&) = delete;
  EpochProgress& operator=(const EpochProgress&) = delete;
  /// Ends the line that stands half-way in a terminal, when an exception cut the epoch short.
  ~EpochProgress();

  void update(const EpochState& state);

  /// Shows the last state of `update` with a newline, in full length even where it takes two rows of the
  /// terminal, and returns that line as ProgressMode::plain shows it, in every mode. Further calls show
  /// nothing and return the same.
  std::string finish();
  /// From the constructor to finish(): the time that the line shows.
  double seconds() const { return seconds_; }

 private:
  void redraw(double now, bool in_full);

  int batches_;
  ProgressOptions options_;
  EpochState state_;
  double start_;
  double seconds_ = 0;
  double last_drawn_ = 0;
  int drawn_columns_ = 0;
  std::string finished_;  ///< what finish() returned
};

}  // namespace mnist
