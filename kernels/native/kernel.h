// What a kernel is to the engine: a function over a range of work items that reads plain pointers and plain parameters.
//
// Kernels never allocate, never throw and never return errors; what they assume of their parameters is checked by the
// lowering that emits the step. Sources under kernels/<family>/ are compiled once per ISA level, with THIN_ISA set to its
// name: they use no STL and keep every helper in an anonymous namespace or static, so that no function compiled for a
// newer CPU can be picked by the linker for an older one.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ThinCall {
  void* const* buf;  // the step's buffers, in the order that the family's README gives
  const int64_t* p;  // the step's parameters; a float lies in the low 32 bits (thin_f32)
  char* scratch;     // this thread's scratch memory, 64-byte aligned, as large as the step asked for
};

// Does the work items [begin, end) of the step. Items are independent of each other and of how they are split, so results
// do not depend on the number of threads.
typedef void (*ThinKernelFn)(const ThinCall* call, int64_t begin, int64_t end);

static inline float thin_f32(int64_t bits) {
  const uint32_t low = (uint32_t)bits;
  float value;
  __builtin_memcpy(&value, &low, sizeof value);
  return value;
}

#define THIN_JOIN_(a, b, c, d) a##b##c##d
#define THIN_JOIN(a, b, c, d) THIN_JOIN_(a, b, c, d)

// Opens the definition of a kernel at the ISA level being compiled: THIN_KERNEL(gemm_f32) { ... call, begin, end ... }
#define THIN_KERNEL(name)                                                                               \
  extern "C" __attribute__((visibility("hidden"))) void THIN_JOIN(thin_, name, _, THIN_ISA)(             \
      [[maybe_unused]] const ThinCall* call, [[maybe_unused]] int64_t begin, [[maybe_unused]] int64_t end)
