// The scheduler: every thread of a block is a fiber, run in turn until all have returned.
#include "emulate.h"

Index blockIdx, blockDim, gridDim, threadIdx;
Block* block;
alignas(1024) unsigned char arena[ARENA];
std::map<void*, Barrier> barriers;
std::vector<Copy> copies;

static std::vector<Fiber>* fibers;
static unsigned current;
static ucontext_t home;
static jmp_buf scheduler;
static Launcher launcher;
static void** arguments;

std::map<std::string, Launcher>& kernels() {
  static std::map<std::string, Launcher> all;
  return all;
}

static void run_fiber() {
  launcher(arguments);
  Fiber& fiber = (*fibers)[current];
  fiber.done = true;
  Warp& warp = block->warps[fiber.thread / 32];
  warp.present--;
  block->present--;
  if (warp.arrived && warp.arrived == warp.present) warp.arrived = 0, warp.generation++;
  if (block->arrived && block->arrived == block->present) block->arrived = 0, block->generation++;
  _longjmp(scheduler, 1);
}

void hand_over() {
  if (!_setjmp((*fibers)[current].jump)) _longjmp(scheduler, 1);
}

extern "C" int emulate(const char* name, unsigned grid_x, unsigned grid_y, unsigned threads, void** args) {
  auto found = kernels().find(name);
  if (found == kernels().end()) return 1;
  launcher = found->second;
  arguments = args;
  gridDim = {grid_x, grid_y, 1};
  blockDim = {threads, 1, 1};
  std::vector<Fiber> all(threads);
  for (Fiber& fiber : all) fiber.stack.resize(1 << 16);
  fibers = &all;
  for (unsigned y = 0; y < grid_y; y++)
    for (unsigned x = 0; x < grid_x; x++) {
      blockIdx = {x, y, 0};
      Block state;
      block = &state;
      state.present = threads;
      barriers.clear();
      copies.clear();
      for (unsigned t = 0; t < threads; t++) {
        state.warps[t / 32].present++;
        all[t].done = all[t].begun = false;
        all[t].thread = t;
        getcontext(&all[t].context);
        all[t].context.uc_stack.ss_sp = all[t].stack.data();
        all[t].context.uc_stack.ss_size = all[t].stack.size();
        all[t].context.uc_link = nullptr;
        makecontext(&all[t].context, run_fiber, 0);
      }
      for (unsigned left = threads, idle = 0; left;) {
        if (idle++ > 1000000) return 2;  // a barrier that not all threads reach
        for (current = 0; current < threads; current++) {
          if (all[current].done) continue;
          threadIdx = {current, 0, 0};
          if (!_setjmp(scheduler)) {
            if (all[current].begun) _longjmp(all[current].jump, 1);
            all[current].begun = true;
            swapcontext(&home, &all[current].context);
          }
          if (all[current].done) left--, idle = 0;
        }
      }
    }
  return 0;
}
