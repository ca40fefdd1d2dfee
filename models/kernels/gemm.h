// The matrix product of the library that Paddle computes with, and memory for what goes into it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

// A convolution of clips, as `models.kernels.conv` packs it; `gemm` is the address of cblas_sgemm or cblas_dgemm.
// Clips / channels / frames is how images lie in memory. Images are clips of one frame.
struct Convolution {
  int64_t clips, in_channels, out_channels, frames, height, width, out_frames, out_height, out_width, kernel_frames,
      kernel_height, kernel_width, stride_frames, stride, front, top, left, gemm;

  // Images of the output.
  int64_t images() const { return clips * out_frames; }

  // Where a channel of an image of the output lies, in images.
  int64_t out_place(int64_t image, int64_t channel) const {
    return (image / out_frames * out_channels + channel) * out_frames + image % out_frames;
  }

  // Where what a frame of the kernel sees of a channel lies, for an image of the output; -1 beyond the clip.
  int64_t in_place(int64_t image, int64_t channel, int64_t kernel_frame) const {
    const int64_t frame = image % out_frames * stride_frames + kernel_frame - front;
    return 0 <= frame && frame < frames ? (image / out_frames * in_channels + channel) * frames + frame : -1;
  }
};

constexpr bool kTransposed = true, kAsItIs = false;

// c [m][n] = beta * c + a [m][k] * b [k][n], where a or b may lie transposed; distances are between rows in memory.
template <typename T>
void multiply(const Convolution& g, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a,
              int64_t a_distance, const T* b, int64_t b_distance, bool adds, T* c, int64_t c_distance) {
  using Gemm = void (*)(int order, int trans_a, int trans_b, int m, int n, int k, T alpha, const T* a, int lda,
                        const T* b, int ldb, T beta, T* c, int ldc);
  constexpr int kRowMajor = 101, kNoTrans = 111, kTrans = 112;
  reinterpret_cast<Gemm>(g.gemm)(kRowMajor, trans_a ? kTrans : kNoTrans, trans_b ? kTrans : kNoTrans, int(m), int(n),
                                 int(k), T(1), a, int(a_distance), b, int(b_distance), T(adds), c, int(c_distance));
}

template <typename T>
struct Free {
  void operator()(T* memory) const { std::free(memory); }
};

template <typename T>
using Memory = std::unique_ptr<T[], Free<T>>;

// Memory that nothing was written into.
template <typename T>
Memory<T> memory_of(int64_t count) {
  const size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
  return Memory<T>(static_cast<T*>(std::aligned_alloc(64, bytes)));
}
