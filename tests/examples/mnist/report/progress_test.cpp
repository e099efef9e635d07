// SPDX-License-Identifier: MIT
#include "report/progress.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

const EpochState end_of_epoch{
    .batches_done = 469, .loss = 0.08434382826089859, .correct = 51708, .images = 60000};

/// Characters, not bytes, of UTF-8.
size_t length(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// An output that is no terminal.
class OutputFile {
 public:
  OutputFile() : file_(std::tmpfile()) {}
  ~OutputFile() { std::fclose(file_); }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  std::FILE* file() { return file_; }
  std::string text() {
    std::string text(static_cast<size_t>(std::ftell(file_)), '\0');
    std::rewind(file_);
    text.resize(std::fread(text.data(), 1, text.size(), file_));
    return text;
  }

 private:
  std::FILE* file_;
};

/// A pseudo-terminal: what the program writes to `file()` comes out of `text()`, newlines as "\r\n".
class Terminal {
 public:
  explicit Terminal(unsigned short columns) : screen_(posix_openpt(O_RDWR | O_NOCTTY)) {
    if (screen_ < 0 || grantpt(screen_) != 0 || unlockpt(screen_) != 0)
      throw std::runtime_error("no pseudo-terminal");
    file_ = std::fopen(ptsname(screen_), "w");
    resize(columns);
  }
  ~Terminal() {
    std::fclose(file_);
    close(screen_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void resize(unsigned short columns) {
    winsize size{};
    size.ws_col = columns;
    ioctl(screen_, TIOCSWINSZ, &size);
  }
  std::FILE* file() { return file_; }
  std::string text() {
    fcntl(screen_, F_SETFL, O_NONBLOCK);
    std::string all;
    char part[4096];
    for (ssize_t n; (n = read(screen_, part, sizeof part)) > 0;) all.append(part, static_cast<size_t>(n));
    return all;
  }

 private:
  int screen_;
  std::FILE* file_ = nullptr;
};

/// What was drawn between carriage returns.
std::vector<std::string> drawn_lines(const std::string& output) {
  std::vector<std::string> lines;
  for (size_t begin = output.find('\r'); begin != std::string::npos;) {
    const size_t end = output.find('\r', begin + 1);
    lines.push_back(output.substr(begin + 1, end == std::string::npos ? end : end - begin - 1));
    begin = end;
  }
  return lines;
}

}  // namespace

TEST_CASE("the lines around an epoch have the published format", "[progress]") {
  CHECK(epoch_header(1) == "EPOCH: 1\n");
  CHECK(test_line("test", 0.0588, 9827, 10000) ==
        "Test set: Average loss: 0.0588, Accuracy: 9827/10000 (98.27%)\n\n");
  CHECK(test_line("test", 0.01736, 9944, 10000) ==
        "Test set: Average loss: 0.0174, Accuracy: 9944/10000 (99.44%)\n\n");
  CHECK(test_line("validation", 0, 1, 2) ==
        "Validation set: Average loss: 0.0000, Accuracy: 1/2 (50.00%)\n\n");
  CHECK_THROWS_AS(test_line("test", 0, 0, 0), kg::Error);
}

TEST_CASE("the progress line is tqdm's", "[progress]") {
  // Every expected string here comes from tqdm 4.64's format_meter, given the same prefix, postfix and ncols.
  CHECK(progress_line(end_of_epoch, 469, 46.27) ==
        "Loss=0.08434382826089859 Batch_id=468 Accuracy=86.18: 100%|██████████| 469/469 "
        "[00:46<00:00, 10.14it/s, 1297 images/s]");
  CHECK(progress_line({}, 469, 0) == "  0%|          | 0/469 [00:00<?, ?it/s, ? images/s]");

  EpochState state{.batches_done = 100, .loss = 0.08434382826089859, .correct = 11031, .images = 12800};
  CHECK(progress_line(state, 469, 9.87, 120) ==
        "Loss=0.08434382826089859 Batch_id=99 Accuracy=86.18:  21%|██▊          | 100/469 "
        "[00:09<00:36, 10.13it/s, 1297 images/s]");
  state = {.batches_done = 7, .loss = 0.08434382826089859, .correct = 772, .images = 896};
  CHECK(
      progress_line(state, 469, 8, 140) ==
      "Loss=0.08434382826089859 Batch_id=6 Accuracy=86.16:   1%|▌                                    | 7/469 "
      "[00:08<08:48,  1.14s/it, 112 images/s]");
  state = {.batches_done = 1, .loss = 0.08434382826089859, .correct = 64, .images = 128};
  CHECK(progress_line(state, 469, 4000) ==
        "Loss=0.08434382826089859 Batch_id=0 Accuracy=50.00:   0%|          | 1/469 "
        "[1:06:40<520:00:00, 4000.00s/it, 0 images/s]");
}

TEST_CASE("the loss is printed as Python prints a float", "[progress]") {
  const auto printed = [](double loss) {
    const std::string line =
        progress_line({.batches_done = 1, .loss = loss, .correct = 0, .images = 1}, 1, 1);
    return line.substr(0, line.find(' '));
  };
  CHECK(printed(1) == "Loss=1.0");
  CHECK(printed(-3) == "Loss=-3.0");
  CHECK(printed(123456789) == "Loss=123456789.0");
  CHECK(printed(0.0001) == "Loss=0.0001");
  CHECK(printed(1e-5) == "Loss=1e-05");
  CHECK(printed(1e16) == "Loss=1e+16");
  CHECK(printed(std::numeric_limits<double>::quiet_NaN()) == "Loss=nan");
  CHECK(printed(double(0.1f)) == "Loss=0.10000000149011612");
}

TEST_CASE("the bar grows in eighths of a cell and never shrinks", "[progress]") {
  const int batches = 80;
  static const std::string eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  for (int done = 0; done <= batches; ++done) {
    std::string expected;
    for (int cell = 0; cell < 10; ++cell) {
      const int filled = std::clamp(done - 8 * cell, 0, 8);
      expected += filled == 8 ? "█" : eighths[filled];
    }
    const std::string line =
        progress_line({.batches_done = done, .loss = 1, .correct = 1, .images = 2}, batches, 1);
    INFO(line);
    CHECK(line.find("|" + expected + "|") != std::string::npos);
  }
}

TEST_CASE("the progress line fills any width and never exceeds it", "[progress]") {
  const EpochState state{.batches_done = 100, .loss = 0.08434382826089859, .correct = 11031, .images = 12800};
  for (int columns = 1; columns <= 200; ++columns) {
    INFO(columns);
    const std::string line = progress_line(state, 469, 9.87, columns);
    CHECK(length(line) == static_cast<size_t>(columns));
  }
  CHECK(progress_line(state, 469, 9.87, 79) ==
        "Loss=0.0843 Accuracy=86.18:  21%|█▋      | 100/469 [00:09<00:36, 1297 images/s]");
  CHECK(progress_line(state, 469, 9.87, 30) == "Loss=0.0843 Accuracy=86.18:  2");
}

TEST_CASE("impossible progress is refused", "[progress]") {
  CHECK_THROWS_AS(progress_line({.batches_done = 470, .loss = 1, .correct = 1, .images = 1}, 469, 1),
                  kg::Error);
  CHECK_THROWS_AS(progress_line({}, 0, 1), kg::Error);
  CHECK_THROWS_AS(EpochProgress(0), kg::Error);
}

TEST_CASE("the learning rate is announced as PyTorch does", "[progress]") {
  CHECK(learning_rate_line(0.01) == "Adjusting learning rate of group 0 to 1.0000e-02.\n");
  CHECK(learning_rate_line(0.003) == "Adjusting learning rate of group 0 to 3.0000e-03.\n");
}

TEST_CASE("without a terminal one plain line is printed at the end", "[progress]") {
  OutputFile out;
  double now = 1000;
  EpochProgress progress(469, {.out = out.file(), .clock = [&] { return now; }});
  for (int batch = 1; batch <= 469; ++batch) {
    now += 46.27 / 469;
    progress.update(
        {.batches_done = batch, .loss = 0.08434382826089859, .correct = 86 * batch, .images = 128 * batch});
  }
  progress.update(end_of_epoch);
  const std::string line = progress.finish();
  now += 1;
  CHECK(progress.finish() == line);
  CHECK(line == progress_line(end_of_epoch, 469, 46.27) + "\n");
  CHECK(out.text() == line);
}

TEST_CASE("quiet progress prints nothing", "[progress]") {
  OutputFile out;
  {
    EpochProgress progress(2, {.out = out.file(), .mode = ProgressMode::quiet});
    progress.update({.batches_done = 1, .loss = 1, .correct = 1, .images = 2});
    CHECK_THAT(progress.finish(), Catch::Contains("Loss=1.0 Batch_id=0 Accuracy=50.00:  50%|"));
  }
  { EpochProgress unfinished(2, {.out = out.file(), .mode = ProgressMode::quiet}); }
  CHECK(out.text().empty());
}

TEST_CASE("on a terminal the line is redrawn in place ten times a second", "[progress]") {
  setenv("TERM", "xterm", 1);
  Terminal terminal(160);
  double now = 0;
  EpochProgress progress(469, {.out = terminal.file(), .clock = [&] { return now; }});
  for (int batch = 1; batch <= 469; ++batch) {
    now = batch / 100.0;
    progress.update({.batches_done = batch, .loss = 0.5, .correct = batch, .images = 2 * batch});
  }
  progress.finish();

  auto lines = drawn_lines(terminal.text());
  REQUIRE(lines.size() >= 2);
  // The terminal itself turns the newline into "\r\n".
  CHECK(lines.back() == "\n");
  lines.pop_back();
  CHECK(lines.size() >= 40);
  CHECK(lines.size() <= 48);
  CHECK(lines[0].find(" 1/469 ") != std::string::npos);
  CHECK(lines.back().find("100%|█") != std::string::npos);
  CHECK(lines.back().find(" 469/469 [00:04<00:00, 100.00it/s, 200 images/s]") != std::string::npos);
  for (const std::string& line : lines) {
    CHECK(length(line) == 159);
    CHECK(line.find('\n') == std::string::npos);
  }
}

TEST_CASE("a narrow terminal gets a short line, and the full one at the end", "[progress]") {
  setenv("TERM", "xterm", 1);
  Terminal terminal(80);
  double now = 0;
  EpochProgress progress(469, {.out = terminal.file(), .clock = [&] { return now; }});
  now = 46.27;
  progress.update(end_of_epoch);
  progress.finish();
  const auto lines = drawn_lines(terminal.text());
  REQUIRE(lines.size() == 3);
  CHECK(length(lines[0]) == 79);
  CHECK(lines[1] == progress_line(end_of_epoch, 469, 46.27));
}

TEST_CASE("a terminal that became narrower is followed", "[progress]") {
  setenv("TERM", "xterm", 1);
  Terminal terminal(150);
  double now = 0;
  EpochProgress progress(469, {.out = terminal.file(), .clock = [&] { return now; }});
  const EpochState state{.batches_done = 10, .loss = 0.5, .correct = 1, .images = 2};
  now = 1;
  progress.update(state);
  terminal.resize(100);
  now = 2;
  progress.update(state);
  const auto lines = drawn_lines(terminal.text());
  REQUIRE(lines.size() == 2);
  CHECK(length(lines[0]) == 149);
  CHECK(length(lines[1]) == 99);
}

TEST_CASE("a shorter line wipes out the longer one before it", "[progress]") {
  // No width known: the line is as long as its text.
  setenv("TERM", "xterm", 1);
  Terminal terminal(0);
  double now = 0;
  EpochProgress progress(9, {.out = terminal.file(), .clock = [&] { return now; }});
  now = 1;
  progress.update({.batches_done = 1, .loss = 0.08434382826089859, .correct = 1, .images = 2});
  now = 2;
  progress.update({.batches_done = 2, .loss = 0.5, .correct = 1, .images = 2});
  const auto lines = drawn_lines(terminal.text());
  REQUIRE(lines.size() == 2);
  CHECK(length(lines[1]) == length(lines[0]));
  CHECK(lines[1].back() == ' ');
}

TEST_CASE("a terminal that cannot move its cursor gets a plain line", "[progress]") {
  setenv("TERM", "dumb", 1);
  Terminal terminal(160);
  EpochProgress progress(469, {.out = terminal.file(), .clock = [] { return 0.0; }});
  progress.update(end_of_epoch);
  progress.finish();
  CHECK(terminal.text() == progress_line(end_of_epoch, 469, 0) + "\r\n");
}

TEST_CASE("an epoch that ends by an exception leaves the cursor on a new line", "[progress]") {
  setenv("TERM", "xterm", 1);
  Terminal terminal(160);
  {
    EpochProgress progress(2, {.out = terminal.file()});
    progress.update({.batches_done = 1, .loss = 1, .correct = 1, .images = 2});
  }
  const std::string text = terminal.text();
  REQUIRE(text.size() >= 2);
  CHECK(text.substr(text.size() - 2) == "\r\n");
}

}  // namespace mnist
