// Vectors as wide as this CPU has them; the compiler takes them apart where it has none.
#pragma once

#include <cstdint>

#ifdef __AVX512F__
constexpr int64_t kVectorBytes = 64;
#else
constexpr int64_t kVectorBytes = 32;
#endif

template <typename T>
struct VectorOf {
  static constexpr int64_t kLanes = kVectorBytes / sizeof(T);
  typedef T Aligned __attribute__((vector_size(kVectorBytes)));
  typedef T Anywhere __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
};

template <typename T>
using Vector = typename VectorOf<T>::Aligned;

template <typename T>
constexpr int64_t kLanes = VectorOf<T>::kLanes;

template <typename T>
inline Vector<T> load(const T* from) {
  return *reinterpret_cast<const typename VectorOf<T>::Anywhere*>(from);
}

template <typename T>
inline void store(T* to, Vector<T> value) {
  *reinterpret_cast<typename VectorOf<T>::Anywhere*>(to) = value;
}

// All lanes alike.
template <typename T>
inline Vector<T> filled(T value) {
  return value - Vector<T>{};
}

// The sum of the lanes, in double precision.
template <typename T>
inline double sum_of(Vector<T> value) {
  double total = 0;
  for (int64_t i = 0; i < kLanes<T>; ++i) total += value[i];
  return total;
}
