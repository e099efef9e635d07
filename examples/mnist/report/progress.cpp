// SPDX-License-Identifier: MIT
#include "report/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "kernelgrad/error.h"
#include "report/metrics.h"

namespace mnist {
namespace {

constexpr double seconds_between_redraws = 0.1;
constexpr int bar_cells_without_width = 10;

/// A float as Python prints it: the fewest digits that read back as the same double, never without point or
/// exponent.
std::string python_float(double value) {
  std::string text = fmt::format("{}", value);
  const bool looks_like_integer = text.find_first_not_of("-0123456789") == std::string::npos;
  return looks_like_integer ? text + ".0" : text;
}

/// "mm:ss", from an hour on "h:mm:ss".
std::string format_interval(double seconds) {
  const auto whole = static_cast<int64_t>(seconds);
  const int64_t hours = whole / 3600, minutes = whole / 60 % 60;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60);
  return fmt::format("{:02}:{:02}", minutes, whole % 60);
}

/// "10.14it/s", or "12.50s/it" where an iteration takes more than a second.
std::string batch_rate(int done, double seconds) {
  if (done == 0 || seconds <= 0) return "?it/s";
  return done < seconds ? fmt::format("{:5.2f}s/it", seconds / done)
                        : fmt::format("{:5.2f}it/s", done / seconds);
}

/// `cells` characters, filled from the left in eighths of a cell.
std::string bar(int done, int total, int cells) {
  static constexpr std::string_view eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto filled = static_cast<int64_t>(cells) * 8 * done / total;
  std::string text;
  for (int64_t cell = 0; cell < filled / 8; ++cell) text += "█";
  text += eighths[filled % 8];
  const int64_t used = (filled + 7) / 8;
  return text.append(static_cast<size_t>(cells - used), ' ');
}

// Every character printed here is one column wide.
int columns_of(std::string_view utf8) {
  return static_cast<int>(std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string first_columns(std::string_view utf8, int columns) {
  size_t end = 0;
  for (; end < utf8.size(); ++end) {
    const bool starts_character = (utf8[end] & 0xC0) != 0x80;
    if (starts_character && columns-- == 0) break;
  }
  return std::string(utf8.substr(0, end));
}

/// What stands on both sides of the bar.
struct LineParts {
  std::string left, right;
  int columns() const { return columns_of(left) + columns_of(right); }
};

std::string percent_done(const EpochState& state, int batches) {
  return fmt::format("{:3.0f}%|", 100.0 * state.batches_done / batches);
}

std::string times(const EpochState& state, int batches, double seconds) {
  const bool rate_known = state.batches_done > 0 && seconds > 0;
  const double left = rate_known ? (batches - state.batches_done) * seconds / state.batches_done : 0;
  return fmt::format("{}<{}", format_interval(seconds), rate_known ? format_interval(left) : "?");
}

std::string image_rate(const EpochState& state, double seconds) {
  if (state.images == 0 || seconds <= 0) return "? images/s";
  return fmt::format("{:.0f} images/s", static_cast<double>(state.images) / seconds);
}

LineParts full_parts(const EpochState& state, int batches, double seconds) {
  LineParts parts;
  if (state.batches_done > 0) {
    parts.left = fmt::format("Loss={} Batch_id={} Accuracy={:.2f}: ", python_float(state.loss),
                             state.batches_done - 1, percent(state.correct, state.images));
  }
  parts.left += percent_done(state, batches);
  parts.right =
      fmt::format("| {}/{} [{}, {}, {}]", state.batches_done, batches, times(state, batches, seconds),
                  batch_rate(state.batches_done, seconds), image_rate(state, seconds));
  return parts;
}

LineParts short_parts(const EpochState& state, int batches, double seconds) {
  LineParts parts;
  if (state.batches_done > 0) {
    parts.left =
        fmt::format("Loss={:.4f} Accuracy={:.2f}: ", state.loss, percent(state.correct, state.images));
  }
  parts.left += percent_done(state, batches);
  parts.right = fmt::format("| {}/{} [{}, {}]", state.batches_done, batches, times(state, batches, seconds),
                            image_rate(state, seconds));
  return parts;
}

ProgressMode resolve(ProgressMode mode, std::FILE* out) {
  if (mode != ProgressMode::automatic) return mode;
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal != nullptr && std::string_view(terminal) == "dumb";
  return ::isatty(::fileno(out)) && !dumb ? ProgressMode::terminal : ProgressMode::plain;
}

/// 0 where the output does not tell.
int terminal_columns(std::FILE* out) {
  winsize size{};
  if (::ioctl(::fileno(out), TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

void print(std::FILE* out, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), out);
  std::fflush(out);
}

}  // namespace

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string epoch_header(int epoch) { return fmt::format("EPOCH: {}\n", epoch); }

std::string learning_rate_line(double learning_rate) {
  return fmt::format("Adjusting learning rate of group 0 to {:.4e}.\n", learning_rate);
}

std::string test_line(std::string_view split, double average_loss, int64_t correct, int64_t total) {
  return fmt::format("{} set: Average loss: {:.4f}, Accuracy: {}/{} ({:.2f}%)\n\n", capitalized(split),
                     average_loss, correct, total, percent(correct, total));
}

std::string progress_line(const EpochState& state, int batches, double seconds, int columns) {
  const int done = state.batches_done;
  if (batches <= 0 || done < 0 || done > batches) {
    throw kg::Error(
        fmt::format("progress_line: {} batches done of {}, expected 0 <= done <= batches and batches > 0",
                    done, batches));
  }
  LineParts parts = full_parts(state, batches, seconds);
  if (columns <= 0) return parts.left + bar(done, batches, bar_cells_without_width) + parts.right;
  if (parts.columns() >= columns) parts = short_parts(state, batches, seconds);
  const int cells = std::max(1, columns - parts.columns());
  return first_columns(parts.left + bar(done, batches, cells) + parts.right, columns);
}

EpochProgress::EpochProgress(int batches, ProgressOptions options)
    : batches_(batches), options_(std::move(options)) {
  if (batches <= 0) throw kg::Error(fmt::format("EpochProgress: {} batches, expected at least 1", batches));
  options_.mode = resolve(options_.mode, options_.out);
  start_ = options_.clock();
}

EpochProgress::~EpochProgress() {
  if (finished_.empty() && drawn_columns_ > 0) print(options_.out, "\n");
}

void EpochProgress::update(const EpochState& state) {
  state_ = state;
  if (options_.mode != ProgressMode::terminal) return;
  const double now = options_.clock();
  if (drawn_columns_ == 0 || now - last_drawn_ >= seconds_between_redraws) redraw(now, false);
}

std::string EpochProgress::finish() {
  if (!finished_.empty()) return finished_;
  const double now = options_.clock();
  seconds_ = now - start_;
  finished_ = progress_line(state_, batches_, seconds_) + "\n";
  if (options_.mode == ProgressMode::terminal) {
    redraw(now, true);
    print(options_.out, "\n");
  } else if (options_.mode == ProgressMode::plain) {
    print(options_.out, finished_);
  }
  return finished_;
}

void EpochProgress::redraw(double now, bool in_full) {
  // The last column stays free: some terminals wrap as soon as it is written.
  const int available = std::max(0, terminal_columns(options_.out) - 1);
  const std::string full = progress_line(state_, batches_, now - start_);
  const bool stretches = !in_full || columns_of(full) <= available;
  std::string line = stretches ? progress_line(state_, batches_, now - start_, available) : full;
  const int columns = columns_of(line);
  // Blanks over what a longer line before this one left behind, but not into the next row.
  const int old_columns = available > 0 ? std::min(drawn_columns_, available) : drawn_columns_;
  line.append(static_cast<size_t>(std::max(0, old_columns - columns)), ' ');
  print(options_.out, "\r" + line);
  drawn_columns_ = columns;
  last_drawn_ = now;
}

}  // namespace mnist
