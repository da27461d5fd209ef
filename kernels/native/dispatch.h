// Every kernel of kernels.inc with its ISA level, and which levels this CPU has.
#pragma once

#include <stddef.h>

#include "kernel.h"

// Weakest first; a build holds those of its architecture. AVX512VNNI also promises VBMI, VBMI2, BITALG and VPOPCNTDQ (Ice Lake, Zen 4).
enum ThinIsa {
  THIN_ISA_LEVEL_BASELINE = 0,  // x86-64 with SSE2, or ARM with NEON
  THIN_ISA_LEVEL_AVX2 = 1,
  THIN_ISA_LEVEL_AVX512 = 2,
  THIN_ISA_LEVEL_AVX512VNNI = 3,
  THIN_ISA_LEVEL_DOTPROD = 4,  // ARMv8.2 with sdot and udot
  THIN_ISA_LEVELS = 5
};

struct ThinKernelRow {
  const char* name;
  const char* layout;  // of its activations: NCHW, NHWC or ANY
  int isa;             // ThinIsa
  ThinKernelFn fn;
};

extern const ThinKernelRow thin_kernels[];
extern const size_t thin_kernel_count;

const char* thin_isa_name(int isa);          // "baseline" ("neon" on ARM), "avx2", "avx512", "avx512vnni", "dotprod"
bool thin_isa_compiled(int isa);             // the build holds kernels of that level
bool thin_isa_runs(int isa);                 // and this CPU can run them
const ThinKernelRow* thin_find(const char* name, int isa);  // best row of that kernel at or below that level; null if none
