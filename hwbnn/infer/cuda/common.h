// Integers, index functions and the epilogue that every kernel shares. Plain C++, so that the host can compile and
// test them, too; no kernel computes an index or a bit order of its own.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifdef __CUDACC__
#define HD __host__ __device__ __forceinline__
#else
#define HD inline
#endif

// Rows of a product are padded to 1024 bits: 32 words of 32 bits, one stage of shared memory.
constexpr int STAGE_WORDS = 32;

// Word of plane i of row r, in rows of `planes` planes of `words` 32-bit words.
HD i64 plane_word(i64 r, int i, int planes, i64 words) { return (r * planes + i) * words; }

// Fragments of mma.m16n8k256 with one-bit operands: lane l = 4 * g + t holds
//   A: register j: row g + 8 * (j & 1), word t + 4 * (j >> 1) of the 8 words of 256 bits
//   B: register j: column g, word t + 4 * j
//   C: register j: row g + 8 * (j >> 1), column 2 * t + (j & 1)
HD int fragment_a_row(int lane, int j) { return lane / 4 + 8 * (j & 1); }
HD int fragment_a_word(int lane, int j) { return lane % 4 + 4 * (j >> 1); }
HD int fragment_b_column(int lane) { return lane / 4; }
HD int fragment_b_word(int lane, int j) { return lane % 4 + 4 * j; }
HD int fragment_c_row(int lane, int j) { return lane / 4 + 8 * (j >> 1); }
HD int fragment_c_column(int lane, int j) { return 2 * (lane % 4) + (j & 1); }

// Accumulators of one warp of wgmma.m64nNk256: register j of lane l of warp w: row 16 * w + l / 4 + 8 * ((j >> 1) & 1),
// column 8 * (j >> 2) + 2 * (l % 4) + (j & 1).
HD int wgmma_row(int warp, int lane, int j) { return 16 * warp + lane / 4 + 8 * ((j >> 1) & 1); }
HD int wgmma_column(int lane, int j) { return 8 * (j >> 2) + 2 * (lane % 4) + (j & 1); }

// Byte of a 128-byte row r in shared memory under TMA's 128-byte swizzle: 16-byte units are XOR-ed with r mod 8.
HD int swizzled(int row, int byte) { return row * 128 + (byte ^ ((row & 7) << 4)); }

// Matrix descriptor of wgmma for 128-byte rows under that swizzle: 8-row groups are 1024 bytes apart.
HD u64 wgmma_descriptor(u32 address) {
  return (u64)((address >> 4) & 0x3FFF) | ((u64)1 << 16) | ((u64)(1024 >> 4) << 32) | ((u64)1 << 62);
}

// Sum of weight times level number, from the count of common ones. Bipolar weights: only positive ones are stored, and
// `row_ones` is the count of the row's own ones; ternary: negative ones were subtracted already.
HD int weighted_sum(int count, int row_ones, bool bipolar) { return bipolar ? 2 * count - row_ones : count; }

// One bit of the next layer.
HD u32 reached(int sum, int limit) { return sum >= limit ? 1u : 0u; }

// What accumulators are multiplied by before a pass: a new plane doubles them (binary, shift 1) or keeps them (thermometer,
// shift 0), and passes over negative weights, which come first of a plane's `parts`, have the sign turned.
HD int pass_factor(int pass, int parts, int shift) {
  if (pass == 0) return 1;
  if (pass % parts) return -1;
  return parts == 2 ? -(1 << shift) : 1 << shift;
}
