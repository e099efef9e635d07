// SPDX-License-Identifier: MIT
/// A library to be preloaded (LD_PRELOAD) that lets one call of the C library fail: docs/testing-faults.md.
///
///   KG_FAULT         which calls are counted: write, print, sync, rename, open, map, read, close, remove,
///                    lock, thread; memory, or memory-place, of which only the first from each place can
///                    fail, places told apart by the whole stack; or interrupted (by a signal), short-read
///                    and short-write, which are no failures
///   KG_FAULT_AT      which of them fails, counted from 1; 0: none
///   KG_FAULT_REPORT  file for the number of calls that there were
///   KG_FAULT_SPARE   parts of names of functions and libraries, with commas between; memory that is asked
///                    for within them is there
///
/// What happens before main() is not counted, nor what the program's children do.

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>

extern "C" {
// The C library's allocator by the names under which it cannot be interposed.
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {

char kind[32], report[4096], spared[128];
std::atomic<long> calls = 0;
long fails_at = 0;
std::atomic<bool> armed = false;

/// Whether this call of a function of the kind is the one that fails, with that error.
bool fails(std::string_view of_kind, int error) {
  if (!armed || of_kind != kind) return false;
  if (++calls != fails_at) return false;
  errno = error;
  return true;
}

/// The function that the C library has under that name.
template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

void copy_variable(const char* name, char* to, std::size_t size) {
  const char* value = std::getenv(name);
  std::strncpy(to, value ? value : "", size - 1);
  ::unsetenv(name);
}

[[gnu::constructor]] void begin() {
  copy_variable("KG_FAULT", kind, sizeof kind);
  copy_variable("KG_FAULT_REPORT", report, sizeof report);
  if (const char* number = std::getenv("KG_FAULT_AT")) fails_at = std::atol(number);
  copy_variable("KG_FAULT_SPARE", spared, sizeof spared);
  ::unsetenv("LD_PRELOAD");
}

[[gnu::destructor]] void end() {
  if (!*report) return;
  armed = false;
  const int descriptor =
      static_cast<int>(::syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_TRUNC, 0666));
  char text[32];
  const int length = std::snprintf(text, sizeof text, "%ld\n", calls.load());
  ::syscall(SYS_write, descriptor, text, length);
}

int (*program_main)(int, char**, char**);

int main_with_faults(int argc, char** argv, char** environment) {
  // A child would count on from here, and fail at the same number as its parent.
  ::pthread_atfork(nullptr, nullptr, [] { armed = false; });
  armed = true;
  return program_main(argc, argv, environment);
}

}  // namespace

// KG_FAILING(kind, error, failure, result, name, parameters, arguments): the C library's function of that
// name, of which one call fails.
#define KG_FAILING(kind, error, failure, result, name, parameters, arguments) \
  extern "C" result name parameters {                                         \
    if (fails(kind, error)) return failure;                                   \
    static auto* const original = real<result parameters>(#name);             \
    return original arguments;                                                \
  }

KG_FAILING("map", ENOMEM, MAP_FAILED, void*, mmap,
           (void* at, std::size_t size, int protection, int flags, int file, ::off_t offset),
           (at, size, protection, flags, file, offset))
KG_FAILING("map", ENOMEM, MAP_FAILED, void*, mmap64,
           (void* at, std::size_t size, int protection, int flags, int file, ::off_t offset),
           (at, size, protection, flags, file, offset))

KG_FAILING("sync", EIO, -1, int, fsync, (int file), (file))
KG_FAILING("sync", EIO, -1, int, fdatasync, (int file), (file))

KG_FAILING("rename", EACCES, -1, int, rename, (const char* from, const char* to), (from, to))
KG_FAILING("rename", EACCES, -1, int, renameat, (int a, const char* from, int b, const char* to),
           (a, from, b, to))
KG_FAILING("rename", EACCES, -1, int, renameat2,
           (int a, const char* from, int b, const char* to, unsigned flags), (a, from, b, to, flags))
KG_FAILING("rename", EACCES, -1, int, link, (const char* from, const char* to), (from, to))
KG_FAILING("rename", EACCES, -1, int, linkat, (int a, const char* from, int b, const char* to, int flags),
           (a, from, b, to, flags))

KG_FAILING("remove", EACCES, -1, int, unlink, (const char* path), (path))
KG_FAILING("remove", EACCES, -1, int, unlinkat, (int folder, const char* path, int flags),
           (folder, path, flags))
KG_FAILING("remove", EACCES, -1, int, remove, (const char* path), (path))

KG_FAILING("lock", ENOLCK, -1, int, flock, (int file, int operation), (file, operation))

KG_FAILING("thread", EAGAIN, EAGAIN, int, pthread_create,
           (::pthread_t * thread, const ::pthread_attr_t* attributes, void* (*body)(void*), void* argument),
           (thread, attributes, body, argument))

// Opening. A mode is there or not; what is not there is not looked at.

#define KG_FAILING_OPEN(name, parameters, folder)                                \
  extern "C" int name parameters {                                               \
    std::va_list rest;                                                           \
    va_start(rest, flags);                                                       \
    const ::mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; \
    va_end(rest);                                                                \
    if (fails("open", EACCES)) return -1;                                        \
    return static_cast<int>(::syscall(SYS_openat, folder, path, flags, mode));   \
  }
KG_FAILING_OPEN(open, (const char* path, int flags, ...), AT_FDCWD)
KG_FAILING_OPEN(open64, (const char* path, int flags, ...), AT_FDCWD)
KG_FAILING_OPEN(openat, (int folder, const char* path, int flags, ...), folder)
KG_FAILING_OPEN(openat64, (int folder, const char* path, int flags, ...), folder)

KG_FAILING("open", EACCES, -1, int, __open_2, (const char* path, int flags), (path, flags))
KG_FAILING("open", EACCES, -1, int, __open64_2, (const char* path, int flags), (path, flags))
KG_FAILING("open", EACCES, -1, int, creat, (const char* path, ::mode_t mode), (path, mode))
KG_FAILING("open", EACCES, -1, int, mkdir, (const char* path, ::mode_t mode), (path, mode))
KG_FAILING("open", EACCES, nullptr, std::FILE*, fopen, (const char* path, const char* mode), (path, mode))
KG_FAILING("open", EACCES, nullptr, std::FILE*, fopen64, (const char* path, const char* mode), (path, mode))
KG_FAILING("open", EMFILE, nullptr, ::DIR*, opendir, (const char* path), (path))
KG_FAILING("open", EMFILE, -1, int, memfd_create, (const char* name, unsigned flags), (name, flags))

// The C library reads streams by functions that cannot be interposed: the one that failed is remembered.

namespace {
std::atomic<std::FILE*> failed_stream = nullptr;
}

// What is closed is closed, whatever close() says.

extern "C" int close(int file) {
  static auto* const original = real<int(int)>("close");
  const int result = original(file);
  return fails("close", EIO) ? -1 : result;
}

extern "C" int fclose(std::FILE* file) {
  static auto* const original = real<int(std::FILE*)>("fclose");
  std::FILE* same = file;
  failed_stream.compare_exchange_strong(same, nullptr);
  const int result = original(file);
  return fails("close", EIO) ? EOF : result;
}

// Reading and writing.

KG_FAILING("read", EIO, -1, ::ssize_t, pread, (int file, void* to, std::size_t size, ::off_t offset),
           (file, to, size, offset))
KG_FAILING("read", EIO, -1, ::ssize_t, pread64, (int file, void* to, std::size_t size, ::off_t offset),
           (file, to, size, offset))

extern "C" ::ssize_t read(int file, void* to, std::size_t size) {
  static auto* const original = real<::ssize_t(int, void*, std::size_t)>("read");
  if (fails("read", EIO) || fails("interrupted", EINTR)) return -1;
  return original(file, to, fails("short-read", 0) ? (size + 1) / 2 : size);
}

extern "C" std::size_t fread(void* to, std::size_t size, std::size_t count, std::FILE* stream) {
  static auto* const original = real<std::size_t(void*, std::size_t, std::size_t, std::FILE*)>("fread");
  if (!fails("read", EIO)) return original(to, size, count, stream);
  failed_stream = stream;
  return 0;
}

extern "C" int ferror(std::FILE* stream) {
  static auto* const original = real<int(std::FILE*)>("ferror");
  return stream == failed_stream ? 1 : original(stream);
}

extern "C" ::ssize_t write(int file, const void* from, std::size_t size) {
  static auto* const original = real<::ssize_t(int, const void*, std::size_t)>("write");
  if (fails("write", ENOSPC) || fails("interrupted", EINTR)) return -1;
  return original(file, from, fails("short-write", 0) ? (size + 1) / 2 : size);
}

extern "C" ::ssize_t pwrite(int file, const void* from, std::size_t size, ::off_t offset) {
  static auto* const original = real<::ssize_t(int, const void*, std::size_t, ::off_t)>("pwrite");
  if (fails("write", ENOSPC) || fails("interrupted", EINTR)) return -1;
  return original(file, from, fails("short-write", 0) ? (size + 1) / 2 : size, offset);
}

extern "C" ::ssize_t writev(int file, const ::iovec* pieces, int count) {
  static auto* const original = real<::ssize_t(int, const ::iovec*, int)>("writev");
  if (fails("write", ENOSPC) || fails("interrupted", EINTR)) return -1;
  if (count == 0 || !fails("short-write", 0)) return original(file, pieces, count);
  ::iovec half = *pieces;
  half.iov_len = (half.iov_len + 1) / 2;
  return original(file, &half, 1);
}

// Printing. The C library writes to stdout by functions that cannot be interposed: from the call that fails
// on the disk is full.

namespace {

void print_call(std::FILE* stream) {
  if (stream != stdout || !fails("print", ENOSPC)) return;
  const int full = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, "/dev/full", O_WRONLY));
  ::dup2(full, STDOUT_FILENO);
}

}  // namespace

extern "C" std::size_t fwrite(const void* from, std::size_t size, std::size_t count, std::FILE* stream) {
  static auto* const original =
      real<std::size_t(const void*, std::size_t, std::size_t, std::FILE*)>("fwrite");
  print_call(stream);
  return original(from, size, count, stream);
}

extern "C" int fflush(std::FILE* stream) {
  static auto* const original = real<int(std::FILE*)>("fflush");
  print_call(stream);
  return original(stream);
}

// Memory.

namespace {

/// The return addresses of a call.
struct Stack {
  std::array<void*, 64> addresses;
  std::size_t size = 0;
};

_Unwind_Reason_Code add_caller(_Unwind_Context* frame, void* to) {
  auto& stack = *static_cast<Stack*>(to);
  if (stack.size == stack.addresses.size()) return _URC_END_OF_STACK;
  stack.addresses[stack.size++] = reinterpret_cast<void*>(_Unwind_GetIP(frame));
  return _URC_NO_REASON;
}

std::uint64_t hash_of(const Stack& stack) {
  std::uint64_t hash = 1;
  for (std::size_t i = 0; i < stack.size; ++i) {
    hash = (hash ^ reinterpret_cast<std::uintptr_t>(stack.addresses[i])) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 29;
  }
  return hash;
}

/// Whether the name of a function or library is one of those that are spared.
bool is_spared(const char* name) {
  if (!name) return false;
  for (std::string_view words = spared; !words.empty();) {
    const std::string_view word = words.substr(0, words.find(','));
    if (std::string_view(name).find(word) != std::string_view::npos) return true;
    words.remove_prefix(std::min(words.size(), word.size() + 1));
  }
  return false;
}

bool is_spared(const Stack& stack) {
  for (std::size_t i = 0; i < stack.size; ++i) {
    ::Dl_info caller;
    if (::dladdr(stack.addresses[i], &caller) && (is_spared(caller.dli_sname) || is_spared(caller.dli_fname)))
      return true;
  }
  return false;
}

enum class Seen { first, again, spared };

/// Whether an earlier call came from the same place.
Seen look_up(const Stack& stack) {
  struct Entry {
    std::uint64_t hash;  // 0: none
    bool is_spared;
  };
  static std::mutex mutex;
  static std::array<Entry, 1 << 16> entries;  // open addressing
  const std::uint64_t hash = hash_of(stack);
  const std::lock_guard lock(mutex);
  std::size_t at = hash % entries.size();
  while (entries[at].hash != 0 && entries[at].hash != hash) at = (at + 1) % entries.size();
  Entry& entry = entries[at];
  const bool is_new = entry.hash == 0;
  if (is_new) entry = {hash, is_spared(stack)};
  return entry.is_spared ? Seen::spared : is_new ? Seen::first : Seen::again;
}

bool memory_fails() {
  const bool every = std::string_view(kind) == "memory";
  thread_local bool looking = false;  // which may allocate
  if (!armed || looking || !(every || std::string_view(kind) == "memory-place")) return false;
  looking = true;
  Stack stack;
  _Unwind_Backtrace(add_caller, &stack);
  const Seen seen = look_up(stack);
  looking = false;
  return (seen == Seen::first || (every && seen == Seen::again)) && fails(kind, ENOMEM);
}

}  // namespace

extern "C" void* malloc(std::size_t size) { return memory_fails() ? nullptr : __libc_malloc(size); }

extern "C" void* calloc(std::size_t count, std::size_t size) {
  return memory_fails() ? nullptr : __libc_calloc(count, size);
}

extern "C" void* realloc(void* block, std::size_t size) {
  return memory_fails() ? nullptr : __libc_realloc(block, size);
}

extern "C" void* memalign(std::size_t alignment, std::size_t size) {
  return memory_fails() ? nullptr : __libc_memalign(alignment, size);
}

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

extern "C" int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  void* const found = memalign(alignment, size);
  if (!found) return ENOMEM;
  *block = found;
  return 0;
}

extern "C" int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(),
                                 void (*fini)(), void (*rtld_fini)(), void* stack_end) {
  static auto* const original =
      real<int(int (*)(int, char**, char**), int, char**, void (*)(), void (*)(), void (*)(), void*)>(
          "__libc_start_main");
  program_main = main;
  return original(main_with_faults, argc, argv, init, fini, rtld_fini, stack_end);
}
