// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

struct CUstream_st;

/// The emulated device without CUDA's types: the stand-ins' tests are compiled with the toolkit's headers,
/// which the emulator's conflict with.
namespace device {

void* allocate(std::size_t bytes);
void* allocate_on(CUstream_st*, std::size_t bytes);
void release(void*);
void release_on(CUstream_st*, void*);
/// Copies of what the host and the device have done so far.
void upload(void* to, const void* from, std::size_t bytes);
void download(void* to, const void* from, std::size_t bytes);

CUstream_st* create_stream();
void destroy_stream(CUstream_st*);
void wait_for(CUstream_st*);

void begin_capture(CUstream_st*);
/// A recording, to be replayed.
class Graph {
 public:
  explicit Graph(CUstream_st* captured);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void replay(CUstream_st*) const;

 private:
  void* executable_;
};

/// An array in device memory.
template <class T>
class Array {
 public:
  explicit Array(std::size_t size) : size_(size), data_(static_cast<T*>(allocate(size * sizeof(T)))) {}
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    upload(data_, values.data(), size_ * sizeof(T));
  }
  ~Array() { release(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> result(size_);
    download(result.data(), data_, size_ * sizeof(T));
    return result;
  }

 private:
  std::size_t size_;
  T* data_;
};

}  // namespace device
