// Dense convolution of clips, forward and backward, NCTHW, as matrix products with the columns of what each tap sees.
//
// Columns are made for a strip of the output at a time, which stays in the cache, and not at all for a kernel of one.
// Small maps of several images make one strip: a product of 49 columns reaches half of the speed of one of 500.

#include <algorithm>
#include <cstdint>

#include "gemm.h"

namespace {

constexpr int64_t kFewest = 256;  // columns of a strip

// Rows of the output: some of one image, or all of several images.
struct Strip {
  int64_t image, images, row, rows;
};

template <typename T>
class Columns {
 public:
  explicit Columns(const Convolution& g)
      : g_(g),
        size_(g.height * g.width),
        out_size_(g.out_height * g.out_width),
        taps_(g.kernel_frames * g.kernel_height * g.kernel_width),
        is_pointwise_(taps_ == 1 && g.stride == 1 && g.stride_frames == 1 && g.front == 0 && g.top == 0 &&
                      g.left == 0) {
    const int64_t fitting = std::max<int64_t>(1024 * 1024 / (depth() * int64_t(sizeof(T))), kFewest);
    images_ = std::clamp<int64_t>(out_size_ < kFewest / 2 ? 2 * kFewest / out_size_ : 1, 1, g.images());
    rows_ = images_ > 1 || is_pointwise_ ? g.out_height : std::clamp<int64_t>(fitting / g.out_width, 1, g.out_height);
    most_ = images_ * rows_ * g.out_width;
    if (images_ > 1) packed_ = memory_of<T>(g.out_channels * most_);
    if (images_ > 1 || !is_pointwise_) columns_ = memory_of<T>(depth() * most_);
  }

  void forward(const T* x, const T* weights, T* out) {
    each_strip([&](const Strip& strip, int64_t count) {
      const auto [columns, distance] = columns_of(x, strip, count);
      T* to = is_direct(strip) ? out + place(strip) : packed_.get();
      const int64_t to_distance = is_direct(strip) ? g_.out_frames * out_size_ : count;
      multiply(g_, kAsItIs, kAsItIs, g_.out_channels, count, depth(), weights, depth(), columns, distance, false, to,
               to_distance);
      if (is_direct(strip)) return;
#pragma omp parallel for
      for (int64_t c = 0; c < g_.out_channels; ++c) {
        for (int64_t n = 0; n < strip.images; ++n) {
          std::copy_n(to + c * count + n * out_size_, out_size_,
                      out + g_.out_place(strip.image + n, c) * out_size_);
        }
      }
    });
  }

  void backward(const T* x, const T* weights, const T* grad, T* x_grad, T* weights_grad) {
    bool is_first = true;
    if (x_grad && !is_pointwise_) {
#pragma omp parallel for
      for (int64_t i = 0; i < g_.clips * g_.in_channels * g_.frames; ++i) std::fill_n(x_grad + i * size_, size_, T(0));
    }
    each_strip([&](const Strip& strip, int64_t count) {
      const T* from = is_direct(strip) ? grad + place(strip) : pack(grad, strip, count);
      const int64_t from_distance = is_direct(strip) ? g_.out_frames * out_size_ : count;
      if (weights_grad) {
        const auto [columns, distance] = columns_of(x, strip, count);
        multiply(g_, kAsItIs, kTransposed, g_.out_channels, depth(), count, from, from_distance, columns, distance,
                 !is_first, weights_grad, depth());
        is_first = false;
      }
      if (!x_grad) return;
      const bool is_whole = is_pointwise_ && is_direct(strip);
      T* to = is_whole ? x_grad + g_.in_place(strip.image, 0, 0) * size_ : columns_.get();
      multiply(g_, kTransposed, kAsItIs, depth(), count, g_.out_channels, weights, depth(), from, from_distance, false,
               to, is_whole ? g_.frames * size_ : count);
      if (!is_whole) add_columns(strip, count, x_grad);
    });
  }

 private:
  struct Matrix {
    const T* values;
    int64_t distance;
  };

  int64_t depth() const { return g_.in_channels * taps_; }
  static bool is_direct(const Strip& strip) { return strip.images == 1; }

  // Where the first channel of a strip lies in the output.
  int64_t place(const Strip& strip) const {
    return g_.out_place(strip.image, 0) * out_size_ + strip.row * g_.out_width;
  }

  template <typename F>
  void each_strip(F f) const {
    for (int64_t n = 0; n < g_.images(); n += images_) {
      const int64_t images = std::min(images_, g_.images() - n);
      for (int64_t y = 0; y < g_.out_height; y += rows_) {
        const int64_t rows = std::min(rows_, g_.out_height - y);
        f(Strip{n, images, y, rows}, images * rows * g_.out_width);
      }
    }
  }

  const T* pack(const T* grad, const Strip& strip, int64_t count) {
#pragma omp parallel for
    for (int64_t c = 0; c < g_.out_channels; ++c) {
      for (int64_t n = 0; n < strip.images; ++n) {
        std::copy_n(grad + g_.out_place(strip.image + n, c) * out_size_, out_size_,
                    packed_.get() + c * count + n * out_size_);
      }
    }
    return packed_.get();
  }

  // Calls f(column, pixel, from, to) for each row of each tap of a channel: of its columns, those in [from, to) see the
  // pixels that begin at `pixel` and lie a stride apart, the others what is beyond the image.
  template <typename F>
  void each_run(const Strip& strip, int64_t channel, int64_t count, F f) const {
    for (int64_t tap = 0; tap < taps_; ++tap) {
      const int64_t down = tap / g_.kernel_width % g_.kernel_height - g_.top, right = tap % g_.kernel_width - g_.left;
      const int64_t kernel_frame = tap / g_.kernel_width / g_.kernel_height;
      const int64_t from = right < 0 ? std::min((-right + g_.stride - 1) / g_.stride, g_.out_width) : 0;
      const int64_t seen = g_.width - right;  // the first column times the stride that is beyond
      const int64_t to = std::clamp<int64_t>(seen > 0 ? (seen + g_.stride - 1) / g_.stride : 0, from, g_.out_width);
      T* column = columns_.get() + (channel * taps_ + tap) * count;
      for (int64_t n = 0; n < strip.images; ++n) {
        const int64_t image = g_.in_place(strip.image + n, channel, kernel_frame);
        for (int64_t y = strip.row; y < strip.row + strip.rows; ++y, column += g_.out_width) {
          const int64_t in_row = y * g_.stride + down;
          const bool is_there = image >= 0 && 0 <= in_row && in_row < g_.height;
          const int64_t pixel = (image * g_.height + in_row) * g_.width + from * g_.stride + right;
          f(column, pixel, is_there ? from : 0, is_there ? to : 0);
        }
      }
    }
  }

  Matrix columns_of(const T* x, const Strip& strip, int64_t count) {
    if (is_pointwise_ && is_direct(strip)) {
      return {x + g_.in_place(strip.image, 0, 0) * size_, g_.frames * size_};
    }
#pragma omp parallel for
    for (int64_t c = 0; c < g_.in_channels; ++c) {
      each_run(strip, c, count, [&](T* column, int64_t pixel, int64_t from, int64_t to) {
        std::fill_n(column, from, T(0));
        if (g_.stride == 1) {
          std::copy_n(x + pixel, to - from, column + from);
        } else if (g_.stride == 2) {
          for (int64_t i = 0; i < to - from; ++i) column[from + i] = x[pixel + 2 * i];
        } else {
          for (int64_t i = 0; i < to - from; ++i) column[from + i] = x[pixel + g_.stride * i];
        }
        std::fill_n(column + to, g_.out_width - to, T(0));
      });
    }
    return {columns_.get(), count};
  }

  void add_columns(const Strip& strip, int64_t count, T* x_grad) const {
#pragma omp parallel for
    for (int64_t c = 0; c < g_.in_channels; ++c) {
      each_run(strip, c, count, [&](const T* column, int64_t pixel, int64_t from, int64_t to) {
        if (is_pointwise_) {
          std::copy_n(column, g_.out_width, x_grad + pixel);
        } else if (g_.stride == 1) {
          for (int64_t i = 0; i < to - from; ++i) x_grad[pixel + i] += column[from + i];
        } else if (g_.stride == 2) {
          for (int64_t i = 0; i < to - from; ++i) x_grad[pixel + 2 * i] += column[from + i];
        } else {
          for (int64_t i = 0; i < to - from; ++i) x_grad[pixel + g_.stride * i] += column[from + i];
        }
      });
    }
  }

  const Convolution& g_;
  int64_t size_, out_size_, taps_;
  bool is_pointwise_;
  int64_t images_, rows_, most_;  // of a strip, and its columns
  Memory<T> packed_, columns_;
};

}  // namespace

#define DEFINE(T)                                                                                               \
  extern "C" void conv_im2col_##T(const Convolution* g, const T* x, const T* weights, T* out) {               \
    Columns<T>(*g).forward(x, weights, out);                                                                    \
  }                                                                                                             \
  extern "C" void conv_im2col_grad_##T(const Convolution* g, const T* x, const T* weights, const T* grad,     \
                                         T* x_grad, T* weights_grad) {                                          \
    Columns<T>(*g).backward(x, weights, grad, x_grad, weights_grad);                                            \
  }
DEFINE(float)
DEFINE(double)
