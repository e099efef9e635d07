// SPDX-License-Identifier: MIT
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <ctime>

#include "support.h"
#include "temporary_directory.h"

namespace kg {
namespace {

using namespace testing;

constexpr DType every_dtype[] = {DType::float32, DType::float64, DType::uint8, DType::int32, DType::int64};

Tensor tensor_named(const Checkpoint& checkpoint, const std::string& name) {
  const Tensor tensor = nn::find_tensor(checkpoint.tensors, name);
  if (!tensor.defined()) FAIL("no tensor " + name);
  return tensor;
}

Checkpoint with_tensors(nn::StateDict tensors) { return {.tensors = std::move(tensors), .metadata = {}}; }

Checkpoint example() {
  Checkpoint checkpoint;
  for (const DType dtype : every_dtype) {
    const std::string name(name_of(dtype));
    checkpoint.tensors.push_back(
        {name, (random({3, 5, 7}, DType::float64, 1) * 100).to(DType::int32).to(dtype)});
    checkpoint.tensors.push_back({name + ".scalar", Tensor::full({}, 3, {.dtype = dtype})});
    checkpoint.tensors.push_back({name + ".empty", Tensor::zeros({4, 0, 2}, {.dtype = dtype})});
  }
  return checkpoint;
}

TEST_CASE("A checkpoint comes back as it was", "[io]") {
  const TemporaryDirectory directory;
  Checkpoint saved = example();
  for (const char* name : {"", "0.weight", "spaces and \"quotes\"", "back\\slash", "new\nline",
                           "\xC3\xA4\xE2\x82\xAC", "__metadata", "{}", "dtype", "\x01"})
    saved.tensors.push_back({name, random({2}, DType::float32, 1)});
  saved.tensors.push_back({std::string("zero\0byte", 9), random({1})});
  saved.tensors.push_back(
      {"special", Tensor::from(std::vector<double>{std::nan(""), HUGE_VAL, -0.0, 5e-324}, {4})});
  saved.metadata = {{"model", "s7_final"}, {"", "empty"}, {"quote\"", "line\nbreak \xC3\xA4"}};
  save_checkpoint(directory / "file", saved);

  const Checkpoint loaded = load_checkpoint(directory / "file");
  CHECK(loaded.metadata == saved.metadata);
  REQUIRE(loaded.tensors.size() == saved.tensors.size());
  for (const auto& [name, tensor] : saved.tensors) {
    INFO(name);
    CHECK(same_bits(tensor_named(loaded, name), tensor));
    CHECK(!tensor_named(loaded, name).requires_grad());
  }
  CHECK(directory.entries() == std::vector<std::string>{"file"});
}

TEST_CASE("An empty checkpoint is a file too", "[io]") {
  const TemporaryDirectory directory;
  save_checkpoint(directory / "file", {});
  const Checkpoint loaded = load_checkpoint(directory / "file");
  CHECK(loaded.tensors.empty());
  CHECK(loaded.metadata.empty());
}

TEST_CASE("Equal checkpoints give equal bytes, whatever the order of their tensors", "[io]") {
  const TemporaryDirectory directory;
  Checkpoint checkpoint = example();
  checkpoint.metadata = {{"b", "1"}, {"a", "2"}};
  save_checkpoint(directory / "a", checkpoint);
  std::reverse(checkpoint.tensors.begin(), checkpoint.tensors.end());
  save_checkpoint(directory / "b", checkpoint);
  save_checkpoint(directory / "c", load_checkpoint(directory / "a"));
  CHECK(content_of(directory / "a") == content_of(directory / "b"));
  CHECK(content_of(directory / "a") == content_of(directory / "c"));
}

TEST_CASE("A checkpoint has the layout of safetensors", "[io]") {
  const TemporaryDirectory directory;
  save_checkpoint(directory / "file",
                  {.tensors = {{"b", Tensor::from(std::vector<std::uint8_t>{7, 8, 9}, {3})},
                               {"a", Tensor::from(std::vector<float>{1, 2}, {1, 2})}},
                   .metadata = {{"k", "v"}}});
  const std::string content = content_of(directory / "file");
  std::uint64_t length = 0;
  std::memcpy(&length, content.data(), 8);
  CHECK(length % 8 == 0);
  std::string header = content.substr(8, length);
  header.erase(header.find_last_not_of(' ') + 1);
  CHECK(header == R"({"__metadata__":{"k":"v"},"a":{"data_offsets":[0,8],"dtype":"F32","shape":[1,2]},)"
                  R"("b":{"data_offsets":[8,11],"dtype":"U8","shape":[3]}})");
  CHECK(content.substr(8 + length) == std::string("\0\0\x80\x3F\0\0\0\x40\x07\x08\x09", 11));
}

TEST_CASE("Tensors of every width are aligned to their elements", "[io]") {
  const TemporaryDirectory directory;
  Checkpoint checkpoint = example();
  save_checkpoint(directory / "file", checkpoint);
  const std::string content = content_of(directory / "file");
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (tensor.numel() < 100) continue;
    const std::span<const std::byte> bytes = tensor.bytes();
    const std::size_t at =
        content.find(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    REQUIRE(at != std::string::npos);
    INFO(name);
    CHECK(at % size_of(tensor.dtype()) == 0);
  }
}

TEST_CASE("save_checkpoint says what it cannot save, and writes nothing", "[io][errors]") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  const Tensor x = Tensor::zeros({1});
  check_error(
      [&] {
        save_checkpoint(path, with_tensors({{"a", x}, {"b", x}, {"a", x}}));
      },
      {"save_checkpoint", "\"a\""});
  check_error(
      [&] {
        save_checkpoint(path, with_tensors({{"__metadata__", x}}));
      },
      {"save_checkpoint", "__metadata__"});
  check_error([&] { save_checkpoint(path, with_tensors({{"a", {}}})); }, {"undefined"});
  // JSON holds Unicode only.
  check_error([&] { save_checkpoint(path, with_tensors({{"bad \xFF", x}})); }, {"save_checkpoint", "bad"});
  check_error(
      [&] {
        save_checkpoint(path, {.tensors = {}, .metadata = {{"key", "bad \xFF"}}});
      },
      {"save_checkpoint", "key"});
  CHECK(directory.entries().empty());
}

/// A file with this header and so many bytes of data after it.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string content(8, '\0');
  std::memcpy(content.data(), &length, 8);
  return content + header + std::string(data_bytes, '\1');
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

/// Checks that the file is refused, by name and for the reason given, and that no memory to speak of is asked
/// for on the way.
void check_refused(const std::string& content, std::initializer_list<const char*> parts,
                   int line = __builtin_LINE()) {
  const TemporaryDirectory directory;
  const auto path = directory / "hostile.safetensors";
  set_content(path, content);
  check_error([&] { load_checkpoint(path); }, {path.c_str()}, line);
  check_error([&] { load_checkpoint(path); }, parts, line);
}

TEST_CASE("A well-formed header of another writer is read", "[io]") {
  const TemporaryDirectory directory;
  set_content(directory / "file",
              file_of(" { \"w\" : {\"extra\": null, \"shape\": [2], \"data_offsets\": [0, 8],\n"
                      "\"dtype\": \"F32\"} , \"__metadata__\": {} } ",
                      8));
  const Checkpoint loaded = load_checkpoint(directory / "file");
  REQUIRE(loaded.tensors.size() == 1);
  CHECK(loaded.tensors[0].tensor.shape() == Shape{2});
}

TEST_CASE("A checkpoint that is truncated anywhere is refused", "[io][errors]") {
  const TemporaryDirectory directory;
  save_checkpoint(directory / "whole",
                  {.tensors = {{"w", random({2, 3}, DType::float32)}}, .metadata = {{"k", "v"}}});
  const std::string content = content_of(directory / "whole");
  for (std::size_t length = 0; length < content.size(); ++length) {
    INFO("the first " << length << " of " << content.size() << " bytes");
    check_refused(content.substr(0, length), {"not a checkpoint"});
  }
  check_refused(content + '\0', {"not a checkpoint", "follow the header"});
}

TEST_CASE("A checkpoint with any byte changed is refused or read, never worse", "[io][errors]") {
  const TemporaryDirectory directory;
  save_checkpoint(directory / "whole",
                  {.tensors = {{"w", random({2, 3}, DType::float32)}}, .metadata = {{"k", "v"}}});
  const std::string content = content_of(directory / "whole");
  const auto path = directory / "changed";
  int refused = 0;
  for (std::size_t i = 0; i < content.size() - 24; ++i)
    for (const char value : {'\0', '"', '{', '9', '-', '\xFF'}) {
      std::string changed = content;
      changed[i] = value;
      set_content(path, changed);
      try {
        load_checkpoint(path);
      } catch (const Error& error) {
        ++refused;
        CHECK(std::string(error.what()).find(path.string()) == 0);
      }
    }
  CHECK(refused > 500);
}

TEST_CASE("Hostile headers are refused", "[io][errors]") {
  // Lengths.
  check_refused(std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8) + "{}", {"18446744073709551615 bytes"});
  check_refused(std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 8) + "{}", {"9223372036854775807 bytes"});
  check_refused(std::string("\x00\x00\x00\x00\x01\x00\x00\x00", 8) + "{}", {"4294967296 bytes"});
  check_refused(std::string("\x03\0\0\0\0\0\0\0", 8) + "{}", {"3 bytes"});
  // What PyTorch itself writes.
  check_refused(std::string("PK\3\4\0\0\10\10\0\0", 10), {"zip archive", "torch.save()", "save_file()"});
  // No JSON object.
  for (const char* header : {"", "{", "}", "nonsense", "{}x", "{'w':1}", "{\"w\":", "{\"\xFF\":1}", "NaN"})
    check_refused(file_of(header, 0), {"no JSON"});
  for (const char* header : {"[]", "1", "null", "\"w\""})
    check_refused(file_of(header, 0), {"no JSON object"});
  // Deeper than any stack.
  check_refused(file_of(std::string(1'000'000, '['), 0), {"not a checkpoint"});
  check_refused(file_of("{\"w\":" + std::string(1'000'000, '['), 0), {"not a checkpoint"});
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  check_refused(file_of(deep + "1" + std::string(100'000, '}'), 0), {"not a checkpoint"});
  // Names.
  const std::string w = R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  check_refused(file_of("{" + w + "," + w + "}", 4), {"\"w\" twice"});
  check_refused(file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), {"\"__metadata__\" twice"});
  // Metadata.
  check_refused(file_of(R"({"__metadata__":[]})", 0), {"__metadata__"});
  check_refused(file_of(R"({"__metadata__":{"key":1}})", 0), {"\"key\""});
  check_refused(file_of(R"({"__metadata__":{"key":{"a":"b"}}})", 0), {"\"key\""});
  // Entries.
  for (const char* value : {"1", "null", "[]", "\"F32\"", "{}"})
    check_refused(file_of(std::string("{\"w\":") + value + "}", 0), {"tensor \"w\""});
  check_refused(file_of(R"({"w":{"shape":[1],"data_offsets":[0,4]}})", 4), {"tensor \"w\"", "dtype"});
  check_refused(file_of(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4), {"tensor \"w\"", "shape"});
  check_refused(file_of(R"({"w":{"dtype":"F32","shape":[1]}})", 4), {"tensor \"w\"", "data_offsets"});
}

TEST_CASE("Names, fields and metadata that are there twice are refused", "[io][errors]") {
  const std::string w = R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  // The same name in other letters, and empty tensors, which leave no gap and overlap nothing.
  check_refused(file_of("{" + w + R"(,"\u0077":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8),
                {"\"w\" twice"});
  const std::string empty = R"({"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  check_refused(file_of("{\"a\":" + empty + ",\"b\":" + empty + ",\"a\":" + empty + "}", 0), {"\"a\" twice"});
  check_refused(file_of(R"({"__metadata__":{"k":"1","k":"1"}})", 0), {"\"k\" twice"});
  check_refused(file_of(R"({"__metadata__":{"k":"1"},)" + w + R"(,"__metadata__":{"l":"1"}})", 4),
                {"\"__metadata__\" twice"});
  check_refused(file_of(R"({"w":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
                {"tensor \"w\"", "two of dtype"});
  check_refused(file_of(R"({"w":{"dtype":"F32","shape":[9],"shape":[1],"data_offsets":[0,4]}})", 4),
                {"tensor \"w\"", "two of shape"});
  check_refused(file_of(R"({"w":{"dtype":"F32","data_offsets":[0,9],"shape":[1],"data_offsets":[0,4]}})", 4),
                {"tensor \"w\"", "two of data_offsets"});
}

TEST_CASE("What the JSON library forgives is refused", "[io][errors]") {
  const std::string w = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  check_refused(file_of("\xEF\xBB\xBF" + w, 4), {"no JSON", "byte order mark"});
  for (const std::string& behind : {std::string("\0", 1), std::string("\0\0 ", 3), std::string("\0x{", 3)})
    check_refused(file_of(w + behind, 4), {"no JSON", "zero byte"});
  check_refused(file_of(w.substr(0, 20) + '\0' + w.substr(20), 4), {"no JSON", "zero byte"});
  for (const std::string behind : {"{}", "x", ",", "]", "/**/", "\x0B", "\xC2\xA0"})
    check_refused(file_of(w + behind, 4), {"no JSON"});
  for (const char* header :
       {"{/**/}", "{\"__metadata__\":{},}", "{\"a\x01\":1}", "{\"\\ud800\":1}", "{\"\\x\":1}"})
    check_refused(file_of(header, 0), {"no JSON"});
}

TEST_CASE("Fields that nobody knows are passed over, whatever they hold", "[io]") {
  const TemporaryDirectory directory;
  const auto with_field = [](const std::string& value) {
    return file_of(R"({"w":{"x":)" + value + R"(,"dtype":"F32","y":)" + value +
                       R"(,"shape":[1],"data_offsets":[0,4],"z":)" + value + "}}",
                   4);
  };
  const std::string deep = std::string(124, '[') + std::string(124, ']');
  for (const std::string& value :
       {std::string("null"), std::string("[1,-2,3.5,true,\"F64\",{}]"), deep,
        std::string(R"({"dtype":"F64","shape":[7],"data_offsets":[1,2],"__metadata__":{"a":1}})")}) {
    set_content(directory / "file", with_field(value));
    const Checkpoint loaded = load_checkpoint(directory / "file");
    REQUIRE(loaded.tensors.size() == 1);
    CHECK(loaded.tensors[0].name == "w");
    CHECK(loaded.tensors[0].tensor.shape() == Shape{1});
    CHECK(loaded.tensors[0].tensor.dtype() == DType::float32);
    CHECK(loaded.metadata.empty());
  }
  check_refused(with_field("[[" + deep + "]]"), {"nested too deeply"});
  check_refused(with_field("1e400"), {"no JSON"});
}

TEST_CASE("Nothing of a file commands the terminal that its error is printed on", "[io][errors]") {
  // Escapes as JSON writes them, and a control character of Unicode as it is.
  const std::string evil =
      "\\u001b]0;title\\u0007\\n\xC2\x9B"
      "31m\xE2\x80\xAE";
  const std::string offsets = R"("data_offsets":[0,4]})";
  const std::string name = "\"" + evil + "\"";
  for (const std::string& header :
       {"{" + name + ":1}", "{" + name + R"(:{"dtype":"F32","shape":[2],)" + offsets + "}",
        R"({"w":{"dtype":)" + name + R"(,"shape":[1],)" + offsets + "}",
        R"({"w":{"dtype":"F32","shape":[)" + name + "]," + offsets + "}",
        "{\"__metadata__\":{" + name + ":1}}", "{\"__metadata__\":{" + name + ":\"\"," + name + ":\"\"}}",
        "{" + name + "x", "{" + name + ":1e4000}", "{" + name + ": " + evil}) {
    const TemporaryDirectory directory;
    set_content(directory / "file", file_of(header, 4));
    std::string message;
    try {
      load_checkpoint(directory / "file");
    } catch (const Error& error) {
      message = error.what();
    }
    INFO(message);
    CHECK(!message.empty());
    CHECK(
        std::ranges::none_of(message, [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; }));
    CHECK(message.find("\xC2\x9B") == std::string::npos);
    CHECK(message.find("\xE2\x80\xAE") == std::string::npos);
  }
  const TemporaryDirectory directory;
  check_error([&] { load_checkpoint(directory / "no\x1b[31m\nsuch"); },
              {"no\\x1b[31m\\nsuch: cannot be read"});
}

TEST_CASE("Hostile tensors are refused by name", "[io][errors]") {
  for (const char* dtype : {"\"F128\"", "\"f32\"", "\"F32 \"", "\"\"", "32", "null"})
    check_refused(file_of(entry(dtype, "[1]", "[0,4]"), 4),
                  {"tensor \"w\"", dtype, "F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL"});
  for (const char* dtype : {"[\"F32\"]", "{\"F32\":1}"})
    check_refused(file_of(entry(dtype, "[1]", "[0,4]"), 4), {"tensor \"w\"", "has dtype"});
  for (const char* shape : {"[-1]", "[1.0]", "[1e0]", "[\"1\"]", "[null]", "[[1]]", "[true]",
                            "[18446744073709551615]", "[18446744073709551616]", "[9223372036854775808]"})
    check_refused(file_of(entry("\"F32\"", shape, "[0,4]"), 4), {"tensor \"w\"", "shape"});
  for (const char* shape : {"1", "null", "{}", "\"[1]\""})
    check_refused(file_of(entry("\"F32\"", shape, "[0,4]"), 4), {"tensor \"w\"", "shape"});
  // Overflowing products, to nothing and to a plausible size.
  for (const char* shape :
       {"[9223372036854775807]", "[4611686018427387904]", "[4294967296,4294967296]",
        "[2305843009213693952,8]", "[4294967297,4294967297]", "[9223372036854775807,9223372036854775807,0]"})
    check_refused(file_of(entry("\"F64\"", shape, "[0,8]"), 8), {"tensor \"w\""});
  check_refused(file_of(entry("\"F64\"", "[0,9223372036854775807,9223372036854775807]", "[0,8]"), 8),
                {"tensor \"w\""});
  // More than the file holds.
  check_refused(file_of(entry("\"F32\"", "[250000000000]", "[0,1000000000000]"), 4),
                {"not a checkpoint", "1000000000000"});
  for (const char* offsets :
       {"[]", "[0]", "[0,4,4]", "[4,0]", "0", "null", "[-4,0]", "[0.0,4.0]", "[\"0\",\"4\"]"})
    check_refused(file_of(entry("\"F32\"", "[1]", offsets), 4), {"tensor \"w\"", "data_offsets"});
  for (const char* offsets : {"[0,0]", "[0,3]", "[0,5]", "[0,8]", "[0,9223372036854775807]"})
    check_refused(file_of(entry("\"F32\"", "[1]", offsets), 4), {"tensor \"w\"", "4 bytes", "data_offsets"});
  check_refused(file_of(entry("\"F32\"", "[1]", "[4,8]"), 8), {"tensor \"w\"", "begins at 4, expected 0"});
  check_refused(file_of(entry("\"F32\"", "[1]", "[0,4]"), 3), {"4 bytes", "3 follow the header"});
  check_refused(file_of(entry("\"F32\"", "[1]", "[0,4]"), 5), {"4 bytes", "5 follow the header"});
  check_refused(file_of("{}", 1), {"0 bytes", "1 follow the header"});
}

TEST_CASE("Tensors that overlap or leave a gap are refused by name", "[io][errors]") {
  const auto two = [](const char* first, const char* second) {
    return std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  for (const auto& [first, second] : std::vector<std::pair<const char*, const char*>>{
           {"[0,4]", "[0,4]"}, {"[0,4]", "[2,6]"}, {"[0,4]", "[5,9]"}, {"[0,4]", "[8,12]"}})
    for (const std::size_t bytes : {std::size_t{8}, std::size_t{9}, std::size_t{12}})
      check_refused(file_of(two(first, second), bytes), {"tensor \"b\"", "overlap or leave a gap"});
  check_refused(file_of(two("[2,6]", "[6,10]"), 10), {"tensor \"a\"", "begins at 2, expected 0"});

  const TemporaryDirectory directory;
  set_content(directory / "file", file_of(two("[4,8]", "[0,4]"), 8));
  CHECK(load_checkpoint(directory / "file").tensors.size() == 2);
}

/// The address space this process may still take.
class MemoryLimit {
 public:
  explicit MemoryLimit(rlim_t bytes) {
    getrlimit(RLIMIT_AS, &before_);
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    const rlimit limit{pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + bytes, before_.rlim_max};
    setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_{};
};

TEST_CASE("A header's claims alone make nobody ask for memory", "[io][errors]") {
  const MemoryLimit limit(std::size_t{64} << 20);
  check_refused(std::string("\x00\xE1\xF5\x05\x00\x00\x00\x00", 8) + "{}", {"100000000 bytes"});
  check_refused(file_of(entry("\"U8\"", "[1000000000]", "[0,1000000000]"), 4), {"1000000000"});
  check_refused(file_of(entry("\"U8\"", "[8589934592]", "[0,8589934592]"), 4), {"8589934592"});
}

/// Runs the action and returns by how many bytes the most memory that this process ever had grew.
std::size_t growth_of_memory(const std::function<void()>& action) {
  const auto most = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
  };
  const std::size_t before = most();
  action();
  return most() - before;
}

/// A header of so many empty tensors.
std::string many_tensors(int count) {
  std::string header = "{";
  for (int i = 0; i < count; ++i)
    header +=
        (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  return header + "}";
}

TEST_CASE("Time and memory are in proportion to the header", "[io][errors]") {
  const TemporaryDirectory directory;
  const auto seconds = [&](int count) {
    set_content(directory / "many", file_of(many_tensors(count), 0));
    // The processor's time: the clock's also counts what else the machine does.
    const std::clock_t start = std::clock();
    CHECK(load_checkpoint(directory / "many").tensors.size() == static_cast<std::size_t>(count));
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  // Ten times the tensors took a hundred times as long. The first call warms the allocator.
  seconds(4000);
  const double few = std::min(seconds(4000), seconds(4000));
  CHECK(std::min(seconds(40'000), seconds(40'000)) < 40 * few + 0.1);
  if (!sanitized) {
    const std::string header = many_tensors(200'000);
    set_content(directory / "many", file_of(header, 0));
    CHECK(growth_of_memory([&] { load_checkpoint(directory / "many"); }) < 20 * header.size());
  }
}

TEST_CASE("A header takes at most 100 MB, and has no more extents than a tensor can have", "[io][errors]") {
  const TemporaryDirectory directory;
  const auto path = directory / "large";
  constexpr std::size_t limit = 100'000'000;
  set_content(path, file_of("{}" + std::string(limit - 2, ' '), 0));
  CHECK(load_checkpoint(path).tensors.empty());
  set_content(path, file_of("{}" + std::string(limit - 1, ' '), 0));
  check_error([&] { load_checkpoint(path); }, {"100000001 bytes"});
  check_error(
      [&] {
        save_checkpoint(directory / "saved", {.metadata = {{"k", std::string(limit, 'x')}}});
      },
      {"save_checkpoint", "100000"});
  CHECK(directory.entries() == std::vector<std::string>{"large"});

  std::string ones = "[1";
  for (int i = 1; i < 64; ++i) ones += ",1";
  set_content(path, file_of(entry("\"F32\"", ones + "]", "[0,4]"), 4));
  CHECK(load_checkpoint(path).tensors[0].tensor.dim() == 64);
  check_refused(file_of(entry("\"F32\"", ones + ",1]", "[0,4]"), 4), {"tensor \"w\"", "shape", "64"});
}

TEST_CASE("Whatever the length of the header, the elements begin at a multiple of 8", "[io]") {
  const TemporaryDirectory directory;
  for (std::size_t more = 0; more < 16; ++more) {
    save_checkpoint(directory / "file",
                    {.tensors = {{"w", Tensor::ones({1})}}, .metadata = {{"k", std::string(more, 'x')}}});
    std::uint64_t length = 0;
    std::memcpy(&length, content_of(directory / "file").data(), 8);
    CHECK(length % 8 == 0);
    CHECK(load_checkpoint(directory / "file").tensors.size() == 1);
  }
}

/// A file with one tensor of these elements.
template <class T>
std::string file_of_elements(const std::string& dtype, const std::vector<T>& elements) {
  const std::size_t bytes = elements.size() * sizeof(T);
  std::string content = file_of(entry("\"" + dtype + "\"", "[" + std::to_string(elements.size()) + "]",
                                      "[0," + std::to_string(bytes) + "]"),
                                bytes);
  std::memcpy(content.data() + content.size() - bytes, elements.data(), bytes);
  return content;
}

/// Checks what a file with one tensor of these elements is loaded as.
template <class From, class To>
void check_loaded_as(const std::string& dtype, const std::vector<From>& elements,
                     const std::vector<To>& expected) {
  INFO(dtype);
  const TemporaryDirectory directory;
  set_content(directory / "file", file_of_elements(dtype, elements));
  const Checkpoint loaded = load_checkpoint(directory / "file");
  REQUIRE(loaded.tensors.size() == 1);
  CHECK(loaded.unreadable.empty());
  CHECK(same_bits(loaded.tensors[0].tensor,
                  Tensor::from(expected, {static_cast<std::int64_t>(expected.size())})));
}

TEST_CASE("Integers of other programs become the smallest dtype that holds them all", "[io]") {
  check_loaded_as("BOOL", std::vector<std::uint8_t>{0, 1}, std::vector<std::uint8_t>{0, 1});
  check_loaded_as("I8", std::vector<std::int8_t>{-128, -1, 127}, std::vector<std::int32_t>{-128, -1, 127});
  check_loaded_as("I16", std::vector<std::int16_t>{-32768, -1, 32767},
                  std::vector<std::int32_t>{-32768, -1, 32767});
  check_loaded_as("U16", std::vector<std::uint16_t>{0, 65535}, std::vector<std::int32_t>{0, 65535});
  check_loaded_as("U32", std::vector<std::uint32_t>{0, 4294967295}, std::vector<std::int64_t>{0, 4294967295});
  check_loaded_as("U64", std::vector<std::uint64_t>{0, INT64_MAX}, std::vector<std::int64_t>{0, INT64_MAX});
}

TEST_CASE("Every half and every bfloat16 becomes the float32 that it is", "[io]") {
  std::vector<std::uint16_t> patterns(65536);
  std::iota(patterns.begin(), patterns.end(), std::uint16_t{0});
  const auto check = [&](const std::string& dtype, int exponent_bits, int fraction_bits) {
    INFO(dtype);
    const TemporaryDirectory directory;
    set_content(directory / "file", file_of_elements(dtype, patterns));
    const std::vector<float> loaded =
        load_checkpoint(directory / "file").tensors[0].tensor.to_vector<float>();
    const int most = (1 << exponent_bits) - 1, bias = most / 2;
    int wrong = 0;
    for (int pattern = 0; pattern < 65536; ++pattern) {
      const int exponent = pattern >> fraction_bits & most, fraction = pattern & ((1 << fraction_bits) - 1);
      const float value = loaded[static_cast<std::size_t>(pattern)];
      bool right = std::signbit(value) == (pattern >= 32768);
      if (exponent == most)
        right &= fraction ? std::isnan(value) : std::isinf(value);
      else
        right &= std::abs(static_cast<double>(value)) ==
                 (exponent ? std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits)
                           : std::ldexp(fraction, 1 - bias - fraction_bits));
      wrong += !right;
    }
    CHECK(wrong == 0);
  };
  check("F16", 5, 10);
  check("BF16", 8, 7);
}

TEST_CASE("A tensor of a type that kernelgrad lacks is listed and spoils nothing", "[io]") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  const std::string w = R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)";
  for (const auto& [dtype, bits] : std::vector<std::pair<std::string, int>>{{"C64", 64},
                                                                            {"F8_E5M2", 8},
                                                                            {"F8_E4M3", 8},
                                                                            {"F8_E5M2FNUZ", 8},
                                                                            {"F8_E4M3FNUZ", 8},
                                                                            {"F8_E8M0", 8},
                                                                            {"F6_E2M3", 6},
                                                                            {"F6_E3M2", 6},
                                                                            {"F4", 4}}) {
    INFO(dtype);
    const int end = 4 + bits;
    set_content(path, file_of("{" + w + R"("mask":{"dtype":")" + dtype +
                                  R"(","shape":[2,4],"data_offsets":[4,)" + std::to_string(end) + "]}}",
                              static_cast<std::size_t>(end)));
    const Checkpoint loaded = load_checkpoint(path);
    REQUIRE(loaded.tensors.size() == 1);
    CHECK(loaded.tensors[0].name == "w");
    REQUIRE(loaded.unreadable.size() == 1);
    CHECK(loaded.unreadable.at("mask").starts_with(dtype + " [2, 4]"));
    // Its size counts all the same.
    check_refused(file_of(entry("\"" + dtype + "\"", "[8]", "[0,3]"), 3), {"tensor \"w\"", "3"});
  }
  set_content(path, file_of_elements("U64", std::vector<std::uint64_t>{1, std::uint64_t{1} << 63}));
  const Checkpoint loaded = load_checkpoint(path);
  CHECK(loaded.tensors.empty());
  CHECK(loaded.unreadable.at("w").starts_with("U64 [2]"));
  check_refused(file_of(entry("\"F4\"", "[3]", "[0,1]"), 1), {"tensor \"w\"", "within a byte"});
}

TEST_CASE("A file that cannot be read is named", "[io][errors]") {
  const TemporaryDirectory directory;
  const auto pipe = directory / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  check_error([&] { load_checkpoint(pipe); }, {pipe.c_str(), "regular file"});
  check_error([&] { load_checkpoint("/dev/zero"); }, {"/dev/zero", "regular file"});
  check_error([&] { load_checkpoint(directory.path()); }, {directory.path().c_str(), "Is a directory"});
  save_checkpoint(directory / "file", {});
  check_error([&] { load_checkpoint((directory / "file").string() + '\0' + "x"); }, {"zero byte"});
  check_error([&] { load_checkpoint(""); }, {"No such file or directory"});
  const auto missing = directory / "missing";
  check_error([&] { load_checkpoint(missing); }, {missing.c_str(), "No such file or directory"});
  check_error([&] { load_checkpoint(directory.path()); }, {directory.path().c_str()});
}

TEST_CASE("A module's state goes through a file", "[io][nn]") {
  const TemporaryDirectory directory;
  manual_seed(1);
  nn::Sequential saved(nn::Conv2d(1, 2, 3), nn::BatchNorm2d(2)),
      loaded(nn::Conv2d(1, 2, 3), nn::BatchNorm2d(2));
  saved(random({3, 1, 5, 5}, DType::float32));
  save_checkpoint(directory / "file", with_tensors(saved.state_dict()));
  loaded.load_state_dict(load_checkpoint(directory / "file").tensors);
  const nn::StateDict a = saved.state_dict(), b = loaded.state_dict();
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i].tensor, b[i].tensor));
}

}  // namespace
}  // namespace kg
