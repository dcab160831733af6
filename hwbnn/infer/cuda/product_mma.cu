// Products on one-bit tensor cores, mma.m16n8k256 with AND (native on sm_80 to sm_90).
//
//   sum[r, n] = sum over planes i of c_i * (popcount(a[r, i] & p[n]) - popcount(a[r, i] & q[n]))
//
// p: positive weights, q: negative ones. Bipolar weights store p alone, and popcount(a & q) = popcount(a) -
// popcount(a & p) turns the second pass into `row_ones`.
#include "common.h"
#include "device.h"

constexpr int BM = 64, BN = 64, THREADS = 128;
constexpr int PITCH = STAGE_WORDS + 4;  // of a row in shared memory, in words: no two rows of a fragment share a bank

struct Tile {
  u32 a[BM * PITCH];
  u32 b[BN * PITCH];
};

// Copy one stage (1024 bits of BM rows and BN columns), 16 bytes a thread and step; rows beyond the end are zeros.
__device__ __forceinline__ void load_stage(Tile& tile, const u32* a, const u32* b, i64 row0, i64 rows, i64 row_words,
                                           i64 column0, i64 columns, i64 column_words) {
  for (int k = threadIdx.x; k < BM * (STAGE_WORDS / 4); k += THREADS) {
    int r = k / (STAGE_WORDS / 4), w = k % (STAGE_WORDS / 4) * 4;
    bool there = row0 + r < rows;
    copy16_async(&tile.a[r * PITCH + w], a + (there ? (row0 + r) * row_words : 0) + w, there);
  }
  for (int k = threadIdx.x; k < BN * (STAGE_WORDS / 4); k += THREADS) {
    int r = k / (STAGE_WORDS / 4), w = k % (STAGE_WORDS / 4) * 4;
    bool there = column0 + r < columns;
    copy16_async(&tile.b[r * PITCH + w], b + (there ? (column0 + r) * column_words : 0) + w, there);
  }
  commit_copies();
}

// a: rows x planes x words; b: columns x parts x words (parts 1: positive; 2: negative, positive). `words` counts 32
// bits and is a multiple of 32; `columns` is a multiple of 64.
// planes_out 0: values[r, n] = bias[t_row[r] + n] + scale * sum. Else bit n of plane i of `bits` row r is
// sum >= limits[i * t_plane + t_row[r] + n].
extern "C" __global__ void __launch_bounds__(THREADS)
product_mma(const u32* __restrict__ a, const u32* __restrict__ b, const int* __restrict__ row_ones,
            const int* __restrict__ table, const int* __restrict__ t_row, int* __restrict__ values,
            u32* __restrict__ bits, int rows, int columns, int planes, int parts, int shift, int words, int t_plane,
            int scale, int planes_out) {
  __shared__ Tile tiles[2];
  i64 row0 = (i64)blockIdx.x * BM, column0 = (i64)blockIdx.y * BN;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int warp_row = warp / 2 * 32, warp_column = warp % 2 * 32;
  int stages = words / STAGE_WORDS, passes = planes * parts, total = stages * passes;
  int acc[2][4][4] = {};

  load_stage(tiles[0], a, b, row0, rows, (i64)planes * words, column0, columns, (i64)parts * words);
  for (int step = 0; step < total; step++) {
    int next = step + 1;
    if (next < total) {
      int pass = next / stages, k = next % stages * STAGE_WORDS;
      load_stage(tiles[next & 1], a + (i64)(pass / parts) * words + k, b + (i64)(pass % parts) * words + k, row0, rows,
                 (i64)planes * words, column0, columns, (i64)parts * words);
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    __syncthreads();
    if (step && step % stages == 0) {
      int factor = pass_factor(step / stages, parts, shift);
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
          for (int j = 0; j < 4; j++) acc[m][n][j] *= factor;
    }
    const Tile& tile = tiles[step & 1];
#pragma unroll
    for (int k = 0; k < STAGE_WORDS; k += 8) {
      u32 fa[2][4], fb[4][2];
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int j = 0; j < 4; j++)
          fa[m][j] = tile.a[(warp_row + 16 * m + fragment_a_row(lane, j)) * PITCH + k + fragment_a_word(lane, j)];
#pragma unroll
      for (int n = 0; n < 4; n++)
#pragma unroll
        for (int j = 0; j < 2; j++)
          fb[n][j] = tile.b[(warp_column + 8 * n + fragment_b_column(lane)) * PITCH + k + fragment_b_word(lane, j)];
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < 4; n++) mma_and(acc[m][n], fa[m], fb[n]);
    }
    __syncthreads();
  }

#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      i64 r = row0 + warp_row + 16 * m + fragment_c_row(lane, 2 * half);
      bool there = r < rows;
      int ones = there && parts == 1 ? row_ones[r] : 0;
      i64 at = there ? t_row[r] : 0;
      for (int i = 0; i < (planes_out ? planes_out : 1); i++) {
        u32 word = 0;
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
          for (int j = 0; j < 2; j++) {
            int c = 8 * n + fragment_c_column(lane, j);
            i64 column = column0 + warp_column + c;
            int sum = weighted_sum(acc[m][n][2 * half + j], ones, parts == 1);
            if (planes_out) word |= reached(sum, table[(i64)i * t_plane + at + column]) << c;
            else if (there) values[r * columns + column] = table[at + column] + scale * sum;
          }
        if (planes_out) {
          word |= __shfl_xor_sync(0xFFFFFFFFu, word, 1);
          word |= __shfl_xor_sync(0xFFFFFFFFu, word, 2);
          if (there && lane % 4 == 0)
            bits[plane_word(r, i, planes_out, columns / 32) + (column0 + warp_column) / 32] = word;
        }
      }
    }
}
