// Just enough of a GPU to run the kernels of hwbnn/infer/cuda on the host, one block after another.
//
// A thread is a fiber; collective operations (barriers, shuffles, tensor cores) hand over to the next fiber until all
// that take part have come. The fragments of mma are laid out as the PTX manual says, independently of common.h.
#pragma once
#define HWBNN_NO_DEVICE
#include <setjmp.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>
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

// Hopper: shared memory of a block is one arena, so that it has addresses. Copies land late: each waits in a queue until a
// thread waits for a barrier, and spoils its target at once, so that whoever reads too early, or frees too early, errs.
constexpr unsigned ARENA = 227 * 1024;
extern unsigned char arena[ARENA];
#define HWBNN_ROOM unsigned char* const room = arena + 512;  // as if other things lay before it
inline uint32_t shared_address(const void* p) { return (uint32_t)((const unsigned char*)p - arena); }
// PTX ISA, "Shared memory layouts", 128-byte swizzle: bits 4 to 6 of an address are XOR-ed with its bits 7 to 9.
inline uint32_t swizzle_of(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

struct Barrier { unsigned count, pending; int bytes; unsigned phase; };  // of a 64-bit barrier: known by its place
struct Copy { uint32_t to; const unsigned long long* map; int x, y; void* barrier; };
extern std::map<void*, Barrier> barriers;
extern std::vector<Copy> copies;

inline void finish_phase(Barrier& barrier) {
  if (barrier.pending || barrier.bytes) return;
  barrier.phase ^= 1;
  barrier.pending = barrier.count;
}
inline void barrier_init(void* place, int count) { barriers[place] = {(unsigned)count, (unsigned)count, 0, 0}; }
inline void barrier_fence() {}
inline void barrier_arrive(void* place) {
  Barrier& barrier = barriers.at(place);
  if (!barrier.pending) abort();  // more arrivals than the barrier counts
  barrier.pending--;
  finish_phase(barrier);
}
inline void barrier_expect(void* place, int bytes) {
  barriers.at(place).bytes += bytes;
  barrier_arrive(place);
}
// A map's words: address, rows, bytes of a row, rows of a box. Boxes are 128 bytes wide; what lies outside is zeros.
inline void land(const Copy& copy) {
  const unsigned char* from = (const unsigned char*)copy.map[0];
  for (unsigned r = 0; r < copy.map[3]; r++)
    for (unsigned b = 0; b < 128; b++) {
      unsigned long long row = copy.y + r, byte = copy.x + b;
      bool inside = row < copy.map[1] && byte < copy.map[2];
      arena[swizzle_of(copy.to + r * 128 + b)] = inside ? from[row * copy.map[2] + byte] : 0;
    }
  Barrier& barrier = barriers.at(copy.barrier);
  barrier.bytes -= copy.map[3] * 128;
  finish_phase(barrier);
}
inline void barrier_wait(void* place, uint32_t phase) {
  while (barriers.at(place).phase == phase) {  // the phase of this parity is not over
    hand_over();
    if (!copies.empty()) {
      Copy next = copies.front();
      copies.erase(copies.begin());
      land(next);
    }
  }
}
template <class Map>
inline void copy_box(void* to, const Map* map, int x, int y, void* barrier) {
  uint32_t at = shared_address(to);
  if (at % 1024 || at + map->opaque[3] * 128 > ARENA) abort();  // the swizzle would shift, or the block has no such memory
  memset(arena + at, 0xA5, map->opaque[3] * 128);
  copies.push_back({at, map->opaque, x, y, barrier});
}
template <int count>
inline void registers_more() {}
template <int count>
inline void registers_less() {}
inline void products_begin() {}
inline void products_commit() {}
template <int pending>
inline void products_wait() {}

// PTX ISA, "Matrix descriptor": start address / 16 in bits 0 to 13, stride of 8-row groups / 16 in 32 to 45, base offset in
// 49 to 51, swizzle mode in 62 and 63 (1: 128 bytes). Rows of a group are 128 bytes apart.
inline const unsigned char* matrix_word(uint64_t descriptor, int row, int byte) {
  if (descriptor >> 62 != 1 || descriptor >> 49 & 7) abort();
  uint32_t start = (descriptor & 0x3FFF) << 4, stride = (descriptor >> 32 & 0x3FFF) << 4;
  return arena + swizzle_of(start + row / 8 * stride + row % 8 * 128 + byte);
}
// PTX ISA, "Register fragments for wgmma.mma_async.m64nNk256", D: lane l of warp w of the warpgroup holds in register i row
// 16 w + l / 4, plus 8 where i % 4 >= 2, column 8 (i / 4) + 2 (l % 4) + i % 2.
inline void wgmma_and(int (&d)[64], uint64_t a, uint64_t b) {
  int warp = threadIdx.x % 128 / 32, lane = threadIdx.x % 32;
  for (int i = 0; i < 64; i++) {
    int row = 16 * warp + lane / 4 + (i % 4 >= 2 ? 8 : 0), column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
    for (int k = 0; k < 32; k += 8) {  // 8 bytes never cross a 16-byte unit
      uint64_t x, y;
      memcpy(&x, matrix_word(a, row, k), 8);
      memcpy(&y, matrix_word(b, column, k), 8);
      d[i] += __popcll(x & y);
    }
  }
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
