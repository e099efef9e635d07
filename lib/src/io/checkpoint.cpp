// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/descriptor.h"
#include "kernelgrad/io.h"

/// The safetensors format: a 64-bit little-endian length, a JSON header of that length, then the elements.
/// The header maps names to {"dtype", "shape", "data_offsets": [begin, end)} with offsets counted from the
/// end of the header, and "__metadata__" to free strings.
namespace kg {

namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors stores little-endian numbers, written here as they are");

using Json = nlohmann::json;

constexpr std::uint64_t length_bytes = 8;
/// The reference implementation's own limit.
constexpr std::uint64_t max_header_bytes = 100'000'000;
/// NumPy's and PyTorch's limit. Keeps a header of nothing but extents from taking many times its size.
constexpr std::size_t max_dimensions = 64;

/// Elements as they lie in a file, made into a tensor. Nothing if no DType can hold them.
using ReadElements = std::optional<Tensor> (*)(const std::vector<std::byte>& bytes, const Shape& shape);

float from_half(std::uint16_t half) {
  const std::uint32_t sign = half & 0x8000u, exponent = half >> 10 & 0x1Fu, fraction = half & 0x3FFu;
  if (exponent == 0) return std::copysign(std::ldexp(static_cast<float>(fraction), -24), sign ? -1.0f : 1.0f);
  const std::uint32_t wide_exponent = exponent == 0x1F ? 0xFF : exponent + 127 - 15;
  return std::bit_cast<float>(sign << 16 | wide_exponent << 23 | fraction << 13);
}

float from_bfloat16(std::uint16_t upper_half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(upper_half) << 16);
}

template <class T>
std::optional<Tensor> as_stored(const std::vector<std::byte>& bytes, const Shape& shape) {
  return Tensor::from_bytes(bytes, shape, {.dtype = dtype_of<T>()});
}

template <class From, auto convert>
std::optional<Tensor> widened(const std::vector<std::byte>& bytes, const Shape& shape) {
  using To = decltype(convert(From()));
  Tensor tensor = Tensor::empty(shape, {.dtype = dtype_of<To>()});
  To* const elements = tensor.data<To>();
  for (std::size_t i = 0; i < bytes.size() / sizeof(From); ++i) {
    From element;
    std::memcpy(&element, bytes.data() + i * sizeof(From), sizeof(From));
    elements[i] = convert(element);
  }
  return tensor;
}

template <class From, class To>
constexpr auto cast = [](From value) { return static_cast<To>(value); };

std::optional<Tensor> from_uint64(const std::vector<std::byte>& bytes, const Shape& shape) {
  Tensor tensor = *as_stored<std::int64_t>(bytes, shape);
  if (std::ranges::any_of(tensor.span<std::int64_t>(), [](std::int64_t value) { return value < 0; }))
    return {};
  return tensor;
}

/// A type of elements in the file: every one that the reference implementation knows.
struct ElementType {
  std::string_view name;
  std::uint64_t bits;
  ReadElements read;  ///< nullptr for a type that kernelgrad has nothing for
};

constexpr ElementType element_types[] = {
    {"F64", 64, as_stored<double>},
    {"F32", 32, as_stored<float>},
    {"F16", 16, widened<std::uint16_t, from_half>},
    {"BF16", 16, widened<std::uint16_t, from_bfloat16>},
    {"I64", 64, as_stored<std::int64_t>},
    {"I32", 32, as_stored<std::int32_t>},
    {"I16", 16, widened<std::int16_t, cast<std::int16_t, std::int32_t>>},
    {"I8", 8, widened<std::int8_t, cast<std::int8_t, std::int32_t>>},
    {"U64", 64, from_uint64},
    {"U32", 32, widened<std::uint32_t, cast<std::uint32_t, std::int64_t>>},
    {"U16", 16, widened<std::uint16_t, cast<std::uint16_t, std::int32_t>>},
    {"U8", 8, as_stored<std::uint8_t>},
    {"BOOL", 8, as_stored<std::uint8_t>},
    {"C64", 64, nullptr},
    {"F8_E5M2", 8, nullptr},
    {"F8_E4M3", 8, nullptr},
    {"F8_E5M2FNUZ", 8, nullptr},
    {"F8_E4M3FNUZ", 8, nullptr},
    {"F8_E8M0", 8, nullptr},
    {"F6_E2M3", 6, nullptr},
    {"F6_E3M2", 6, nullptr},
    {"F4", 4, nullptr}};

std::string_view name_in_file(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "F32";
    case DType::float64:
      return "F64";
    case DType::uint8:
      return "U8";
    case DType::int32:
      return "I32";
    case DType::int64:
      return "I64";
  }
  throw Error("save_checkpoint: a dtype that safetensors has no name for");
}

std::vector<nn::NamedTensor> in_file_order(nn::StateDict tensors) {
  // Widest elements first keeps every tensor aligned to its element size.
  std::ranges::sort(tensors, [](const nn::NamedTensor& a, const nn::NamedTensor& b) {
    const std::size_t a_size = size_of(a.tensor.dtype()), b_size = size_of(b.tensor.dtype());
    return a_size != b_size ? a_size > b_size : a.name < b.name;
  });
  return tensors;
}

std::size_t bytes_of(const Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel()) * size_of(tensor.dtype());
}

/// A text as JSON has it, which holds UTF-8 only. `what` names the offender in the error message.
std::string json_of(const std::string& text, const std::string& what) {
  try {
    return Json(text).dump();
  } catch (const Json::exception&) {
    throw Error("save_checkpoint: " + what + " is not valid UTF-8");
  }
}

/// `members` has the JSON of each, name included, under its name.
std::string json_object(const std::map<std::string, std::string>& members) {
  std::string text = "{";
  for (const auto& [name, member] : members) text.append(text.size() > 1 ? "," : "").append(member);
  return text + "}";
}

/// What the header says of a tensor whose elements begin at `offset`.
std::string json_of(const Tensor& tensor, std::size_t offset) {
  std::string shape;
  for (const std::int64_t extent : tensor.shape())
    shape.append(shape.empty() ? "" : ",").append(std::to_string(extent));
  return "{\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + bytes_of(tensor)) +
         "],\"dtype\":\"" + std::string(name_in_file(tensor.dtype())) + "\",\"shape\":[" + shape + "]}";
}

/// The header's text. Not by way of a tree of JSON: that allocates memory to be destroyed, and ends the
/// program where there is none.
std::string header_of(const std::vector<nn::NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> members, texts;
  for (const auto& [key, text] : metadata)
    texts[key] = json_of(key, "the metadata key " + in_quotes(key)) + ":" +
                 json_of(text, "the metadata " + in_quotes(key));
  if (!metadata.empty()) members["__metadata__"] = "\"__metadata__\":" + json_object(texts);
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::string member =
        json_of(name, "the name of tensor " + in_quotes(name)) + ":" + json_of(tensor, offset);
    if (name == "__metadata__" || !members.emplace(name, member).second)
      throw Error("save_checkpoint: a second tensor or a reserved name: " + in_quotes(name));
    offset += bytes_of(tensor);
  }
  std::string text = json_object(members);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the elements start aligned
  if (text.size() > max_header_bytes)
    throw Error("save_checkpoint: names, shapes and metadata take " + std::to_string(text.size()) +
                " bytes, a reader takes at most " + std::to_string(max_header_bytes));
  return text;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) try {
  const std::vector<nn::NamedTensor> tensors = in_file_order(checkpoint.tensors);
  const std::string header = header_of(tensors, checkpoint.metadata);
  write_file(path, [&](std::ostream& stream) {
    const std::uint64_t length = header.size();
    stream.write(reinterpret_cast<const char*>(&length), length_bytes);
    stream.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const auto& [name, tensor] : tensors) {
      const Tensor host = tensor.detach().to(Device::cpu());
      stream.write(reinterpret_cast<const char*>(host.bytes().data()),
                   static_cast<std::streamsize>(host.bytes().size()));
    }
  });
} catch (const std::bad_alloc&) {
  no_memory("save_checkpoint");
}

namespace {

/// A tensor as the header describes it.
struct Entry {
  std::string name = {};
  const ElementType* type = nullptr;
  std::optional<Shape> shape = {};
  std::vector<std::int64_t> offsets = {};

  std::uint64_t begin() const { return static_cast<std::uint64_t>(offsets[0]); }
  std::uint64_t end() const { return static_cast<std::uint64_t>(offsets[1]); }
};

/// Takes the header's entries from its JSON as it is parsed, so that no tree of it ever exists. Throws Error
/// with what is wrong.
class HeaderParser final : public nlohmann::json_sax<Json> {
 public:
  std::vector<Entry> entries = {};
  std::map<std::string, std::string> metadata = {};

  bool key(std::string& name) override {
    if (depth_ == 1) {
      in_metadata_ = name == "__metadata__";
      if (in_metadata_ && std::exchange(had_metadata_, true)) fail_twice(name);
      if (!in_metadata_) entries.push_back({.name = std::move(name)});
    } else if (in_metadata_) {
      const auto [entry, is_new] = metadata.emplace(std::move(name), "");
      if (!is_new) fail_twice(entry->first);
      metadata_entry_ = &*entry;
    } else if (depth_ == 2) {
      start_field(name);
    }
    return true;
  }

  bool string(std::string& text) override {
    if (in_metadata_ && depth_ == 2) {
      metadata_entry_->second = std::move(text);
    } else if (is_value_of(Field::dtype)) {
      const auto found = std::ranges::find(element_types, text, &ElementType::name);
      if (found == std::end(element_types)) fail_dtype(in_quotes(text));
      entries.back().type = found;
    } else {
      other_value(in_quotes(text));
    }
    return true;
  }
  bool number_unsigned(std::uint64_t number) override {
    std::vector<std::int64_t>* const list = open_list();
    if (!list || depth_ != 3 || number > INT64_MAX) return other_value(std::to_string(number));
    if (list->size() == max_dimensions)
      fail(tensor() + ": its " + field_name_ + " has more than " + std::to_string(max_dimensions) +
           " numbers");
    list->push_back(static_cast<std::int64_t>(number));
    return true;
  }
  bool number_integer(std::int64_t number) override { return other_value(std::to_string(number)); }
  bool number_float(double, const std::string& text) override { return other_value(printable(text)); }
  bool null() override { return other_value("null"); }
  bool boolean(bool value) override { return other_value(value ? "true" : "false"); }
  bool binary(Json::binary_t&) override { return other_value("bytes"); }

  bool start_object(std::size_t) override {
    if (depth_ > 1) other_value("an object");
    field_ = Field::other;
    return enter();
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || !open_list()) other_value("a list");
    return enter();
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    if (depth_ == 1 && !in_metadata_) finish_entry();
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    fail("its header is no JSON: " + printable(std::string_view(error.what()).substr(0, 300)));
  }

 private:
  enum class Field { dtype, shape, data_offsets, other };

  [[noreturn]] static void fail(const std::string& what) { throw Error(what); }
  [[noreturn]] static void fail_twice(const std::string& name) {
    fail("its header names " + in_quotes(name) + " twice");
  }
  [[noreturn]] void fail_dtype(const std::string& given) const {
    std::string known;
    for (const ElementType& type : element_types) known.append(known.empty() ? "" : ", ").append(type.name);
    fail(tensor() + " has dtype " + given + ", expected one of " + known);
  }
  std::string tensor() const { return "tensor " + in_quotes(entries.back().name); }

  bool enter() {
    // The reference implementation's limit; beyond it a reader that recurses would run out of stack.
    if (++depth_ > 127) fail("its header is no JSON object of tensors: it is nested too deeply");
    return true;
  }

  void start_field(const std::string& name) {
    Entry& entry = entries.back();
    field_name_ = name;
    field_ = Field::other;
    bool twice = false;
    if (name == "dtype") {
      field_ = Field::dtype;
      twice = entry.type != nullptr;
    } else if (name == "shape") {
      field_ = Field::shape;
      twice = entry.shape.has_value();
      entry.shape.emplace();
    } else if (name == "data_offsets") {
      field_ = Field::data_offsets;
      twice = std::exchange(has_offsets_, true);
    }
    if (twice) fail(tensor() + " has two of " + name);
  }

  bool is_value_of(Field field) const { return depth_ == 2 && !in_metadata_ && field_ == field; }

  /// The list of numbers that the present field is, if it is one.
  std::vector<std::int64_t>* open_list() {
    if (in_metadata_ || depth_ < 2) return nullptr;
    if (field_ == Field::shape) return &*entries.back().shape;
    if (field_ == Field::data_offsets) return &entries.back().offsets;
    return nullptr;
  }

  /// A value that is none of those expected: allowed in fields that nobody knows only.
  bool other_value(const std::string& given) const {
    if (depth_ == 0) fail("its header is no JSON object of tensors");
    if (in_metadata_ && depth_ == 1) fail("its __metadata__ is no object");
    if (in_metadata_) fail("its metadata " + in_quotes(metadata_entry_->first) + " is no string");
    if (depth_ == 1) fail(tensor() + " is no object");
    if (field_ == Field::dtype) fail_dtype(given);
    if (field_ != Field::other)
      fail(tensor() + ": its " + field_name_ + " holds " + given + ", expected whole numbers from 0");
    return true;
  }

  void finish_entry() {
    Entry& entry = entries.back();
    const auto require = [&](bool present, const char* field) {
      if (!present) fail(tensor() + " has no " + field);
    };
    require(entry.type != nullptr, "dtype");
    require(entry.shape.has_value(), "shape");
    require(std::exchange(has_offsets_, false), "data_offsets");
    if (entry.offsets.size() != 2 || entry.offsets[0] > entry.offsets[1])
      fail(tensor() + ": its data_offsets are no [begin, end]");
    check_size(entry);
  }

  void check_size(const Entry& entry) const {
    std::uint64_t bits = entry.type->bits;
    for (const std::int64_t extent : *entry.shape)
      if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(extent), &bits))
        fail(tensor() + " has shape " + to_string(*entry.shape) + ", more than any file can hold");
    if (bits % 8 != 0) fail(tensor() + " " + to_string(*entry.shape) + " ends within a byte");
    if (entry.end() - entry.begin() != bits / 8)
      fail(tensor() + " " + to_string(*entry.shape) + " needs " + std::to_string(bits / 8) +
           " bytes, its data_offsets give " + std::to_string(entry.end() - entry.begin()));
  }

  int depth_ = 0;  ///< objects and lists that are open
  bool in_metadata_ = false, had_metadata_ = false, has_offsets_ = false;
  Field field_ = Field::other;
  std::string field_name_;
  std::pair<const std::string, std::string>* metadata_entry_ = nullptr;
};

/// Reads one file, naming it in every complaint.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path) {}

  Checkpoint read() try {
    open();
    HeaderParser header = read_header();
    check_names(header.entries);
    std::ranges::sort(header.entries, {}, [](const Entry& e) { return std::pair(e.begin(), e.end()); });
    check_layout(header.entries);
    Checkpoint checkpoint;
    checkpoint.metadata = std::move(header.metadata);
    checkpoint.tensors.reserve(header.entries.size());
    for (Entry& entry : header.entries) read_tensor(entry, checkpoint);
    return checkpoint;
  } catch (const std::bad_alloc&) {
    throw Error(printable(path_.native()) + ": no memory to read it");
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(printable(path_.native()) + ": not a checkpoint: " + what);
  }
  [[noreturn]] void fail_to_read(const std::string& why) const {
    throw Error(printable(path_.native()) + ": cannot be read: " + why);
  }

  void open() {
    if (path_.native().find('\0') != std::string::npos) fail_to_read("a file's name has no zero byte");
    // Opening a pipe would wait for somebody to write to it.
    file_ = Descriptor(
        uninterrupted([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }));
    struct stat status {};
    if (!file_ || ::fstat(file_.number(), &status) != 0) fail_to_read(reason());
    if (!S_ISREG(status.st_mode))
      fail_to_read(S_ISDIR(status.st_mode) ? reason(EISDIR) : "it is no regular file");
    size_ = static_cast<std::uint64_t>(status.st_size);
  }

  /// Fills `bytes` from what lies at `offset` of the file. `what` names it in the error message.
  void read_at(std::uint64_t offset, std::span<std::byte> bytes, const std::string& what) const {
    while (!bytes.empty()) {
      const ssize_t count = uninterrupted(
          [&] { return ::pread(file_.number(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
      if (count < 0) fail_to_read(reason());
      if (count == 0) fail(what + " cannot be read: the file has become shorter");
      bytes = bytes.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
  }

  HeaderParser read_header() {
    std::uint64_t length = 0;
    if (size_ < length_bytes)
      fail("the file has " + std::to_string(size_) + " bytes, a safetensors file has at least 8");
    read_at(0, std::as_writable_bytes(std::span(&length, 1)), "the header's length");
    constexpr std::uint32_t zip_signature = 0x04034b50;  // "PK\3\4"
    if (length > max_header_bytes && static_cast<std::uint32_t>(length) == zip_signature)
      fail(
          "it is a zip archive, as torch.save() writes; safetensors.torch.save_file() writes what is read "
          "here");
    if (length > max_header_bytes || length > size_ - length_bytes)
      fail("its header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(size_) +
           " (truncated, or no safetensors file)");
    std::string text(length, '\0');
    read_at(length_bytes, std::as_writable_bytes(std::span(text)), "its header");
    data_begin_ = length_bytes + length;
    return parsed(text);
  }

  HeaderParser parsed(const std::string& text) const {
    // The JSON library takes a zero byte for the end, and leaves out a byte order mark.
    if (text.find('\0') != std::string::npos) fail("its header is no JSON: it has a zero byte");
    if (text.starts_with("\xEF\xBB\xBF")) fail("its header is no JSON: it begins with a byte order mark");
    HeaderParser header;
    try {
      Json::sax_parse(text, &header);
    } catch (const Error& error) {
      fail(error.what());
    }
    return header;
  }

  /// JSON lets a name appear twice; a reader that takes the first and one that takes the last would see
  /// different tensors.
  void check_names(std::vector<Entry>& entries) const {
    std::ranges::sort(entries, {}, &Entry::name);
    const auto twice = std::ranges::adjacent_find(entries, {}, &Entry::name);
    if (twice != entries.end()) fail("its header names " + in_quotes(twice->name) + " twice");
  }

  /// The tensors must fill the rest of the file exactly, one after the other.
  void check_layout(const std::vector<Entry>& entries) const {
    std::uint64_t expected = 0;
    for (const Entry& entry : entries) {
      if (entry.begin() != expected)
        fail("tensor " + in_quotes(entry.name) + " begins at " + std::to_string(entry.begin()) +
             ", expected " + std::to_string(expected) + ": tensors overlap or leave a gap");
      expected = entry.end();
    }
    if (expected != size_ - data_begin_)
      fail("its tensors take " + std::to_string(expected) + " bytes, " + std::to_string(size_ - data_begin_) +
           " follow the header");
  }

  void read_tensor(Entry& entry, Checkpoint& into) const {
    const std::string kind = std::string(entry.type->name) + " " + to_string(*entry.shape);
    if (!entry.type->read) {
      into.unreadable.emplace(std::move(entry.name), kind + ", a type that kernelgrad does not have");
      return;
    }
    std::vector<std::byte> bytes(entry.end() - entry.begin());
    read_at(data_begin_ + entry.begin(), bytes, "tensor " + in_quotes(entry.name));
    if (const std::optional<Tensor> tensor = entry.type->read(bytes, *entry.shape))
      into.tensors.push_back({std::move(entry.name), *tensor});
    else
      into.unreadable.emplace(std::move(entry.name), kind + ", with values that int64 cannot hold");
  }

  std::filesystem::path path_;
  Descriptor file_;
  std::uint64_t size_ = 0, data_begin_ = 0;
};

}  // namespace

Checkpoint load_checkpoint(const std::filesystem::path& path) try {
  return Reader(path).read();
} catch (const std::bad_alloc&) {
  no_memory("load_checkpoint");
}

}  // namespace kg
