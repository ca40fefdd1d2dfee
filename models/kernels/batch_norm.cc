// BatchNorm in training, and what may follow: a ReLU, or the addition of a shortcut and a ReLU; forward and backward,
// NCHW; sums are in double precision.
//
// A channel of a batch mostly fits into the second cache, so it is gone over as often as exactness asks for: for the
// mean, for the variance around it, and for the output. What follows costs nothing then, neither time nor memory: the
// gradient of the ReLU is masked by the output, which is computed again from the input if there is no shortcut.

#include <cmath>
#include <cstdint>

#include "planes.h"

namespace {

enum After { kNothing, kRelu, kAddRelu };

// What lies between 0 and the ceiling, which is infinite for a plain ReLU.
template <typename V, typename T>
inline V clamped(V y, T ceiling) {
  y = y > T(0) ? y : V{};
  return y < ceiling ? y : ceiling - V{};
}

template <typename V, typename T>
inline V masked(V grad, V y, T ceiling) {
  return (y > T(0)) & (y < ceiling) ? grad : V{};
}

// `statistics` gets the mean and 1 / sqrt(variance + eps) of each channel; the variance is the biased one.
template <typename T, After kAfter>
void forward(const Planes& s, const T* x, const T* weight, const T* bias, const T* shortcut, double eps,
             double momentum, double ceiling, T* out, double* statistics, T* running_mean,
             T* running_variance) {
  const double count = double(s.images * s.size);
  const T top = T(ceiling);
#pragma omp parallel for
  for (int64_t c = 0; c < s.channels; ++c) {
    const auto plane = [&](int64_t n) { return x + (n * s.channels + c) * s.size; };
    double mean = 0, variance = 0;
    for (int64_t n = 0; n < s.images; ++n) {
      const T* p = plane(n);
      mean += plane_sum<T>(s.size, [p](int64_t i) { return load(p + i); }, [p](int64_t i) { return double(p[i]); });
    }
    mean /= count;
    const T near = T(mean);
    for (int64_t n = 0; n < s.images; ++n) {
      const T* p = plane(n);
      const auto square = [p, near](int64_t i) {
        const Vector<T> d = load(p + i) - near;
        return d * d;
      };
      variance += plane_sum<T>(s.size, square, [p, near](int64_t i) {
        const double d = double(p[i]) - near;
        return d * d;
      });
    }
    variance = variance / count - (mean - near) * (mean - near);
    const double inverse = 1 / std::sqrt(variance + eps);
    statistics[2 * c] = mean;
    statistics[2 * c + 1] = inverse;
    running_mean[c] = T(momentum * running_mean[c] + (1 - momentum) * mean);
    running_variance[c] = T(momentum * running_variance[c] + (1 - momentum) * variance);
    const T slope = T(weight[c] * inverse), offset = T(bias[c] + (near - mean) * inverse * weight[c]);
    for (int64_t n = 0; n < s.images; ++n) {
      const T *p = plane(n), *q = kAfter == kAddRelu ? shortcut + (n * s.channels + c) * s.size : nullptr;
      T* to = out + (n * s.channels + c) * s.size;
      int64_t i = 0;
      for (; i + kLanes<T> <= s.size; i += kLanes<T>) {
        Vector<T> y = (load(p + i) - near) * slope + offset;
        if (kAfter == kAddRelu) y += load(q + i);
        store(to + i, kAfter ? clamped(y, top) : y);
      }
      for (; i < s.size; ++i) {
        T y = (p[i] - near) * slope + offset;
        if (kAfter == kAddRelu) y += q[i];
        to[i] = kAfter ? clamped(y, top) : y;
      }
    }
  }
}

// With a shortcut, `out` is what came out of it, and the gradient of the shortcut is what the ReLU lets through.
template <typename T, After kAfter>
void backward(const Planes& s, const T* x, const T* weight, const T* bias, const T* out, const double* statistics,
              double ceiling, const T* grad, T* x_grad, T* weight_grad, T* bias_grad, T* shortcut_grad) {
  const double count = double(s.images * s.size);
  const T top = T(ceiling);
#pragma omp parallel for
  for (int64_t c = 0; c < s.channels; ++c) {
    const double mean = statistics[2 * c], inverse = statistics[2 * c + 1];
    const T near = T(mean), slope = T(weight[c] * inverse), offset = T(bias[c] + (near - mean) * inverse * weight[c]);
    double sum = 0, moment = 0;  // of the gradient, and of it times what the input is off the mean
    for (int64_t n = 0; n < s.images; ++n) {
      const int64_t at = (n * s.channels + c) * s.size;
      const T *p = x + at, *q = grad + at, *y = kAfter == kAddRelu ? out + at : nullptr;
      T* passed = kAfter == kAddRelu ? shortcut_grad + at : nullptr;
      Vector<T> a{}, b{}, d{}, e{};
      const auto add = [&](int64_t i, Vector<T>& to_sum, Vector<T>& to_moment) {
        const Vector<T> value = load(p + i) - near;
        Vector<T> g = load(q + i);
        if (kAfter == kRelu) g = masked(g, value * slope + offset, top);
        if (kAfter == kAddRelu) store(passed + i, g = masked(g, load(y + i), top));
        to_sum += g;
        to_moment += g * value;
      };
      int64_t i = 0;
      for (; i + 2 * kLanes<T> <= s.size; i += 2 * kLanes<T>) {
        add(i, a, b);
        add(i + kLanes<T>, d, e);
      }
      for (; i + kLanes<T> <= s.size; i += kLanes<T>) add(i, a, b);
      sum += sum_of<T>(a + d);
      moment += sum_of<T>(b + e);
      for (; i < s.size; ++i) {
        T g = q[i];
        if (kAfter == kRelu) g = masked(g, T((p[i] - near) * slope + offset), top);
        if (kAfter == kAddRelu) passed[i] = g = masked(g, y[i], top);
        sum += g;
        moment += double(g) * (p[i] - near);
      }
    }
    moment = (moment - sum * (mean - near)) * inverse;
    bias_grad[c] = T(sum);
    weight_grad[c] = T(moment);
    const double scale = weight[c] * inverse, tilt = -scale * inverse * moment / count;
    const T by_grad = T(scale), by_x = T(tilt), constant = T(-scale * sum / count - tilt * (mean - near));
    for (int64_t n = 0; n < s.images; ++n) {
      const int64_t at = (n * s.channels + c) * s.size;
      const T *p = x + at, *q = (kAfter == kAddRelu ? shortcut_grad : grad) + at;
      T* to = x_grad + at;
      int64_t i = 0;
      for (; i + kLanes<T> <= s.size; i += kLanes<T>) {
        const Vector<T> value = load(p + i) - near;
        const Vector<T> g = kAfter == kRelu ? masked(load(q + i), value * slope + offset, top) : load(q + i);
        store(to + i, g * by_grad + (value * by_x + constant));
      }
      for (; i < s.size; ++i) {
        const T g = kAfter == kRelu ? masked(q[i], T((p[i] - near) * slope + offset), top) : q[i];
        to[i] = g * by_grad + ((p[i] - near) * by_x + constant);
      }
    }
  }
}

}  // namespace

// A negative ceiling means that no ReLU follows; without a shortcut its pointers are null.
#define DEFINE(T)                                                                                                     \
  extern "C" void batch_norm_##T(const Planes* s, const T* x, const T* weight, const T* bias, const T* shortcut,       \
                                 double eps, double momentum, double ceiling, T* out, double* statistics,             \
                                 T* running_mean, T* running_variance) {                                              \
    const auto run = ceiling < 0 ? forward<T, kNothing> : shortcut ? forward<T, kAddRelu> : forward<T, kRelu>;        \
    run(*s, x, weight, bias, shortcut, eps, momentum, ceiling, out, statistics, running_mean, running_variance);      \
  }                                                                                                                   \
  extern "C" void batch_norm_grad_##T(const Planes* s, const T* x, const T* weight, const T* bias, const T* out,       \
                                      const double* statistics, double ceiling, const T* grad, T* x_grad,             \
                                      T* weight_grad, T* bias_grad, T* shortcut_grad) {                               \
    const auto run = ceiling < 0 ? backward<T, kNothing> : out ? backward<T, kAddRelu> : backward<T, kRelu>;          \
    run(*s, x, weight, bias, out, statistics, ceiling, grad, x_grad, weight_grad, bias_grad, shortcut_grad);          \
  }
DEFINE(float)
DEFINE(double)
