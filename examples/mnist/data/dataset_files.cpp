// SPDX-License-Identifier: MIT
#include "data/dataset_files.h"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "data/file_kind.h"
#include "data/idx.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr int deepest = 4;
constexpr std::size_t most_files = 2'000, most_listed = 30;
constexpr std::int64_t qmnist_columns = 8;

enum Content { images, labels, neither };
enum Part { training, testing, unknown };
enum Packing { plain, gzipped, zipped };

struct Found {
  PackedFile file;
  std::vector<std::string> place;  // folders and name, from where the search began
  std::string what = {};           // in words
  Content content = neither;
  Part part = unknown;
  Packing packing = plain;
  std::int64_t count = 0;

  // The smaller, the better.
  std::pair<std::size_t, Packing> rank() const { return {place.size(), packing}; }
};

using FoundSet = std::vector<const Found*>;

std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words(1);
  for (const unsigned char c : name)
    if (std::isalnum(c))
      words.back() += static_cast<char>(std::tolower(c));
    else if (!words.back().empty())
      words.emplace_back();
  return words;
}

bool has_word(std::string_view name, std::initializer_list<std::string_view> beginnings) {
  for (const std::string& word : words_of(name))
    for (const std::string_view beginning : beginnings)
      if (word.starts_with(beginning)) return true;
  return false;
}

bool has_part(std::string_view name, std::string_view part) {
  return std::ranges::any_of(words_of(name),
                             [&](const std::string& word) { return word.find(part) != word.npos; });
}

bool says_training(std::string_view name) { return has_word(name, {"train"}); }
bool says_testing(std::string_view name) { return has_word(name, {"test", "t10k"}); }
bool says_images(std::string_view name) { return has_part(name, "image") || has_part(name, "imgs"); }
bool says_labels(std::string_view name) { return has_part(name, "label"); }
bool says_something(std::string_view name) {
  return says_training(name) || says_testing(name) || says_images(name) || says_labels(name);
}

// The innermost name that says one of the two decides.
Part part_of(const std::vector<std::string>& place) {
  for (auto name = place.rbegin(); name != place.rend(); ++name)
    if (says_training(*name) != says_testing(*name)) return says_training(*name) ? training : testing;
  return unknown;
}

// Files of one data set have this in common: the folder, and what their names begin with.
std::string set_of(const Found& found) {
  std::string set;
  for (std::size_t i = 0; i + 1 < found.place.size(); ++i)
    if (!says_something(found.place[i])) set += found.place[i] + "/";
  const std::string& name = found.place.back();
  std::size_t end = 0;
  while (end < name.size() && !says_something(name.substr(0, end + 1))) ++end;
  while (end > 0 && std::isalnum(static_cast<unsigned char>(name[end - 1]))) --end;
  if (end == name.size()) return set;
  while (end > 0 && !std::isalnum(static_cast<unsigned char>(name[end - 1]))) --end;
  return set + name.substr(0, end);
}

std::string_view words_for(Part part) {
  return part == training ? "training " : part == testing ? "test " : "";
}

void describe_idx(Found& found, const IdxReader& idx) {
  const std::size_t sizes = idx.dims().size();
  found.count = idx.dims()[0];
  const bool bytes = idx.type() == IdxType::uint8;
  const std::string& name = found.place.back();
  if (bytes && sizes == 3) {
    found.what =
        fmt::format("{} {}images of {}x{}", found.count, words_for(found.part), idx.dims()[1], idx.dims()[2]);
    found.content = images;
  } else if ((bytes && sizes == 1) || (!bytes && sizes == 2 && idx.dims()[1] == qmnist_columns)) {
    found.what = fmt::format("{} {}labels", found.count, words_for(found.part));
    found.content = labels;
  } else {
    found.what = fmt::format("IDX data of {} with {} size{}", bytes ? "unsigned bytes" : "int32 elements",
                             sizes, sizes == 1 ? "" : "s");
  }
  if (found.content == images && says_labels(name)) {
    found.what += ", though its name says labels, which have one size";
    found.content = neither;
  } else if (found.content == labels && says_images(name)) {
    found.what += ", though its name says images, which have three sizes";
    found.content = neither;
  }
}

void describe(Found& found) try {
  found.part = part_of(found.place);
  const bool gzip = is_gzip(read_head(*open_file(found.file), file_kind_bytes));
  found.packing = !found.file.member.empty() ? zipped : gzip ? gzipped : plain;
  if (is_idx(read_head(*open_unpacked(found.file), file_kind_bytes)))
    describe_idx(found, IdxReader(found.file));
  else
    found.what = describe_content(found.file);
} catch (const kg::Error& error) {
  found.what = error.what();
}

bool is_hidden(std::string_view name) { return name.starts_with('.') || name == "__MACOSX"; }

std::vector<std::string> parts_of(const std::filesystem::path& path) {
  std::vector<std::string> parts;
  for (const auto& part : path)
    if (!part.empty()) parts.push_back(part.string());
  return parts;
}

std::string joined(const std::vector<std::string>& place) { return fmt::format("{}", fmt::join(place, "/")); }

// The file itself, or if it is a zip archive what is in it.
std::vector<Found> files_in(const std::filesystem::path& path, const std::vector<std::string>& place) try {
  if (!is_zip(read_head(*open_file(path), file_kind_bytes))) return {{.file = path, .place = place}};
  std::vector<Found> members;
  for (const std::string& member : zip_members(path)) {
    std::vector<std::string> inside = place;
    for (std::string& part : parts_of(member)) inside.push_back(std::move(part));
    if (std::ranges::none_of(inside, is_hidden)) members.push_back({.file = {path, member}, .place = inside});
  }
  return members;
} catch (const kg::Error& error) {
  return {{.file = path, .place = place, .what = error.what()}};
}

// A folder or an archive, and what the places of the files that are wanted begin with.
struct Start {
  std::filesystem::path base;
  std::string beginning;
};

// The names of all that is in a folder, in order. Not std::filesystem::directory_iterator: libstdc++'s ends
// the program where memory is gone.
std::vector<std::string> names_in(const std::filesystem::path& folder) {
  const auto close = [](::DIR* opened) { ::closedir(opened); };
  const std::unique_ptr<::DIR, decltype(close)> opened(::opendir(folder.c_str()), close);
  const auto check = [&](bool holds) {
    if (!holds)
      throw kg::Error(folder.string() + ": cannot be read: " + std::generic_category().message(errno));
  };
  check(opened != nullptr);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const ::dirent* const entry = ::readdir(opened.get());
    if (!entry) break;
    if (const std::string_view name = entry->d_name; name != "." && name != "..") names.emplace_back(name);
  }
  check(errno == 0);
  std::ranges::sort(names);
  return names;
}

bool has_name_beginning(const std::filesystem::path& folder, const std::string& beginning) {
  return std::ranges::any_of(names_in(folder),
                             [&](const std::string& name) { return name.starts_with(beginning); });
}

// FOLDER, ARCHIVE, FOLDER/BEGINNING or ARCHIVE/BEGINNING, if it is there.
std::optional<Start> start_of(const std::filesystem::path& place) {
  std::error_code error;
  if (std::filesystem::exists(place, error)) return Start{place, ""};
  std::filesystem::path base = place.has_parent_path() ? place.parent_path() : ".";
  if (std::filesystem::is_directory(base, error)) {
    const std::string beginning = place.filename().string();
    if (beginning.empty() || !has_name_beginning(base, beginning)) return std::nullopt;
    return Start{base, beginning};
  }
  while (base.has_parent_path() && base != base.parent_path() && !std::filesystem::exists(base, error))
    base = base.parent_path();
  if (!std::filesystem::is_regular_file(base, error)) return std::nullopt;
  return Start{base, (base.filename() / place.lexically_relative(base)).generic_string()};
}

class Search {
 public:
  explicit Search(const std::filesystem::path& place) : given_(place) {
    const std::optional<Start> start = start_of(place);
    if (!start)
      throw kg::Error(fmt::format(
          "dataset: {}: no such folder, expected one with the four IDX files of a data set", place.string()));
    beginning_ = start->beginning;
    look_at(start->base);
  }

  /// What the places of the files are relative to.
  const std::filesystem::path& folder() const { return folder_; }

  std::vector<Found> take() {
    std::ranges::sort(found_, {}, [](const Found& found) { return found.place; });
    return std::move(found_);
  }

 private:
  void look_at(const std::filesystem::path& base) {
    std::error_code error;
    if (std::filesystem::is_directory(base, error)) {
      folder_ = base;
      return look_into(base, 0);
    }
    folder_ = base.parent_path();
    add(files_in(base, {base.filename().string()}));
  }

  void look_into(const std::filesystem::path& folder, int depth) {
    if (depth > 0 && ::access(folder.c_str(), R_OK) != 0) return;
    for (const std::string& name : names_in(folder)) {
      if (is_hidden(name) || !(depth > 0 || name.starts_with(beginning_))) continue;
      const std::filesystem::path path = folder / name;
      std::error_code unreadable;
      if (!std::filesystem::is_directory(path, unreadable))
        add(files_in(path, parts_of(path.lexically_relative(folder_))));
      else if (depth < deepest)
        look_into(path, depth + 1);
    }
  }

  void add(std::vector<Found> files) {
    for (Found& found : files) {
      if (!joined(found.place).starts_with(beginning_)) continue;
      if (found_.size() == most_files)
        throw kg::Error(fmt::format(
            "dataset: {}: more than {} files are there, expected a folder with the files of one data set",
            given_.string(), most_files));
      if (found.what.empty()) describe(found);
      found_.push_back(std::move(found));
    }
  }

  const std::filesystem::path& given_;
  std::filesystem::path folder_;
  std::string beginning_;  // of the places of the files that are wanted
  std::vector<Found> found_;
};

// Those first that look as if they were meant.
std::string listing(std::vector<Found> all) {
  // Not std::ranges': clang 14 cannot compile that of libstdc++ 12.
  std::stable_partition(all.begin(), all.end(), [](const Found& f) {
    return f.content != neither || says_something(f.place.back());
  });
  std::string lines;
  for (std::size_t i = 0; i < std::min(all.size(), most_listed); ++i)
    lines += fmt::format("\n  {}: {}", all[i].file.name(), all[i].what);
  if (all.size() > most_listed) lines += fmt::format("\n  and {} more", all.size() - most_listed);
  return all.empty() ? " nothing" : lines;
}

[[noreturn]] void fail(const std::filesystem::path& place, const std::string& reason) {
  throw kg::Error(fmt::format("dataset: {}: {}", place.string(), reason));
}

[[noreturn]] void fail_with_listing(const std::filesystem::path& place, const std::string& reason,
                                    std::vector<Found> all) {
  fail(place,
       fmt::format("{}\nLooked for: the images and labels for training and for testing, each a file of "
                   "IDX data of unsigned bytes, plain, gzipped or zipped, with \"train\", \"test\" or "
                   "\"t10k\" in its name, such as train-images-idx3-ubyte.gz and "
                   "t10k-labels-idx1-ubyte.\nFound:{}",
                   reason, listing(std::move(all))));
}

struct Role {
  Content content;
  Part part;
  std::string_view name;
};

constexpr std::array<Role, 4> roles = {{{images, training, "training images"},
                                        {labels, training, "training labels"},
                                        {images, testing, "test images"},
                                        {labels, testing, "test labels"}}};

// The files of a set that are for a role, the best first.
FoundSet candidates(const FoundSet& set, const Role& role) {
  FoundSet fitting;
  for (const Found* found : set)
    if (found->content == role.content && found->part == role.part) fitting.push_back(found);
  std::ranges::stable_sort(fitting, {}, [](const Found* found) { return found->rank(); });
  return fitting;
}

std::string missing_from(const FoundSet& set) {
  std::vector<std::string_view> missing;
  for (const Role& role : roles)
    if (candidates(set, role).empty()) missing.push_back(role.name);
  return fmt::format("{}", fmt::join(missing, ", "));
}

// Where no name says what is for training: the larger of two pairs of images and labels.
void tell_apart_by_count(std::vector<Found>& all) {
  if (std::ranges::any_of(all, [](const Found& f) { return f.content != neither && f.part != unknown; }))
    return;
  std::map<std::int64_t, std::array<int, 2>> counts;
  for (const Found& found : all)
    if (found.content != neither) ++counts[found.count][found.content];
  const std::array<int, 2> pair = {1, 1};
  if (counts.size() != 2 || counts.begin()->second != pair || counts.rbegin()->second != pair) return;
  for (Found& found : all)
    if (found.content != neither) found.part = found.count == counts.rbegin()->first ? training : testing;
}

// The usable files by the names of their sets.
std::map<std::string, FoundSet> sets_of(const std::vector<Found>& all) {
  std::map<std::string, FoundSet> sets;
  for (const Found& found : all)
    if (found.content != neither && found.part != unknown) sets[set_of(found)].push_back(&found);
  return sets;
}

// The smaller, the better: how deep it lies, and whether its files' names begin with something of their own.
std::pair<std::ptrdiff_t, bool> rank_of(const std::string& set) {
  return {std::ranges::count(set, '/'), !set.empty() && !set.ends_with('/')};
}

PackedFile best(const std::filesystem::path& place, const FoundSet& set, const Role& role) {
  const FoundSet fitting = candidates(set, role);
  if (fitting.size() > 1 && fitting[0]->rank() == fitting[1]->rank())
    fail(place, fmt::format("{} and {} are both {}; leave one of them there", joined(fitting[0]->place),
                            joined(fitting[1]->place), role.name));
  return fitting[0]->file;
}

// The complete set of the outermost folder.
std::string choose_set(const std::filesystem::path& place, const std::filesystem::path& folder,
                       const std::vector<Found>& all, const std::map<std::string, FoundSet>& sets) {
  std::vector<std::string> complete;
  for (const auto& [name, set] : sets)
    if (missing_from(set).empty()) complete.push_back(name);
  std::ranges::stable_sort(complete, {}, rank_of);
  if (complete.empty()) {
    std::string reason = "the files of no data set";
    std::size_t most = 0;
    for (const auto& [name, set] : sets)
      if (set.size() > most) most = set.size(), reason = "no usable " + missing_from(set);
    fail_with_listing(place, reason, all);
  }
  if (complete.size() > 1 && rank_of(complete[0]) == rank_of(complete[1])) {
    std::string reason = fmt::format("holds {} data sets; name one of them:", complete.size());
    for (const std::string& name : complete) reason += fmt::format("\n  --data {}", (folder / name).string());
    fail(place, reason);
  }
  return complete[0];
}

}  // namespace

bool may_hold_dataset(const std::filesystem::path& place) { return start_of(place).has_value(); }

DatasetFiles find_dataset(const std::filesystem::path& place) {
  Search search(place);
  std::vector<Found> all = search.take();
  tell_apart_by_count(all);
  std::map<std::string, FoundSet> sets = sets_of(all);
  FoundSet together;
  for (const auto& [name, set] : sets) together.insert(together.end(), set.begin(), set.end());
  const bool scattered =
      std::ranges::none_of(sets, [](const auto& named) { return missing_from(named.second).empty(); });
  if (scattered && missing_from(together).empty()) sets = {{"", together}};

  const FoundSet& set = sets[choose_set(place, search.folder(), all, sets)];
  const auto file = [&](const Role& role) { return best(place, set, role); };
  return {file(roles[0]), file(roles[1]), file(roles[2]), file(roles[3])};
}

}  // namespace mnist
