// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

/// What the sanitizers must be told. The emulator itself is compiled without instrumentation, or its
/// bookkeeping would be taken for the kernels'; KG_EMULATOR_ASAN or KG_EMULATOR_TSAN says which sanitizer the
/// kernels are built with.

#ifdef KG_EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef KG_EMULATOR_TSAN
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_read_range(void* address, unsigned long bytes);
void __tsan_write_range(void* address, unsigned long bytes);
void __tsan_ignore_thread_begin();
void __tsan_ignore_thread_end();
}
#endif

namespace emulator {

#ifdef KG_EMULATOR_ASAN
inline constexpr bool with_asan = true;
inline void poison(const void* memory, std::size_t bytes) { __asan_poison_memory_region(memory, bytes); }
inline void unpoison(const void* memory, std::size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }
inline void before_report(void (*function)()) {
  static void (*callback)();
  callback = function;
  __asan_set_error_report_callback([](const char*) { callback(); });
}
/// Before and after a change of stacks. `own` keeps what ASan knows of the stack that is left.
inline void start_stack_switch(void** own, const void* bottom, std::size_t bytes) {
  __sanitizer_start_switch_fiber(own, bottom, bytes);
}
inline void finish_stack_switch(void* own, const void** old_bottom, std::size_t* old_bytes) {
  __sanitizer_finish_switch_fiber(own, old_bottom, old_bytes);
}
#else
inline constexpr bool with_asan = false;
inline void poison(const void*, std::size_t) {}
inline void unpoison(const void*, std::size_t) {}
inline void before_report(void (*)()) {}
inline void start_stack_switch(void**, const void*, std::size_t) {}
inline void finish_stack_switch(void*, const void**, std::size_t*) {}
#endif

/// ThreadSanitizer's order of events. A "thread" is one of its fibers; a "sync address" joins the histories
/// of those who release to it into those who acquire from it later.
#ifdef KG_EMULATOR_TSAN
inline constexpr bool with_tsan = true;
inline void* new_tsan_thread() { return __tsan_create_fiber(0); }
inline void delete_tsan_thread(void* thread) { __tsan_destroy_fiber(thread); }
inline void* current_tsan_thread() { return __tsan_get_current_fiber(); }
/// Flag 1: without the order that TSan would otherwise assume between the two.
inline void switch_tsan_thread(void* thread) { __tsan_switch_to_fiber(thread, 1); }
inline void acquire(void* sync) { __tsan_acquire(sync); }
inline void release(void* sync) { __tsan_release(sync); }
/// What code does that is not instrumented.
inline void note_read(const void* memory, std::size_t bytes) {
  __tsan_read_range(const_cast<void*>(memory), bytes);
}
inline void note_write(const void* memory, std::size_t bytes) {
  __tsan_write_range(const_cast<void*>(memory), bytes);
}
/// Accesses within this scope by functions that TSan intercepts (memset) are the emulator's.
struct Unobserved {
  Unobserved() { __tsan_ignore_thread_begin(); }
  ~Unobserved() { __tsan_ignore_thread_end(); }
};
/// Within an Unobserved scope: these are the program's after all.
struct Observed {
  Observed() { __tsan_ignore_thread_end(); }
  ~Observed() { __tsan_ignore_thread_begin(); }
};
#else
inline constexpr bool with_tsan = false;
inline void* new_tsan_thread() { return nullptr; }
inline void delete_tsan_thread(void*) {}
inline void* current_tsan_thread() { return nullptr; }
inline void switch_tsan_thread(void*) {}
inline void acquire(void*) {}
inline void release(void*) {}
inline void note_read(const void*, std::size_t) {}
inline void note_write(const void*, std::size_t) {}
struct Unobserved {
  Unobserved() {}
};
struct Observed {
  Observed() {}
};
#endif

}  // namespace emulator
