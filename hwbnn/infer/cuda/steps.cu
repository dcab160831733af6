// Everything between products: packing, windows, pooling, thresholds, dense arithmetic. One thread per result.
#include "common.h"

#define EACH(index, count) \
  for (i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x; index < (count); index += (i64)gridDim.x * blockDim.x)

struct Window {  // of a feature map; pairs are (y, x)
  int height, width, kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, top, left, rows_y, rows_x;
};

// Pixel (row of the map, counted over images) that tap `tap` of window `r` reads; -1 in the padding.
HD i64 tap_pixel(const Window& w, i64 r, int tap) {
  i64 per_image = (i64)w.rows_y * w.rows_x, image = r / per_image;
  int at = (int)(r % per_image);
  int y = at / w.rows_x * w.stride_y - w.top + tap / w.kernel_x * w.dilation_y;
  int x = at % w.rows_x * w.stride_x - w.left + tap % w.kernel_x * w.dilation_x;
  return y < 0 || y >= w.height || x < 0 || x >= w.width ? -1 : (image * w.height + y) * w.width + x;
}

// Level numbers (rows, columns) to planes (rows, planes, words of 64 bits): bit k is code >= limit, or shares a bit.
extern "C" __global__ void pack_bytes(const u8* codes, u64* out, i64 rows, int columns, int planes, int words,
                                      int thermometer) {
  EACH(index, rows * planes * words) {
    int w = index % words, i = index / words % planes;
    i64 r = index / words / planes;
    u64 word = 0;
    for (int k = 0; k < 64 && w * 64 + k < columns; k++) {
      int code = codes[r * columns + w * 64 + k];
      bool bit = thermometer ? code > i : code >> (planes - 1 - i) & 1;
      word |= (u64)bit << k;
    }
    out[index] = word;
  }
}

// Windows of level numbers to planes; element (tap, channel) of a window is bit tap * channels + channel.
extern "C" __global__ void pack_windows(const u8* x, u64* out, const Window* where, i64 rows, int channels, int planes,
                                        int words, int thermometer) {
  Window window = *where;
  int columns = window.kernel_y * window.kernel_x * channels;
  EACH(index, rows * planes * words) {
    int w = index % words, i = index / words % planes;
    i64 r = index / words / planes;
    u64 word = 0;
    for (int k = 0; k < 64 && w * 64 + k < columns; k++) {
      int element = w * 64 + k;
      i64 pixel = tap_pixel(window, r, element / channels);
      int code = pixel < 0 ? 0 : x[pixel * channels + element % channels];
      bool bit = thermometer ? code > i : code >> (planes - 1 - i) & 1;
      word |= (u64)bit << k;
    }
    out[index] = word;
  }
}

// Windows of a packed map to rows of `row_words`, (tap, word) side by side and zeros behind them.
extern "C" __global__ void gather_words(const u64* x, u64* out, const Window* where, i64 rows, int planes, int words,
                                        int row_words) {
  Window window = *where;
  int there = window.kernel_y * window.kernel_x * words;
  EACH(index, rows * planes * row_words) {
    int w = index % row_words, i = index / row_words % planes;
    i64 r = index / row_words / planes;
    i64 pixel = w < there ? tap_pixel(window, r, w / words) : -1;
    out[index] = pixel < 0 ? 0 : x[plane_word(pixel, i, planes, words) + w % words];
  }
}

// Per row, its ones, plane by plane with the planes' coefficients.
extern "C" __global__ void count_rows(const u64* a, int* out, i64 rows, int planes, int words, int shift) {
  EACH(r, rows) {
    int total = 0;
    for (int i = 0; i < planes; i++) {
      int sum = 0;
      for (int w = 0; w < words; w++) sum += __popcll(a[plane_word(r, i, planes, words) + w]);
      total = (total << shift) + sum;
    }
    out[r] = total;
  }
}

// Maximum of each window, minimum where `falling`, on planes; binary planes are compared in bit-slices.
extern "C" __global__ void pool_words(const u64* x, const u64* falling, u64* out, const Window* where, i64 rows, int planes,
                                      int words, int thermometer) {
  Window window = *where;
  EACH(index, rows * words) {
    int w = index % words;
    i64 r = index / words;
    u64 best[8], turned = falling[w];
    bool first = true;
    for (int tap = 0; tap < window.kernel_y * window.kernel_x; tap++) {
      i64 pixel = tap_pixel(window, r, tap);
      if (pixel < 0) continue;
      u64 equal = ~0ull, greater = 0;
      for (int i = 0; i < planes; i++) {
        u64 b = x[plane_word(pixel, i, planes, words) + w];
        if (first) best[i] = b;
        else if (thermometer) best[i] = ((best[i] | b) & ~turned) | (best[i] & b & turned);
        else greater |= equal & b & ~best[i], equal &= ~(best[i] ^ b);
      }
      u64 take = (greater & ~turned) | (~greater & ~equal & turned);
      for (int i = 0; i < planes && !first && !thermometer; i++)
        best[i] = (best[i] & ~take) | (x[plane_word(pixel, i, planes, words) + w] & take);
      first = false;
    }
    for (int i = 0; i < planes; i++) out[plane_word(r, i, planes, words) + w] = best[i];
  }
}

// A packed map as packed vectors: (image, pixel, plane, word) to (image, plane, pixel, word).
extern "C" __global__ void flatten_words(const u64* x, u64* out, i64 images, int pixels, int planes, int words) {
  EACH(index, images * planes * pixels * words) {
    int w = index % words, p = index / words % pixels, i = index / words / pixels % planes;
    i64 image = index / words / pixels / planes;
    out[index] = x[((image * pixels + p) * planes + i) * words + w];
  }
}

// Planes to values low + step * level number. A row holds `segments` runs of `length` elements.
extern "C" __global__ void unpack_words(const u64* x, int* out, i64 rows, int planes, int words, int segments, int length,
                                        int thermometer, int low, int step) {
  int columns = segments * length, per_segment = words / segments;
  EACH(index, rows * columns) {
    int c = index % columns, number = 0;
    i64 r = index / columns;
    for (int i = 0; i < planes; i++) {
      u64 word = x[plane_word(r, i, planes, words) + c / length * per_segment + c % length / 64];
      int bit = word >> (c % length % 64) & 1;
      number = (thermometer ? number : 2 * number) + bit;
    }
    out[index] = low + step * number;
  }
}

// Level numbers from thresholds[k * columns + c]; `signs` turns a channel.
extern "C" __global__ void count_reached(const int* values, const i64* thresholds, const int* signs, u8* out, i64 rows,
                                         int columns, int stride, int count) {
  EACH(index, rows * columns) {
    int c = index % columns, number = 0;
    i64 value = (i64)values[index / columns * stride + c] * signs[c];
    for (int k = 0; k < count; k++) number += value >= thresholds[(i64)k * columns + c];
    out[index] = number;
  }
}

// Values low, low + step, ... to level numbers, and back.
extern "C" __global__ void number_values(const int* x, u8* out, i64 count, int low, int step) {
  EACH(index, count) out[index] = (x[index] - low) / step;
}
extern "C" __global__ void value_numbers(const u8* x, int* out, i64 count, int low, int step) {
  EACH(index, count) out[index] = low + step * x[index];
}

// Join the bits of wide weights: values[r, part * columns + n] to sum of 2^part, the last part negative.
extern "C" __global__ void join_parts(const int* values, int* out, i64 rows, int columns, int stride, int parts) {
  EACH(index, rows * columns) {
    i64 r = index / columns, n = index % columns, total = 0;
    for (int part = 0; part < parts; part++) {
      i64 value = (i64)values[r * stride + part * columns + n] << part;
      total += part == parts - 1 && parts > 1 ? -value : value;
    }
    out[index] = (int)total;
  }
}

template <typename T>
__device__ void affine_of(const T* x, const T* multipliers, const T* offsets, T* out, i64 count, int channels, int m,
                          int o) {
  EACH(index, count) {
    int c = index % channels;
    out[index] = x[index] * multipliers[m == 1 ? 0 : c] + offsets[o == 1 ? 0 : c];
  }
}
extern "C" __global__ void affine32(const int* x, const int* multipliers, const int* offsets, int* out, i64 count,
                                    int channels, int m, int o) {
  affine_of(x, multipliers, offsets, out, count, channels, m, o);
}
extern "C" __global__ void affine64(const i64* x, const i64* multipliers, const i64* offsets, i64* out, i64 count,
                                    int channels, int m, int o) {
  affine_of(x, multipliers, offsets, out, count, channels, m, o);
}
extern "C" __global__ void add32(const int* a, const int* b, int* out, i64 count) {
  EACH(index, count) out[index] = a[index] + b[index];
}
extern "C" __global__ void add64(const i64* a, const i64* b, i64* out, i64 count) {
  EACH(index, count) out[index] = a[index] + b[index];
}
extern "C" __global__ void widen(const int* x, i64* out, i64 count) {
  EACH(index, count) out[index] = x[index];
}

// Sums over windows of a dense map.
extern "C" __global__ void sum_windows(const int* x, int* out, const Window* where, i64 rows, int channels) {
  Window window = *where;
  EACH(index, rows * channels) {
    int total = 0;
    for (int tap = 0; tap < window.kernel_y * window.kernel_x; tap++) {
      i64 pixel = tap_pixel(window, index / channels, tap);
      if (pixel >= 0) total += x[pixel * channels + index % channels];
    }
    out[index] = total;
  }
}

// The first of the greatest values of each row.
template <typename T>
__device__ void argmax_of(const T* x, int* out, i64 rows, int columns) {
  EACH(r, rows) {
    int best = 0;
    for (int c = 1; c < columns; c++)
      if (x[r * columns + c] > x[r * columns + best]) best = c;
    out[r] = best;
  }
}
extern "C" __global__ void argmax32(const int* x, int* out, i64 rows, int columns) { argmax_of(x, out, rows, columns); }
extern "C" __global__ void argmax64(const i64* x, int* out, i64 rows, int columns) { argmax_of(x, out, rows, columns); }
