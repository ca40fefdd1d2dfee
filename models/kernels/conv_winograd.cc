// Convolution of 3 x 3, stride 1 and padding 1, forward and backward, NCTHW, by minimal filtering F(2 x 2, 3 x 3).
//
// Source: Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1. Tiles of 4 x 4
// pixels, two apart, become 16 planes; in each plane the convolution is one matrix product over the channels, of 4
// multiplications for a pixel instead of 9. Planes are kept for some rows of tiles at a time, which stay in the cache.
//
// A kernel of several frames, an odd number with half of them as padding, is one of images with so many times the
// channels: channel c of frame f of the kernel is number c * frames + f.

#include <algorithm>
#include <cstdint>
#include <utility>

#include "gemm.h"

namespace {

constexpr int64_t kPlanes = 16;

// From one plane to the next: not a power of two, whose places in the cache would be the same for all planes.
int64_t distance_of(int64_t count) { return (count + 15) / 16 * 16 + 16; }

// The tiles of all images, row after row.
struct Tiles {
  explicit Tiles(const Convolution& g)
      : height(g.height), width(g.width), down((g.height + 1) / 2), across((g.width + 1) / 2), rows(g.images() * down) {}

  int64_t size() const { return height * width; }

  int64_t height, width, down, across, rows;
};

// One thread's room for some rows of an image, with a column of zeros before, and at least one behind.
template <typename T>
class Strip {
 public:
  explicit Strip(const Tiles& tiles) : t_(tiles), row_(2 * tiles.across + 2), memory_(memory_of<T>(10 * row_)) {
    std::fill_n(memory_.get(), 10 * row_, T(0));
  }

  // Planes B^T d B of the tiles in one row, each `across` values from planes + k * distance on.
  void of_inputs(const T* image, int64_t tile_row, T* planes, int64_t distance) {
    T *d[4], *u[4];
    for (int r = 0; r < 4; ++r) d[r] = read(image, 2 * tile_row - 1 + r, r, 1), u[r] = row(4 + r);
    for (int64_t x = 0; x < row_; ++x) {
      u[0][x] = d[0][x] - d[2][x];
      u[1][x] = d[1][x] + d[2][x];
      u[2][x] = d[2][x] - d[1][x];
      u[3][x] = d[1][x] - d[3][x];
    }
    T *even = row(8), *odd = row(9);
    for (int r = 0; r < 4; ++r) {
      apart(u[r], even, odd, t_.across + 1);
      T* to[4];
      for (int q = 0; q < 4; ++q) to[q] = planes + (4 * r + q) * distance;
      for (int64_t j = 0; j < t_.across; ++j) {
        to[0][j] = even[j] - even[j + 1];
        to[1][j] = odd[j] + even[j + 1];
        to[2][j] = even[j + 1] - odd[j];
        to[3][j] = odd[j] - odd[j + 1];
      }
    }
  }

  // Planes A y A^T of the tiles in one row, of the gradient of the output.
  void of_grads(const T* image, int64_t tile_row, T* planes, int64_t distance) {
    T *y[2], *u[4] = {row(0), row(2), row(3), row(1)}, *even = row(8), *odd = row(9);
    for (int r = 0; r < 2; ++r) y[r] = read(image, 2 * tile_row + r, r, 0);
    for (int64_t x = 0; x < row_; ++x) {
      u[1][x] = y[0][x] + y[1][x];
      u[2][x] = y[0][x] - y[1][x];
    }
    for (int r = 0; r < 4; ++r) {
      apart(u[r], even, odd, t_.across);
      const T sign = r == 3 ? T(-1) : T(1);
      T* to[4];
      for (int q = 0; q < 4; ++q) to[q] = planes + (4 * r + q) * distance;
      for (int64_t j = 0; j < t_.across; ++j) {
        const T left = sign * even[j], right = sign * odd[j];
        to[0][j] = left;
        to[1][j] = left + right;
        to[2][j] = left - right;
        to[3][j] = -right;
      }
    }
  }

  // The two rows A^T m A of an image, of the planes m of its tiles in one row.
  void to_outputs(const T* planes, int64_t distance, T* image, int64_t tile_row) {
    T* out[2] = {row(0), row(1)};
    const T* m[kPlanes];
    for (int64_t k = 0; k < kPlanes; ++k) m[k] = planes + k * distance;
    T *even = row(8), *odd = row(9);
    for (int r = 0; r < 2; ++r) {
      const T sign = r ? T(-1) : T(1);
      const T* const* first = m + 4 * r;  // rows 0, 1, 2 for the upper, 1, 2, 3 for the lower pixels
      for (int64_t j = 0; j < t_.across; ++j) {
        T s[4];
        for (int q = 0; q < 4; ++q) s[q] = first[q][j] + sign * (first[4 + q][j] + first[8 + q][j]);
        even[j] = s[0] + s[1] + s[2];
        odd[j] = s[1] - s[2] - s[3];
      }
      for (int64_t j = 0; j < t_.across; ++j) {
        out[r][2 * j] = even[j];
        out[r][2 * j + 1] = odd[j];
      }
      const int64_t y = 2 * tile_row + r;
      if (y < t_.height) std::copy_n(out[r], t_.width, image + y * t_.width);
    }
  }

 private:
  T* row(int64_t number) { return memory_.get() + number * row_; }

  // A row of an image from column `at` on; a row of zeros where the image has none, or where there is no image.
  T* read(const T* image, int64_t y, int64_t number, int64_t at) {
    T* to = row(number);
    const bool is_there = image && 0 <= y && y < t_.height;
    to[0] = T(0);
    if (is_there) {
      std::copy_n(image + y * t_.width, t_.width, to + at);
      std::fill(to + at + t_.width, to + row_, T(0));
    } else {
      std::fill_n(to, row_, T(0));
    }
    return to;
  }

  static void apart(const T* from, T* even, T* odd, int64_t count) {
    for (int64_t j = 0; j < count; ++j) {
      even[j] = from[2 * j];
      odd[j] = from[2 * j + 1];
    }
  }

  const Tiles& t_;
  int64_t row_;
  Memory<T> memory_;
};

// Rows of tiles that are taken at a time, for `channels` in all planes: 4 MB, but so many that the products pay.
template <typename T>
int64_t rows_at_a_time(const Tiles& tiles, int64_t channels) {
  const int64_t columns = std::max<int64_t>(4 * 1024 * 1024 / (kPlanes * channels * int64_t(sizeof(T))), 256);
  return std::clamp<int64_t>(columns / tiles.across, 1, tiles.rows);
}

// Planes G w G^T of kernels [out][in][frames][3][3], each [out][in * frames]; `flipped`, those of the convolution that
// goes back: the kernels turned along all axes, each plane [in][out * frames].
template <typename T>
void planes_of_weights(const Convolution& g, const T* weights, bool flipped, T* planes) {
  const int64_t frames = g.kernel_frames, distance = distance_of(g.in_channels * g.out_channels * frames);
  const int64_t rows = flipped ? g.in_channels : g.out_channels;
  const int64_t columns = (flipped ? g.out_channels : g.in_channels) * frames;
#pragma omp parallel for
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t turned = (column / frames * rows + row) * frames + frames - 1 - column % frames;
      const T* w = weights + (flipped ? turned : row * columns + column) * 9;
      T* to = planes + row * columns + column;
      T half[4][3];
      for (int x = 0; x < 3; ++x) {
        const T top = w[flipped ? 8 - x : x], middle = w[flipped ? 5 - x : 3 + x], bottom = w[flipped ? 2 - x : 6 + x];
        half[0][x] = top;
        half[1][x] = (top + middle + bottom) / 2;
        half[2][x] = (top - middle + bottom) / 2;
        half[3][x] = bottom;
      }
      for (int r = 0; r < 4; ++r) {
        const T *h = half[r], outer = h[0] + h[2];
        to[(4 * r + 0) * distance] = h[0];
        to[(4 * r + 1) * distance] = (outer + h[1]) / 2;
        to[(4 * r + 2) * distance] = (outer - h[1]) / 2;
        to[(4 * r + 3) * distance] = h[2];
      }
    }
  }
}

// Kernels G^T u G, of planes u, each [out][in * frames].
template <typename T>
void weights_of_planes(const Convolution& g, const T* planes, T* weights) {
  const int64_t pairs = g.in_channels * g.out_channels * g.kernel_frames, distance = distance_of(pairs);
#pragma omp parallel for
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const T* u = planes + pair;
    T* w = weights + pair * 9;
    T half[3][4];
    for (int q = 0; q < 4; ++q) {
      const T first = u[q * distance], a = u[(4 + q) * distance] / 2, b = u[(8 + q) * distance] / 2,
              last = u[(12 + q) * distance];
      half[0][q] = first + a + b;
      half[1][q] = a - b;
      half[2][q] = a + b + last;
    }
    for (int r = 0; r < 3; ++r) {
      const T a = half[r][1] / 2, b = half[r][2] / 2;
      w[3 * r] = half[r][0] + a + b;
      w[3 * r + 1] = a - b;
      w[3 * r + 2] = a + b + half[r][3];
    }
  }
}

// What one frame of the kernel sees of a channel, for an image of the output; null beyond the clip.
template <typename T>
const T* seen(const Convolution& g, const Tiles& tiles, const T* x, int64_t image, int64_t in) {
  const int64_t place = g.in_place(image, in / g.kernel_frames, in % g.kernel_frames);
  return place < 0 ? nullptr : x + place * tiles.size();
}

// The convolution of x by planes of kernels, each [out][in * frames].
template <typename T>
void convolve(const Convolution& g, const T* x, const T* kernels, T* out) {
  const Tiles tiles(g);
  const int64_t ins = g.in_channels * g.kernel_frames, outs = g.out_channels;
  const int64_t step = rows_at_a_time<T>(tiles, ins + outs), most = step * tiles.across;
  const int64_t in_distance = distance_of(ins * most), out_distance = distance_of(outs * most);
  const int64_t kernel_distance = distance_of(ins * outs);
  const Memory<T> inputs = memory_of<T>(kPlanes * in_distance), products = memory_of<T>(kPlanes * out_distance);
#pragma omp parallel
  {
    Strip<T> strip(tiles);
    for (int64_t begin = 0; begin < tiles.rows; begin += step) {
      const int64_t rows = std::min(step, tiles.rows - begin), columns = rows * tiles.across;
#pragma omp for
      for (int64_t c = 0; c < ins; ++c) {
        for (int64_t r = begin; r < begin + rows; ++r) {
          T* planes = inputs.get() + c * columns + (r - begin) * tiles.across;
          strip.of_inputs(seen(g, tiles, x, r / tiles.down, c), r % tiles.down, planes, in_distance);
        }
      }
#pragma omp for schedule(static, 1)
      for (int64_t k = 0; k < kPlanes; ++k) {
        multiply(g, kAsItIs, kAsItIs, outs, columns, ins, kernels + k * kernel_distance, ins,
                 inputs.get() + k * in_distance, columns, false, products.get() + k * out_distance, columns);
      }
#pragma omp for
      for (int64_t c = 0; c < outs; ++c) {
        for (int64_t r = begin; r < begin + rows; ++r) {
          const T* planes = products.get() + c * columns + (r - begin) * tiles.across;
          strip.to_outputs(planes, out_distance, out + g.out_place(r / tiles.down, c) * tiles.size(), r % tiles.down);
        }
      }
    }
  }
}

template <typename T>
void weights_grad(const Convolution& g, const T* x, const T* grad, T* weights) {
  const Tiles tiles(g);
  const int64_t ins = g.in_channels * g.kernel_frames, outs = g.out_channels;
  const int64_t step = rows_at_a_time<T>(tiles, ins + outs), most = step * tiles.across;
  const int64_t in_distance = distance_of(ins * most), grad_distance = distance_of(outs * most);
  const int64_t sum_distance = distance_of(ins * outs);
  const Memory<T> inputs = memory_of<T>(kPlanes * in_distance), grads = memory_of<T>(kPlanes * grad_distance);
  const Memory<T> sums = memory_of<T>(kPlanes * sum_distance);
#pragma omp parallel
  {
    Strip<T> strip(tiles);
    for (int64_t begin = 0; begin < tiles.rows; begin += step) {
      const int64_t rows = std::min(step, tiles.rows - begin), columns = rows * tiles.across;
#pragma omp for
      for (int64_t c = 0; c < ins + outs; ++c) {
        for (int64_t r = begin; r < begin + rows; ++r) {
          const int64_t n = r / tiles.down, at = (r - begin) * tiles.across, o = c - ins;
          if (c < ins) {
            strip.of_inputs(seen(g, tiles, x, n, c), r % tiles.down, inputs.get() + c * columns + at, in_distance);
          } else {
            strip.of_grads(grad + g.out_place(n, o) * tiles.size(), r % tiles.down, grads.get() + o * columns + at,
                           grad_distance);
          }
        }
      }
#pragma omp for schedule(static, 1)
      for (int64_t k = 0; k < kPlanes; ++k) {
        multiply(g, kAsItIs, kTransposed, outs, ins, columns, grads.get() + k * grad_distance, columns,
                 inputs.get() + k * in_distance, columns, begin > 0, sums.get() + k * sum_distance, ins);
      }
    }
  }
  weights_of_planes(g, sums.get(), weights);
}

template <typename T>
void convolve_by(const Convolution& g, const T* weights, bool flipped, const T* x, T* out) {
  const Memory<T> kernels = memory_of<T>(kPlanes * distance_of(g.in_channels * g.out_channels * g.kernel_frames));
  planes_of_weights(g, weights, flipped, kernels.get());
  Convolution there = g;
  if (flipped) std::swap(there.in_channels, there.out_channels);
  convolve(there, x, kernels.get(), out);
}

template <typename T>
void backward(const Convolution& g, const T* x, const T* weights, const T* grad, T* x_grad, T* weights_grad_) {
  if (x_grad) convolve_by(g, weights, true, grad, x_grad);
  if (weights_grad_) weights_grad(g, x, grad, weights_grad_);
}

}  // namespace

#define DEFINE(T)                                                                                             \
  extern "C" void conv_winograd_##T(const Convolution* g, const T* x, const T* weights, T* out) {           \
    convolve_by(*g, weights, false, x, out);                                                                      \
  }                                                                                                           \
  extern "C" void conv_winograd_grad_##T(const Convolution* g, const T* x, const T* weights, const T* grad, \
                                           T* x_grad, T* weights_grad) {                                      \
    backward(*g, x, weights, grad, x_grad, weights_grad);                                                     \
  }
DEFINE(float)
DEFINE(double)
