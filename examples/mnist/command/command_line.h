// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernelgrad/error.h"

/// What main() needs to understand its arguments and to speak of them.
namespace mnist {

/// The exit codes of the program but for 0 and those of signals.
enum ExitCode { failed = 1, misused = 2 };

/// What the command line asks for cannot be, whatever the state of files and devices is: exit code `misused`.
class UsageError : public kg::Error {
 public:
  using kg::Error::Error;
};

/// Checks of an option's value, for CLI::Option::check(): empty, or what is wrong with it.
using ValueCheck = std::function<std::string(const std::string&)>;

/// One of the words.
ValueCheck one_of(std::vector<std::string> words);
/// A whole number as people write it. CLI11 would take 010 for 8, and what is too large for something else.
ValueCheck whole_number(std::uint64_t least, std::uint64_t most);
/// Any finite number of at least 0.
ValueCheck number_from_zero();
/// What `function` takes without throwing kg::Error.
template <std::invocable<std::string> Function>
ValueCheck taken_by(Function function) {
  return [function](const std::string& text) -> std::string {
    try {
      function(text);
      return {};
    } catch (const kg::Error& error) {
      return error.what();
    }
  };
}

/// The names of all commands of the program.
std::vector<std::string> commands_of(CLI::App& app);

/// What is wrong with the command line that made CLI11 throw, with what may have been meant.
std::string explain(CLI::App& app, const CLI::ParseError& error);

/// Throws kg::Error, naming it, unless there is a file by that name.
void require_file(const std::string& path);
/// Throws kg::Error, naming it, if something other than a folder has that name.
void require_no_file(const std::string& folder);

/// Writes the line to stderr, control characters as "\x1b". Whether that is possible makes no difference.
void complain(std::string_view line) noexcept;

/// Gives closed standard streams to something that neither reads nor writes. Else the next file that is
/// opened would be one of them, and get what is printed.
void occupy_standard_streams();

}  // namespace mnist
