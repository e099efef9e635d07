// SPDX-License-Identifier: MIT
#include "command/command_line.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include "support/parse_number.h"
#include "support/suggest.h"

namespace mnist {

namespace {

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

/// The first option of those arguments that nothing was made of, else the first of them.
std::optional<std::string> left_over(const CLI::App& app) {
  const std::vector<std::string> arguments = app.remaining(true);
  if (arguments.empty()) return std::nullopt;
  const auto option = std::ranges::find_if(arguments, [](const auto& text) { return text.starts_with('-'); });
  return option != arguments.end() ? *option : arguments.front();
}

std::string what_is_wrong(CLI::App& app, const CLI::App& command, const CLI::ParseError& error) {
  const std::optional<std::string> word = left_over(app);
  if (!word && &command == &app)
    return "a command is missing, expected one of: " + fmt::format("{}", fmt::join(commands_of(app), ", "));
  if (!word) return error.what();
  if (word->starts_with('-')) {
    const std::string name = word->substr(0, word->find('='));
    return fmt::format("unknown option {}{}", name, did_you_mean(name, options_of(command)));
  }
  if (&command == &app)
    return fmt::format("unknown command {}{}, expected one of: {}", *word,
                       did_you_mean(*word, commands_of(app)), fmt::join(commands_of(app), ", "));
  return fmt::format("unexpected argument {}", *word);
}

}  // namespace

std::vector<std::string> commands_of(CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

ValueCheck one_of(std::vector<std::string> words) {
  return [words = std::move(words)](const std::string& text) -> std::string {
    if (std::ranges::find(words, text) != words.end()) return {};
    return fmt::format("\"{}\" given{}, expected one of: {}", text, did_you_mean(text, words),
                       fmt::join(words, ", "));
  };
}

ValueCheck whole_number(std::uint64_t least, std::uint64_t most) {
  return [=](const std::string& text) -> std::string {
    const std::optional<std::uint64_t> number = parse_number<std::uint64_t>(text);
    if (number && *number >= least && *number <= most && std::to_string(*number) == text) return {};
    return fmt::format("\"{}\" given, expected a whole number from {} to {}", text, least, most);
  };
}

ValueCheck number_from_zero() {
  return [](const std::string& text) -> std::string {
    const std::optional<double> number = parse_number<double>(text);
    if (number && std::isfinite(*number) && *number >= 0) return {};
    return fmt::format("\"{}\" given, expected a number of at least 0", text);
  };
}

std::string explain(CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  const CLI::App& command = chosen.empty() ? app : *chosen.front();
  const std::string name = chosen.empty() ? "mnist" : "mnist " + command.get_name();
  return fmt::format("{}: {}\nRun {} --help for more information.", name, what_is_wrong(app, command, error),
                     name);
}

void require_file(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) throw kg::Error(path + ": No such file");
  if (error) throw kg::Error(path + ": " + error.message());
  if (status.type() == std::filesystem::file_type::directory)
    throw kg::Error(path + ": is a folder, expected a file");
}

void require_no_file(const std::string& folder) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(folder, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_directory(status))
    throw kg::Error(folder + ": is a file, expected a folder or nothing");
}

void complain(std::string_view line) noexcept {
  // A file's name in it may hold what commands a terminal. kg::printable() would need memory.
  std::array<char, 1024> text;
  std::size_t size = 0;
  unsigned char previous = 0;
  for (const char character : line) {
    const auto byte = static_cast<unsigned char>(character);
    const bool is_control = (byte < 0x20 && byte != '\n') || byte == 0x7F;
    const bool ends_control = previous == 0xC2 && byte < 0xA0;  // U+0080 to U+009F
    const char* const format = is_control || ends_control ? "\\x%02x" : "%c";
    size += static_cast<std::size_t>(std::snprintf(text.data() + size, text.size() - size, format, byte));
    previous = byte;
    if (size < text.size() - 8) continue;
    std::fwrite(text.data(), 1, size, stderr);
    size = 0;
  }
  text[size] = '\n';
  std::fwrite(text.data(), 1, size + 1, stderr);
}

void occupy_standard_streams() {
  // A folder can be opened, but neither read nor written, and the root is there always. The lowest free
  // descriptor is the one that is given.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0 && ::open("/", O_RDONLY | O_DIRECTORY) < 0)
      throw kg::Error(fmt::format("standard stream {} is closed and cannot be replaced", stream));
}

}  // namespace mnist
