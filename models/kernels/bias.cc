// The bias of a convolution, NCHW: added to its output, and its gradient, whose sums over images are in double precision.

#include <cstdint>

#include "planes.h"

namespace {

template <typename T>
void add(const Planes& p, const T* bias, T* out) {
#pragma omp parallel for
  for (int64_t plane = 0; plane < p.images * p.channels; ++plane) {
    const T value = bias[plane % p.channels];
    T* to = out + plane * p.size;
    for (int64_t i = 0; i < p.size; ++i) to[i] += value;
  }
}

template <typename T>
void backward(const Planes& p, const T* grad, T* bias_grad) {
#pragma omp parallel for
  for (int64_t c = 0; c < p.channels; ++c) {
    double total = 0;
    for (int64_t n = 0; n < p.images; ++n) {
      const T* from = grad + (n * p.channels + c) * p.size;
      total += plane_sum<T>(
          p.size, [&](int64_t i) { return load(from + i); }, [&](int64_t i) { return from[i]; });
    }
    bias_grad[c] = T(total);
  }
}

}  // namespace

#define DEFINE(T)                                                                            \
  extern "C" void bias_##T(const Planes* p, const T* bias, T* out) { add(*p, bias, out); } \
  extern "C" void bias_grad_##T(const Planes* p, const T* grad, T* bias_grad) { backward(*p, grad, bias_grad); }
DEFINE(float)
DEFINE(double)
