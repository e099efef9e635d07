// SPDX-License-Identifier: MIT
#pragma once

#include <cudnn.h>

#include <cstddef>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "device_call.h"

/// What the families of the stand-in for cuDNN share: statuses, handles and descriptors.
namespace standin {

/// Thrown by a function's body: the status to return, and the reason for cudnnGetLastErrorString().
struct Refusal {
  cudnnStatus_t status;
  std::string reason;
};

inline void require(bool holds, const std::string& what, cudnnStatus_t otherwise = CUDNN_STATUS_BAD_PARAM) {
  if (!holds) throw Refusal{otherwise, what};
}

void set_last_error(const std::string& reason);

/// Runs the body of a function of cuDNN's.
template <class Body>
cudnnStatus_t return_status(const char* function, Body body) try {
  body();
  return CUDNN_STATUS_SUCCESS;
} catch (const Refusal& refusal) {
  set_last_error(std::string(function) + ": " + refusal.reason);
  return refusal.status;
}

/// The objects of one kind that a program has created. What it has destroyed keeps its address, so that it
/// is not taken for something newer.
template <class Object>
class Registry {
 public:
  Object* create() {
    const std::lock_guard lock(mutex_);
    Object* const object = &objects_.emplace_back();
    live_.insert(object);
    return object;
  }
  void destroy(Object* object, const char* argument) {
    find(object, argument);
    const std::lock_guard lock(mutex_);
    live_.erase(object);
  }
  Object& find(Object* object, const char* argument) {
    const std::lock_guard lock(mutex_);
    require(live_.contains(object), std::string(argument) + " is null or does not exist");
    return *object;
  }

 private:
  std::mutex mutex_;
  std::deque<Object> objects_;
  std::set<const Object*> live_;
};

template <class Object>
Registry<Object>& registry() {
  static auto& registry = *new Registry<Object>;
  return registry;
}

/// Creates an object behind `result`, which cuDNN's functions are given as a pointer.
template <class Object>
void create(Object** result) {
  require(result != nullptr, "the place for the result is null");
  *result = registry<Object>().create();
}

/// As cuDNN does, takes the destruction of nothing for a success.
template <class Object>
void destroy(Object* object, const char* argument) {
  if (object) registry<Object>().destroy(object, argument);
}

/// A tensor of NCHW format, or a filter (n output channels, c input channels of a group). Packed.
struct Shape {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int n = 0, c = 0, h = 0, w = 0;

  std::size_t size() const { return static_cast<std::size_t>(n) * static_cast<std::size_t>(c) * plane(); }
  std::size_t plane() const { return static_cast<std::size_t>(h) * static_cast<std::size_t>(w); }
  std::size_t index(int i, int j, int y, int x) const {
    return ((static_cast<std::size_t>(i) * static_cast<std::size_t>(c) + static_cast<std::size_t>(j)) *
                static_cast<std::size_t>(h) +
            static_cast<std::size_t>(y)) *
               static_cast<std::size_t>(w) +
           static_cast<std::size_t>(x);
  }
  bool is_double() const { return type == CUDNN_DATA_DOUBLE; }
  bool operator==(const Shape&) const = default;
};

/// What descriptors say. Refuse those that do not exist or have not been set.
Shape shape_of(cudnnTensorDescriptor_t, const char* argument);
Shape shape_of(cudnnFilterDescriptor_t, const char* argument);

/// The stream of a handle.
CUstream_st* stream_of(cudnnHandle_t);

/// Refuses nullptr.
Array array(const char* argument, const void* memory, const Shape&);
/// alpha or beta: a double for tensors of double, else a float. Refuses nullptr.
double scalar(const char* function, const char* argument, const void*, const Shape&);
/// Queues the work, or refuses because the stream's capture is invalid.
void run(DeviceCall&, std::function<void()> work, const char* in_place = "");

}  // namespace standin

struct cudnnContext {
  CUstream_st* stream = nullptr;
};
struct cudnnTensorStruct {
  bool set = false;
  standin::Shape shape;
};
struct cudnnFilterStruct {
  bool set = false;
  standin::Shape shape;
};
