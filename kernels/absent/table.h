#pragma once

/// Defines the table of an operation that is not built: asking for it throws, by the function absent(name) of
/// the namespace around it.
#define KG_ABSENT(Kernels, op)         \
  template <class T>                   \
  const Kernels<T>& op() {             \
    absent(#op);                       \
  }                                    \
  template const Kernels<float>& op(); \
  template const Kernels<double>& op();
