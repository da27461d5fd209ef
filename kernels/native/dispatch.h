// Every kernel of kernels.inc with its ISA level, and which levels this CPU has.
#pragma once

#include <stddef.h>

#include "kernel.h"

enum ThinIsa { THIN_ISA_LEVEL_BASELINE = 0, THIN_ISA_LEVEL_AVX2 = 1, THIN_ISA_LEVEL_AVX512 = 2, THIN_ISA_LEVELS = 3 };

struct ThinKernelRow {
  const char* name;
  const char* layout;  // of its activations: NCHW, NHWC or ANY
  int isa;             // ThinIsa
  ThinKernelFn fn;
};

extern const ThinKernelRow thin_kernels[];
extern const size_t thin_kernel_count;

const char* thin_isa_name(int isa);          // "baseline", "avx2", "avx512"
bool thin_isa_compiled(int isa);             // the build holds kernels of that level
bool thin_isa_runs(int isa);                 // and this CPU can run them
const ThinKernelRow* thin_find(const char* name, int isa);  // best row of that kernel at or below that level; null if none
