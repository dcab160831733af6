// Just enough of a GPU to run the kernels of hwbnn/infer/cuda on the host, one block after another.
//
// A thread is a fiber; collective operations (barriers, shuffles, tensor cores) hand over to the next fiber until all
// that take part have come. The fragments of mma are laid out as the PTX manual says, independently of common.h.
#pragma once
#define HWBNN_NO_DEVICE
#include <setjmp.h>
#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __grid_constant__

struct Index { unsigned x, y, z; };
struct Warp {
  unsigned present = 0, arrived = 0, generation = 0;
  uint32_t words[32][8];
};
struct Block {
  unsigned present = 0, arrived = 0, generation = 0;
  Warp warps[32];
};
struct Fiber {
  ucontext_t context;  // to start it; later jumps cost no system call
  jmp_buf jump;
  std::vector<char> stack;
  bool done = false, begun = false;
  unsigned thread = 0;
};

extern Index blockIdx, blockDim, gridDim, threadIdx;
extern Block* block;
void hand_over();  // to the next fiber

inline Warp& warp_of() { return block->warps[threadIdx.x / 32]; }

template <class Group>
inline void meet(Group& group) {
  unsigned generation = group.generation;
  if (++group.arrived == group.present) {
    group.arrived = 0;
    group.generation++;
  }
  while (group.generation == generation) hand_over();
}
inline void __syncthreads() { meet(*block); }
inline void __syncwarp() { meet(warp_of()); }
inline int __popc(uint32_t x) { return __builtin_popcount(x); }
inline int __popcll(uint64_t x) { return __builtin_popcountll(x); }

template <class T>
inline T __shfl_xor_sync(unsigned, T value, int mask) {
  Warp& warp = warp_of();
  unsigned lane = threadIdx.x % 32;
  memcpy(warp.words[lane], &value, sizeof value);
  meet(warp);
  T other;
  memcpy(&other, warp.words[lane ^ mask], sizeof other);
  meet(warp);
  return other;
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  Warp& warp = warp_of();
  warp.words[threadIdx.x % 32][0] = predicate != 0;
  meet(warp);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; lane++) bits |= warp.words[lane][0] << lane;
  meet(warp);
  return bits;
}

inline void copy16_async(void* to, const void* from, bool there) {
  if (there) memcpy(to, from, 16);
  else memset(to, 0, 16);
}
inline void commit_copies() {}
template <int pending>
inline void wait_copies() {}

// PTX ISA, "Matrix fragments for mma.m16n8k256": element i of A's 128 bits in lane l has row l / 4, plus 8 where
// 32 <= i < 64 or i >= 96, and column 32 * (l % 4) + i % 32, plus 128 where i >= 64. B: row 32 * (l % 4) + i % 32,
// plus 128 where i >= 32, column l / 4. C: row l / 4, plus 8 where i >= 2, column 2 * (l % 4) + i % 2.
inline void mma_and(int (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Warp& warp = warp_of();
  unsigned lane = threadIdx.x % 32;
  memcpy(warp.words[lane], a, 16);
  memcpy(warp.words[lane] + 4, b, 8);
  meet(warp);
  for (int i = 0; i < 4; i++) {
    int row = lane / 4 + (i >= 2 ? 8 : 0), column = 2 * (lane % 4) + i % 2;
    for (int k = 0; k < 256; k += 32) {
      unsigned quarter = k % 128 / 32;
      uint32_t x = warp.words[row % 8 * 4 + quarter][(row >= 8 ? 1 : 0) + (k >= 128 ? 2 : 0)];
      uint32_t y = warp.words[column * 4 + quarter][4 + (k >= 128 ? 1 : 0)];
      acc[i] += __popc(x & y);
    }
  }
  meet(warp);
}

typedef void (*Launcher)(void** args);
std::map<std::string, Launcher>& kernels();

template <class... A, std::size_t... I>
inline void apply(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
  kernel(*(std::remove_const_t<std::remove_reference_t<A>>*)args[I]...);
}
template <class... A>
inline void apply(void (*kernel)(A...), void** args) { apply(kernel, args, std::index_sequence_for<A...>{}); }

#define REGISTER(name) \
  static bool registered_##name = (kernels()[#name] = [](void** args) { apply(name, args); }, true);
