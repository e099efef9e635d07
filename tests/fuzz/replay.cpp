// SPDX-License-Identifier: MIT
/// main() of a fuzz target where libFuzzer is not linked.
/// Usage: TARGET [FILE|FOLDER]... [--mutants N]
/// Runs each file, then N inputs that are made of them, always the same ones.

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "fuzz/fuzz.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

void run(const Bytes& input) {
  // libFuzzer's inputs end where their memory does, too.
  const Bytes exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

Bytes read(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  kg::fuzz::require(stream.good(), "cannot read " + path.string());
  return Bytes(std::istreambuf_iterator<char>(stream), {});
}

/// In the order of their names.
std::vector<Bytes> seeds_of(const std::vector<std::filesystem::path>& paths) {
  std::vector<std::filesystem::path> files;
  for (const std::filesystem::path& path : paths) {
    if (!std::filesystem::is_directory(path))
      files.push_back(path);
    else
      for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::vector<Bytes> seeds;
  for (const std::filesystem::path& file : files) seeds.push_back(read(file));
  return seeds;
}

class Mutator {
 public:
  explicit Mutator(std::vector<Bytes> seeds) : seeds_(std::move(seeds)) { seeds_.push_back({}); }

  Bytes next() {
    Bytes input = any_seed();
    for (std::size_t count = 1 + below(4); count > 0; --count) change(input);
    return input;
  }

 private:
  std::size_t below(std::size_t end) { return static_cast<std::size_t>(bits_() % end); }
  std::uint8_t any_byte() { return static_cast<std::uint8_t>(bits_()); }
  const Bytes& any_seed() { return seeds_[below(seeds_.size())]; }

  void change(Bytes& input) {
    const std::size_t at = below(input.size() + 1);
    const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(5)) {
      case 0:
        if (place != input.end()) *place = any_byte();
        break;
      case 1:
        if (place != input.end()) *place ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 2:
        input.erase(place, place + static_cast<std::ptrdiff_t>(below(input.size() - at + 1)));
        break;
      case 3: {
        const Bytes& other = any_seed();
        const std::size_t from = below(other.size() + 1);
        input.insert(place, other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        break;
      }
      default: {
        Bytes more(below(64));
        for (std::uint8_t& byte : more) byte = any_byte();
        input.insert(place, more.begin(), more.end());
      }
    }
  }

  std::mt19937_64 bits_{1};
  std::vector<Bytes> seeds_;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> paths;
  int mutants = 0;
  for (int i = 1; i < argc; ++i) {
    if (argv[i] == std::string("--mutants") && i + 1 < argc)
      mutants = std::stoi(argv[++i]);
    else
      paths.emplace_back(argv[i]);
  }
  const std::vector<Bytes> seeds = seeds_of(paths);
  for (const Bytes& seed : seeds) run(seed);
  Mutator mutator(seeds);
  for (int i = 0; i < mutants; ++i) run(mutator.next());
  std::printf("%zu seeds and %d mutants passed\n", seeds.size(), mutants);
}
