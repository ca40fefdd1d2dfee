// Depthwise convolution over frames, rows and columns, forward and backward, NCTHW; images have one frame. Sums of a
// kernel's gradient are in double precision.
//
// The frames of a channel are copied into a padded volume, cut into phases: all pixels of one frame, row and column
// modulo their strides. Then every tap of the kernel is a plain shift of one phase, rows and frames follow each
// other without a gap, and one loop of whole vectors covers the volume, whatever its width. What the loop computes
// between the rows and the frames is left behind.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace {

// As `models.kernels.depthwise_conv` packs it.
struct Geometry {
  int64_t clips, channels, frames, height, width, out_frames, out_height, out_width, kernel_frames, kernel_height,
      kernel_width, frame_stride, stride, front, top, left;

  int64_t size() const { return frames * height * width; }
  int64_t out_size() const { return out_frames * out_height * out_width; }
  int64_t taps() const { return kernel_frames * kernel_height * kernel_width; }
  int64_t phases() const { return frame_stride * stride * stride; }
};

// out[i] = sum over k of weights[k] * in[offsets[k] + i], for i < count in whole vectors.
template <typename T, int kTaps>
void correlate(const T* in, const int64_t* offsets, const T* weights, T* out, int64_t count) {
  const T* from[kTaps];
  Vector<T> weight[kTaps];
  for (int k = 0; k < kTaps; ++k) {
    from[k] = in + offsets[k];
    weight[k] = filled(weights[k]);
  }
  for (int64_t i = 0; i < count; i += kLanes<T>) {
    Vector<T> total = weight[0] * load(from[0] + i);
    for (int k = 1; k < kTaps; ++k) total += weight[k] * load(from[k] + i);
    store(out + i, total);
  }
}

template <typename T>
void correlate(const T* in, const int64_t* offsets, const T* weights, int64_t taps, T* out, int64_t count) {
  switch (taps) {  // of kernels of 3 x 3, 3 x 3 x 3 and 5 x 1 x 1, and of their phases with a stride of 2
    case 1:
      return correlate<T, 1>(in, offsets, weights, out, count);
    case 2:
      return correlate<T, 2>(in, offsets, weights, out, count);
    case 4:
      return correlate<T, 4>(in, offsets, weights, out, count);
    case 3:
      return correlate<T, 3>(in, offsets, weights, out, count);
    case 5:
      return correlate<T, 5>(in, offsets, weights, out, count);
    case 8:
      return correlate<T, 8>(in, offsets, weights, out, count);
    case 6:
      return correlate<T, 6>(in, offsets, weights, out, count);
    case 9:
      return correlate<T, 9>(in, offsets, weights, out, count);
    case 12:
      return correlate<T, 12>(in, offsets, weights, out, count);
    case 27:
      return correlate<T, 27>(in, offsets, weights, out, count);
  }
  for (int64_t i = 0; i < count; i += kLanes<T>) {
    Vector<T> total{};
    for (int64_t k = 0; k < taps; ++k) total += filled(weights[k]) * load(in + offsets[k] + i);
    store(out + i, total);
  }
}

// sums[k] += sum over i < count of grad[i] * in[offsets[k] + i].
template <typename T, int kTaps>
void correlate_grad(const T* in, const int64_t* offsets, const T* grad, double* sums, int64_t count) {
  Vector<T> total[kTaps] = {};
  for (int64_t i = 0; i < count; i += kLanes<T>) {
    const Vector<T> g = load(grad + i);
    for (int k = 0; k < kTaps; ++k) total[k] += g * load(in + offsets[k] + i);
  }
  for (int k = 0; k < kTaps; ++k) sums[k] += sum_of<T>(total[k]);
}

// One thread's room for a volume.
template <typename T>
class Volume {
 public:
  explicit Volume(const Geometry& geometry) : g_(geometry) {
    const int64_t stride = g_.stride, frame_stride = g_.frame_stride;
    frames_ = ((g_.out_frames - 1) * frame_stride + g_.kernel_frames + frame_stride - 1) / frame_stride;
    rows_ = ((g_.out_height - 1) * stride + g_.kernel_height + stride - 1) / stride;
    row_ = ((g_.out_width - 1) * stride + g_.kernel_width + stride - 1) / stride;
    frame_ = rows_ * row_;
    count_ = in_vectors((g_.out_frames - 1) * frame_ + (g_.out_height - 1) * row_ + g_.out_width);
    phase_count_ = in_vectors(frames_ * frame_);
    phase_size_ = phase_count_ + kLanes<T>;
    taps_.resize(g_.phases());
    for (int64_t index = 0; index < g_.taps(); ++index) {
      const int64_t j = index % g_.kernel_width, i = index / g_.kernel_width % g_.kernel_height;
      const int64_t t = index / g_.kernel_width / g_.kernel_height;
      const int64_t phase = (t % frame_stride * stride + i % stride) * stride + j % stride;
      const int64_t shift = t / frame_stride * frame_ + i / stride * row_ + j / stride;
      taps_[phase].push_back({index, shift});
      offsets_.push_back(phase * phase_size_ + shift);
      lead_ = std::max(lead_, shift);
    }
    const int64_t size = g_.phases() * phase_size_ + lead_ + kLanes<T>;
    in_.assign(size, T(0));
    in_grad_.assign(size, T(0));
    out_.assign(count_, T(0));
    grad_.assign(lead_ + std::max(count_, phase_count_) + kLanes<T>, T(0));
  }

  void forward(const T* in, const T* weights, T* out) {
    read(in);
    correlate(in_.data(), offsets_.data(), weights, g_.taps(), out_.data(), count_);
    each_out_row([&](int64_t at, int64_t in_memory) {
      for (int64_t x = 0; x < g_.out_width; ++x) out[in_memory + x] = out_[at + x];
    });
  }

  void read_grad(const T* grad) {
    each_out_row([&](int64_t at, int64_t in_memory) {
      for (int64_t x = 0; x < g_.out_width; ++x) grad_[lead_ + at + x] = grad[in_memory + x];
    });
  }

  // Of the gradient that was read last; adds to `sums`.
  void weights_grad(const T* in, double* sums) {
    read(in);
    const T* grad = grad_.data() + lead_;
    int64_t k = 0;
    for (; k + 9 <= g_.taps(); k += 9) correlate_grad<T, 9>(in_.data(), &offsets_[k], grad, sums + k, count_);
    for (; k < g_.taps(); ++k) correlate_grad<T, 1>(in_.data(), &offsets_[k], grad, sums + k, count_);
  }

  // Of the gradient that was read last.
  void in_grad(const T* weights, T* in_grad) {
    for (size_t phase = 0; phase < taps_.size(); ++phase) {
      phase_offsets_.clear();
      phase_weights_.clear();
      for (const Tap& tap : taps_[phase]) {
        phase_offsets_.push_back(lead_ - tap.shift);
        phase_weights_.push_back(weights[tap.index]);
      }
      correlate(grad_.data(), phase_offsets_.data(), phase_weights_.data(), int64_t(phase_weights_.size()),
                in_grad_.data() + phase * phase_size_, phase_count_);
    }
    for (int64_t t = 0; t < g_.frames; ++t) {
      for (int64_t y = 0; y < g_.height; ++y) {
        T* to = in_grad + (t * g_.height + y) * g_.width;
        const int64_t end = is_read(t, y) ? columns_read() : 0;
        each_run(end, [&](int64_t first, int64_t step, int64_t at, int64_t n) {
          const T* from = in_grad_.data() + row_of(t, y) + at;
          for (int64_t i = 0; i < n; ++i) to[first + step * i] = from[i];
        });
        std::fill(to + end, to + g_.width, T(0));
      }
    }
  }

 private:
  struct Tap {
    int64_t index, shift;
  };

  static int64_t in_vectors(int64_t count) { return (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>; }

  // Calls f(at, in_memory) for each row of the output: where it begins in the loop's, and in memory.
  template <typename F>
  void each_out_row(F f) const {
    for (int64_t t = 0; t < g_.out_frames; ++t) {
      for (int64_t y = 0; y < g_.out_height; ++y) {
        f(t * frame_ + y * row_, (t * g_.out_height + y) * g_.out_width);
      }
    }
  }

  void read(const T* in) {
    for (int64_t t = 0; t < g_.frames; ++t) {
      for (int64_t y = 0; y < g_.height; ++y) {
        if (!is_read(t, y)) break;
        const T* from = in + (t * g_.height + y) * g_.width;
        each_run(columns_read(), [&](int64_t first, int64_t step, int64_t at, int64_t n) {
          T* to = in_.data() + row_of(t, y) + at;
          for (int64_t i = 0; i < n; ++i) to[i] = from[first + step * i];
        });
      }
    }
  }

  // The last frames, rows and columns are read by no tap where the stride leaves them over.
  bool is_read(int64_t t, int64_t y) const {
    return (t + g_.front) / g_.frame_stride < frames_ && (y + g_.top) / g_.stride < rows_;
  }
  int64_t columns_read() const { return std::clamp<int64_t>(row_ * g_.stride - g_.left, 0, g_.width); }

  // Where the phases hold row y of frame t, as far as these decide it.
  int64_t row_of(int64_t t, int64_t y) const {
    const int64_t frame = t + g_.front, row = y + g_.top;
    const int64_t phase = (frame % g_.frame_stride * g_.stride + row % g_.stride) * g_.stride;
    return phase * phase_size_ + frame / g_.frame_stride * frame_ + row / g_.stride * row_;
  }

  // Calls f(first, step, at, n) for each phase of a row: its columns first + step * i lie at + i, for i < n.
  template <typename F>
  void each_run(int64_t end, F f) const {
    if (g_.stride == 1) return f(0, 1, g_.left, end);
    for (int64_t first = 0; first < std::min(g_.stride, end); ++first) {
      const int64_t column = first + g_.left, n = (end - first + g_.stride - 1) / g_.stride;
      const int64_t at = column % g_.stride * phase_size_ + column / g_.stride;
      if (g_.stride == 2) {
        f(first, 2, at, n);
      } else {
        f(first, g_.stride, at, n);
      }
    }
  }

  const Geometry& g_;
  int64_t frames_, rows_, row_, frame_, count_, phase_count_, phase_size_, lead_ = 0;
  std::vector<std::vector<Tap>> taps_;
  std::vector<int64_t> offsets_, phase_offsets_;
  std::vector<T> in_, in_grad_, out_, grad_, phase_weights_;
};

template <typename T>
void forward(const Geometry& g, const T* x, const T* weights, T* out) {
#pragma omp parallel
  {
    Volume<T> volume(g);
#pragma omp for
    for (int64_t i = 0; i < g.clips * g.channels; ++i) {
      volume.forward(x + i * g.size(), weights + i % g.channels * g.taps(), out + i * g.out_size());
    }
  }
}

// A thread takes whole channels, so that the sums do not depend on the number of threads.
template <typename T>
void backward(const Geometry& g, const T* x, const T* weights, const T* grad, T* x_grad, T* weights_grad) {
  const int64_t taps = g.taps();
#pragma omp parallel
  {
    Volume<T> volume(g);
    std::vector<double> sums(taps);
#pragma omp for
    for (int64_t c = 0; c < g.channels; ++c) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t n = 0; n < g.clips; ++n) {
        const int64_t i = n * g.channels + c;
        volume.read_grad(grad + i * g.out_size());
        if (weights_grad) volume.weights_grad(x + i * g.size(), sums.data());
        if (x_grad) volume.in_grad(weights + c * taps, x_grad + i * g.size());
      }
      if (weights_grad) {
        for (int64_t k = 0; k < taps; ++k) weights_grad[c * taps + k] = T(sums[k]);
      }
    }
  }
}

}  // namespace

#define DEFINE(T)                                                                                        \
  extern "C" void depthwise_conv_##T(const Geometry* g, const T* x, const T* weights, T* out) {        \
    forward(*g, x, weights, out);                                                                        \
  }                                                                                                      \
  extern "C" void depthwise_conv_grad_##T(const Geometry* g, const T* x, const T* weights,             \
                                            const T* grad, T* x_grad, T* weights_grad) {                 \
    backward(*g, x, weights, grad, x_grad, weights_grad);                                                \
  }
DEFINE(float)
DEFINE(double)
