// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace mnist {

/// A program that runs beside this one. It reads nothing, and what it prints goes to a file.
///
/// It is in a process group of its own: Ctrl-C in a terminal reaches this program alone, which ends its
/// children as it sees fit. A child whose parent is gone is asked to end (SIGTERM).
class ChildProcess {
 public:
  /// Starts the program with these arguments. Throws kg::Error if no process or `output` can be made; a
  /// program that cannot be run ends with the status 127 and the reason in `output`.
  ChildProcess(const std::filesystem::path& program, const std::vector<std::string>& arguments,
               const std::filesystem::path& output);
  /// Asks one that still runs to end and waits for that.
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  /// Sends SIGTERM, once: `mnist train` takes it as a wish to end after the batch in progress.
  void ask_to_end();
  /// Whether it has ended; does not wait.
  bool has_ended();
  /// Empty if it ended with the status 0, else "exit status 1" or "signal 9". Only once it has ended.
  std::string failure() const;

 private:
  pid_t id_ = -1;
  bool asked_ = false;
  std::optional<int> status_;  ///< as waitpid() gives it, once it has ended
};

}  // namespace mnist
