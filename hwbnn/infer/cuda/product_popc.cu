// Products on ordinary cores, for few rows, and for processors without fast one-bit tensor cores.
//
// A block computes 32 columns of up to 8 rows; each warp sums 4 columns, its lanes share the words of a row. Weights are
// read once, which for one row is all that counts. Meaning and arguments are those of product_mma.
#include "common.h"

constexpr int ROWS = 8, COLUMNS = 32, WARPS = 8;

extern "C" __global__ void __launch_bounds__(WARPS * 32)
product_popc(const u32* __restrict__ a, const u32* __restrict__ b, const int* __restrict__ row_ones,
             const int* __restrict__ table, const int* __restrict__ t_row, int* __restrict__ values,
             u32* __restrict__ bits, int rows, int columns, int planes, int parts, int shift, int words, int t_plane,
             int scale, int planes_out) {
  __shared__ int sums[ROWS][COLUMNS];
  i64 row0 = (i64)blockIdx.x * ROWS;
  int column0 = blockIdx.y * COLUMNS, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int c = warp; c < COLUMNS; c += WARPS) {
    const u32* weights = b + (i64)(column0 + c) * parts * words;
    int acc[ROWS] = {};
#pragma unroll 1
    for (int w = lane; w < words; w += 32) {
      u32 positive = weights[(i64)(parts - 1) * words + w], negative = parts == 2 ? weights[w] : 0;
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        if (row0 + r >= rows) continue;
        int sum = 0;
#pragma unroll 1
        for (int i = 0; i < planes; i++) {
          u32 x = a[plane_word(row0 + r, i, planes, words) + w];
          sum = (sum << shift) + __popc(x & positive) - __popc(x & negative);
        }
        acc[r] += sum;
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      for (int d = 16; d; d /= 2) acc[r] += __shfl_xor_sync(0xFFFFFFFFu, acc[r], d);
      if (lane == 0) sums[r][c] = acc[r];
    }
  }
  __syncthreads();
  i64 r = row0 + warp;
  if (r >= rows) return;  // whole warps leave together
  int sum = weighted_sum(sums[warp][lane], parts == 1 ? row_ones[r] : 0, parts == 1);
  i64 at = (i64)t_row[r] + column0 + lane;
  if (planes_out == 0) values[r * columns + column0 + lane] = table[at] + scale * sum;
  for (int i = 0; i < planes_out; i++) {
    u32 word = __ballot_sync(0xFFFFFFFFu, reached(sum, table[(i64)i * t_plane + at]));
    if (lane == 0) bits[plane_word(r, i, planes_out, columns / 32) + column0 / 32] = word;
  }
}
