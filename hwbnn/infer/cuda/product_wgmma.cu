// Products on Hopper's one-bit tensor cores: wgmma m64n128k256 with AND, fed by tensor copies.
//
// One warpgroup copies stages of 1024 bits, two multiply: 128 rows by 256 columns a block, 64 rows each. Blocks stay and
// take tile after tile, so that the next tile's copies run under this one's thresholds. Meaning and arguments are
// those of product_mma, but a and b come as tensor maps of (rows, bytes) in boxes of 128 bytes, 128-byte swizzled.
#include "common.h"
#include "device.h"
#include "hopper.h"

constexpr int BM = 128, BN = 256, STAGES = 4, ROW = 128;  // ROW: bytes of a stage's row
constexpr int STAGE_BYTES = (BM + BN) * ROW, CONSUMER_WARPS = 8;
constexpr int HALF = 128;  // columns of one instruction

extern "C" __global__ void __launch_bounds__(384, 1)
product_wgmma(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
              const int* __restrict__ row_ones, const int* __restrict__ table, const int* __restrict__ t_row,
              int* __restrict__ values, u32* __restrict__ bits, int rows, int columns, int planes, int parts, int shift,
              int words, int t_plane, int scale, int planes_out) {
  HWBNN_ROOM
  __shared__ u64 full[STAGES], empty[STAGES];
  unsigned char* stages = room + (1024 - (shared_address(room) & 1023)) % 1024;  // the swizzle repeats every 1024 bytes
  int tiles_m = (rows + BM - 1) / BM, tiles = tiles_m * ((columns + BN - 1) / BN);
  int per_pass = words / STAGE_WORDS, steps = per_pass * planes * parts;

  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; s++) barrier_init(&full[s], 1), barrier_init(&empty[s], CONSUMER_WARPS);
    barrier_fence();
  }
  __syncthreads();

  int warpgroup = threadIdx.x / 128, stage = 0;
  u32 phase = 0;
  if (warpgroup == 0) {
    registers_less<24>();
    if (threadIdx.x == 0)
      for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int row0 = tile % tiles_m * BM, column0 = tile / tiles_m * BN;
        for (int step = 0; step < steps; step++) {
          int pass = step / per_pass, k = step % per_pass * ROW;
          barrier_wait(&empty[stage], phase ^ 1);
          barrier_expect(&full[stage], STAGE_BYTES);
          unsigned char* to = stages + stage * STAGE_BYTES;
          copy_box(to, &a, pass / parts * words * 4 + k, row0, &full[stage]);
          copy_box(to + BM * ROW, &b, pass % parts * words * 4 + k, column0, &full[stage]);
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
      }
    return;
  }

  registers_more<240>();
  int consumer = warpgroup - 1, warp = threadIdx.x % 128 / 32, lane = threadIdx.x % 32;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    int row0 = tile % tiles_m * BM + consumer * 64, column0 = tile / tiles_m * BN;
    int acc[2][64];
#pragma unroll
    for (int j = 0; j < 64; j++) acc[0][j] = acc[1][j] = 0;

    for (int pass = 0; pass < planes * parts; pass++) {
      int factor = pass_factor(pass, parts, shift);
#pragma unroll
      for (int j = 0; j < 64; j++) acc[0][j] *= factor, acc[1][j] *= factor;
      for (int k = 0; k < per_pass; k++) {
        barrier_wait(&full[stage], phase);
        u32 at = shared_address(stages + stage * STAGE_BYTES);
        u64 da = wgmma_descriptor(at + consumer * 64 * ROW), db = wgmma_descriptor(at + BM * ROW);
        products_begin();
#pragma unroll
        for (int part = 0; part < 4; part++) {  // 256 bits are 32 bytes, 2 units of a descriptor
          wgmma_and(acc[0], da + 2 * part, db + 2 * part);
          wgmma_and(acc[1], da + 2 * part, db + 2 * part + (HALF * ROW >> 4));
        }
        products_commit();
        products_wait<0>();  // meanwhile the other warpgroup's products run
        if (lane == 0) barrier_arrive(&empty[stage]);
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
      int r = (int)row0 + wgmma_row(warp, lane, 2 * half);
      bool there = r < rows;
      int ones = there && parts == 1 ? row_ones[r] : 0;
      int at = there ? t_row[r] : 0;
#pragma unroll
      for (int group = 0; group < BN / 32; group++) {  // a word of 32 columns
        int first = column0 + 32 * group;
        if (first >= columns) break;
#pragma unroll 1
        for (int i = 0; i < (planes_out ? planes_out : 1); i++) {
          u32 word = 0;
          const int* limits = table + (i64)i * t_plane + at + first;
#pragma unroll
          for (int q = 0; q < 8; q++) {  // registers of this row: 4 eights of columns, 2 neighbours each
            int j = group % 4 * 16 + q / 2 * 4 + 2 * half + q % 2, c = wgmma_column(lane, j) % 32;
            int sum = weighted_sum(acc[group / 4][j], ones, parts == 1);
            if (planes_out) word |= reached(sum, limits[c]) << c;
            else if (there) values[(i64)r * columns + first + c] = limits[c] + scale * sum;
          }
          __syncwarp();
          if (planes_out) {
            word |= __shfl_xor_sync(0xFFFFFFFFu, word, 1);
            word |= __shfl_xor_sync(0xFFFFFFFFu, word, 2);
            if (there && lane % 4 == 0) bits[plane_word(r, i, planes_out, columns / 32) + first / 32] = word;
          }
        }
      }
    }
  }
}
