// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <utility>

/// Results in a form of a backend's own. A backend may keep what one of its kernels computed as it suits the
/// next: in another layout, or as what has yet to be done to another array. Nobody else sees that: whoever
/// asks for the elements gets them plain, contiguous and row-major.
///
///     conv2d -> Output::keep(form) -> storage -> Input::form<F>() -> the next conv2d
///                                        \-> Storage::data() -> form.write_plain() -> everybody else
///
/// A kernel that takes part says so in its contract, by an Input or Output in the place of a pointer.
namespace kg::kernels {

/// An array's elements in a form of a backend's own. It never changes, and nothing that it refers to does.
class Form {
 public:
  virtual ~Form() = default;
  /// Writes all elements, of the array's dtype, contiguous and row-major.
  virtual void write_plain(void* elements) const = 0;
};

/// What holds an array's elements: plain or in a form. A tensor's storage is one.
class Holder {
 public:
  /// The elements, made plain if they were not. Whoever has the pointer may write: the form is gone.
  virtual void* plain() = 0;
  /// Null where the elements are plain.
  virtual std::shared_ptr<const Form> form() const = 0;
  /// Whether keep() would hold a form, and not write plain elements at once.
  virtual bool takes_form() const = 0;
  /// From now on these are the elements. For an array that nobody has written to yet.
  virtual void keep(std::shared_ptr<const Form> form) = 0;

 protected:
  ~Holder() = default;
};

/// An array that a kernel reads. Null where an optional one is not given.
template <class T>
class Input {
 public:
  Input(const T* plain) : plain_(plain) {}
  Input(Holder& holder) : holder_(&holder) {}

  explicit operator bool() const { return plain_ || holder_; }
  /// The plain elements.
  operator const T*() const { return holder_ ? static_cast<const T*>(holder_->plain()) : plain_; }
  /// The elements if they are in a form of class F; null otherwise.
  template <class F>
  std::shared_ptr<const F> form() const {
    return holder_ ? std::dynamic_pointer_cast<const F>(holder_->form()) : nullptr;
  }

 private:
  const T* plain_ = nullptr;
  Holder* holder_ = nullptr;
};

/// An array that a kernel writes, wholly. Null where an optional one is not wanted.
template <class T>
class Output {
 public:
  Output(T* plain) : plain_(plain) {}
  Output(Holder& holder) : holder_(&holder) {}

  explicit operator bool() const { return plain_ || holder_; }
  /// Where the plain elements go.
  operator T*() const { return holder_ ? static_cast<T*>(holder_->plain()) : plain_; }
  /// False if keep() writes plain elements: the caller gave a pointer.
  bool takes_form() const { return holder_ && holder_->takes_form(); }
  /// Writes the elements as a form, or plain.
  void keep(std::shared_ptr<const Form> form) const {
    if (holder_)
      holder_->keep(std::move(form));
    else
      form->write_plain(plain_);
  }

 private:
  T* plain_ = nullptr;
  Holder* holder_ = nullptr;
};

/// A kernel on pointers as a function of a table whose contract has an Input or Output: for a backend, or an
/// operation in it, that keeps no forms. `Conv2dKernels<T> conv2d{plain<forward<T>>, ...}`
template <auto kernel>
struct Plain {
  template <class... Parameters>
  using Function = void (*)(Parameters...);
  template <class... Parameters>
  constexpr operator Function<Parameters...>() const {
    return [](Parameters... parameters) { kernel(parameters...); };
  }
};
template <auto kernel>
inline constexpr Plain<kernel> plain;

}  // namespace kg::kernels
