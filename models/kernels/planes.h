// Maps NCHW or NCTHW as planes, one for each channel of each image.
#pragma once

#include <cstdint>

#include "vectors.h"

// As `models.kernels.planes_of` packs it; `size` is H * W, or T * H * W.
struct Planes {
  int64_t images, channels, size;
};

// Sum over a plane: `vector_at` says what is added for the vector that begins at i, `scalar_at` for what is left.
template <typename T, typename F, typename G>
double plane_sum(int64_t size, F vector_at, G scalar_at) {
  constexpr int64_t n = kLanes<T>;
  Vector<T> a{}, b{}, c{}, d{};  // side by side, so that one addition need not wait for another
  int64_t i = 0;
  for (; i + 4 * n <= size; i += 4 * n) {
    a += vector_at(i);
    b += vector_at(i + n);
    c += vector_at(i + 2 * n);
    d += vector_at(i + 3 * n);
  }
  for (; i + n <= size; i += n) a += vector_at(i);
  double total = sum_of<T>((a + b) + (c + d));
  for (; i < size; ++i) total += scalar_at(i);
  return total;
}
