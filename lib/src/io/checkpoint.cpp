#include <algorithm>
#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "kernelgrad/io.h"

/// The safetensors format: a 64-bit little-endian length, a JSON header of that length, then the elements.
/// The header maps names to {"dtype", "shape", "data_offsets": [begin, end)} with offsets counted from the
/// end of the header, and
/// "__metadata__" to free strings.
namespace kg {

namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors stores little-endian numbers, written here as they are");

using Json = nlohmann::json;

constexpr std::uint64_t length_bytes = 8;
/// The reference implementation's own limit.
constexpr std::uint64_t max_header_bytes = 100'000'000;

constexpr std::pair<DType, std::string_view> dtype_names[] = {{DType::float32, "F32"},
                                                              {DType::float64, "F64"},
                                                              {DType::uint8, "U8"},
                                                              {DType::int32, "I32"},
                                                              {DType::int64, "I64"}};

std::string_view name_in_file(DType dtype) {
  return std::ranges::find(dtype_names, dtype, &std::pair<DType, std::string_view>::first)->second;
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

/// JSON holds UTF-8 only. `what` names the offender in the error message.
void require_utf8(const std::string& text, const std::string& what) {
  try {
    (void)Json(text).dump();
  } catch (const Json::exception&) {
    throw Error("save_checkpoint: " + what + " is not valid UTF-8");
  }
}

std::string header_of(const std::vector<nn::NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  for (const auto& [key, text] : metadata) {
    require_utf8(key, "a metadata key");
    require_utf8(text, "the metadata \"" + key + "\"");
  }
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    require_utf8(name, "the name of tensor \"" + name + "\"");
    if (name == "__metadata__" || header.contains(name))
      throw Error("save_checkpoint: a second tensor or a reserved name: \"" + name + "\"");
    header[name] = {{"dtype", name_in_file(tensor.dtype())},
                    {"shape", tensor.shape()},
                    {"data_offsets", {offset, offset + bytes_of(tensor)}}};
    offset += bytes_of(tensor);
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the elements start aligned
  return text;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
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
}

namespace {

/// Reads one file, naming it in every complaint.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), stream_(path, std::ios::binary) {
    std::error_code error;
    size_ = std::filesystem::file_size(path, error);
    if (!stream_ || error) fail(error ? error.message() : "cannot be opened");
  }

  Checkpoint read() {
    const Json header = read_header();
    Checkpoint checkpoint;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__")
        checkpoint.metadata = metadata_of(value);
      else
        entries.push_back(entry_of(name, value));
    }
    std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
    check_layout(entries);
    for (const Entry& entry : entries) checkpoint.tensors.push_back({entry.name, read_tensor(entry)});
    return checkpoint;
  }

 private:
  struct Entry {
    std::string name;
    DType dtype;
    Shape shape;
    std::uint64_t begin, end;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(path_.string() + ": not a checkpoint: " + what);
  }

  Json read_header() {
    std::uint64_t length = 0;
    if (size_ < length_bytes || !stream_.read(reinterpret_cast<char*>(&length), length_bytes))
      fail("the file has " + std::to_string(size_) + " bytes, a safetensors file has at least 8");
    if (length > max_header_bytes || length > size_ - length_bytes)
      fail("its header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(size_) +
           " (truncated, or no safetensors file)");
    std::string text(length, '\0');
    if (!stream_.read(text.data(), static_cast<std::streamsize>(length))) fail("its header cannot be read");
    data_begin_ = length_bytes + length;
    return parsed(text);
  }

  Json parsed(const std::string& text) const {
    // JSON lets a name appear twice; a reader that takes the first and one that takes the last would see
    // different tensors. And a document may be nested a hundred million levels deep.
    std::set<std::string> names;
    std::optional<std::string> twice;
    bool too_deep = false;
    const auto inspect = [&](int depth, Json::parse_event_t event, Json& value) {
      too_deep |= depth > 4;
      if (event == Json::parse_event_t::key && depth == 1 && !names.insert(value.get<std::string>()).second)
        twice = value.get<std::string>();
      return !too_deep;
    };
    Json header;
    try {
      header = Json::parse(text, inspect);
    } catch (const Json::exception& error) {
      fail(std::string("its header is no JSON: ") + error.what());
    }
    if (too_deep || !header.is_object()) fail("its header is no JSON object of tensors");
    if (twice) fail("its header names \"" + *twice + "\" twice");
    return header;
  }

  std::map<std::string, std::string> metadata_of(const Json& value) const {
    if (!value.is_object()) fail("its __metadata__ is no object");
    std::map<std::string, std::string> metadata;
    for (const auto& [name, text] : value.items()) {
      if (!text.is_string()) fail("its metadata \"" + name + "\" is no string");
      metadata[name] = text.get<std::string>();
    }
    return metadata;
  }

  Entry entry_of(const std::string& name, const Json& value) const {
    const std::string tensor = "tensor \"" + name + "\"";
    const auto field = [&](const char* key) {
      if (!value.is_object() || !value.contains(key)) fail(tensor + " has no " + key);
      return value[key];
    };
    const auto naturals = [&](const char* key) {
      const Json list = field(key);
      std::vector<std::int64_t> numbers;
      if (!list.is_array()) fail(tensor + ": its " + key + " is no list");
      for (const Json& number : list) {
        if (!number.is_number_unsigned() || number.get<std::uint64_t>() > INT64_MAX)
          fail(tensor + ": its " + key + " holds " + number.dump() + ", expected whole numbers from 0");
        numbers.push_back(number.get<std::int64_t>());
      }
      return numbers;
    };
    const Json dtype = field("dtype");
    const auto known = std::ranges::find(dtype_names, dtype.is_string() ? dtype.get<std::string>() : "",
                                         &std::pair<DType, std::string_view>::second);
    if (known == std::end(dtype_names))
      fail(tensor + " has dtype " + dtype.dump() + ", expected one of F32, F64, U8, I32, I64");
    const std::vector<std::int64_t> offsets = naturals("data_offsets");
    if (offsets.size() != 2 || offsets[0] > offsets[1])
      fail(tensor + ": its data_offsets are no [begin, end]");
    Entry entry{.name = name,
                .dtype = known->first,
                .shape = naturals("shape"),
                .begin = static_cast<std::uint64_t>(offsets[0]),
                .end = static_cast<std::uint64_t>(offsets[1])};
    std::uint64_t expected = size_of(entry.dtype);
    for (const std::int64_t extent : entry.shape)
      if (__builtin_mul_overflow(expected, static_cast<std::uint64_t>(extent), &expected))
        fail(tensor + " has shape " + to_string(entry.shape) + ", more than any file can hold");
    if (entry.end - entry.begin != expected)
      fail(tensor + " " + to_string(entry.shape) + " needs " + std::to_string(expected) +
           " bytes, its data_offsets give " + std::to_string(entry.end - entry.begin));
    return entry;
  }

  /// The tensors must fill the rest of the file exactly, one after the other.
  void check_layout(const std::vector<Entry>& entries) const {
    std::uint64_t expected = 0;
    for (const Entry& entry : entries) {
      if (entry.begin != expected)
        fail("tensor \"" + entry.name + "\" begins at " + std::to_string(entry.begin) + ", expected " +
             std::to_string(expected) + ": tensors overlap or leave a gap");
      expected = entry.end;
    }
    if (expected != size_ - data_begin_)
      fail("its tensors take " + std::to_string(expected) + " bytes, " + std::to_string(size_ - data_begin_) +
           " follow the header");
  }

  Tensor read_tensor(const Entry& entry) {
    std::vector<std::byte> bytes(entry.end - entry.begin);
    stream_.seekg(static_cast<std::streamoff>(data_begin_ + entry.begin));
    if (!bytes.empty() &&
        !stream_.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
      fail("tensor \"" + entry.name + "\" cannot be read");
    return Tensor::from_bytes(bytes, entry.shape, {.dtype = entry.dtype});
  }

  std::filesystem::path path_;
  std::ifstream stream_;
  std::uint64_t size_ = 0, data_begin_ = 0;
};

}  // namespace

Checkpoint load_checkpoint(const std::filesystem::path& path) { return Reader(path).read(); }

}  // namespace kg
