#include "dispatch.h"

#include <string.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

// Declarations, then the table: two of the readers of kernels.inc (tests and benchmarks read the table through the binding).
#define THIN_DECLARE(name, isa) extern "C" void thin_##name##_##isa(const ThinCall*, int64_t, int64_t);
#if defined(THIN_HAVE_AVX512VNNI)
#define AVX512VNNI(name, layout) THIN_DECLARE(name, avx512vnni)
#else
#define AVX512VNNI(name, layout)
#endif
#if defined(THIN_HAVE_AVX512)
#define AVX512(name, layout) THIN_DECLARE(name, avx512)
#else
#define AVX512(name, layout)
#endif
#if defined(THIN_HAVE_AVX2)
#define AVX2(name, layout) THIN_DECLARE(name, avx2)
#else
#define AVX2(name, layout)
#endif
#if defined(THIN_HAVE_DOTPROD)
#define DOTPROD(name, layout) THIN_DECLARE(name, dotprod)
#else
#define DOTPROD(name, layout)
#endif
#define BASELINE(name, layout) THIN_DECLARE(name, baseline)
#include "../kernels.inc"
#undef AVX512VNNI
#undef AVX512
#undef AVX2
#undef DOTPROD
#undef BASELINE

#if defined(THIN_HAVE_AVX512VNNI)
#define AVX512VNNI(name, layout) {#name, #layout, THIN_ISA_LEVEL_AVX512VNNI, thin_##name##_avx512vnni},
#else
#define AVX512VNNI(name, layout)
#endif
#if defined(THIN_HAVE_AVX512)
#define AVX512(name, layout) {#name, #layout, THIN_ISA_LEVEL_AVX512, thin_##name##_avx512},
#else
#define AVX512(name, layout)
#endif
#if defined(THIN_HAVE_AVX2)
#define AVX2(name, layout) {#name, #layout, THIN_ISA_LEVEL_AVX2, thin_##name##_avx2},
#else
#define AVX2(name, layout)
#endif
#if defined(THIN_HAVE_DOTPROD)
#define DOTPROD(name, layout) {#name, #layout, THIN_ISA_LEVEL_DOTPROD, thin_##name##_dotprod},
#else
#define DOTPROD(name, layout)
#endif
#define BASELINE(name, layout) {#name, #layout, THIN_ISA_LEVEL_BASELINE, thin_##name##_baseline},
const ThinKernelRow thin_kernels[] = {
#include "../kernels.inc"
};
const size_t thin_kernel_count = sizeof(thin_kernels) / sizeof(thin_kernels[0]);

const char* thin_isa_name(int isa) {
#if defined(__arm__) || defined(__aarch64__)
  static const char* const names[THIN_ISA_LEVELS] = {"neon", "avx2", "avx512", "avx512vnni", "dotprod"};
#else
  static const char* const names[THIN_ISA_LEVELS] = {"baseline", "avx2", "avx512", "avx512vnni", "dotprod"};
#endif
  return names[isa];
}

bool thin_isa_compiled(int isa) {
  for (size_t i = 0; i < thin_kernel_count; i++)
    if (thin_kernels[i].isa == isa) return true;
  return false;
}

bool thin_isa_runs(int isa) {
  if (!thin_isa_compiled(isa)) return false;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (isa == THIN_ISA_LEVEL_AVX2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
           __builtin_cpu_supports("bmi2");
  if (isa == THIN_ISA_LEVEL_AVX512)
    return thin_isa_runs(THIN_ISA_LEVEL_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (isa == THIN_ISA_LEVEL_AVX512VNNI)
    return thin_isa_runs(THIN_ISA_LEVEL_AVX512) && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq");
#elif defined(__aarch64__)
  if (isa == THIN_ISA_LEVEL_DOTPROD) return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#endif
  return isa == THIN_ISA_LEVEL_BASELINE;
}

const ThinKernelRow* thin_find(const char* name, int isa) {
  for (size_t i = 0; i < thin_kernel_count; i++)  // best first, so the first that fits is the one
    if (thin_kernels[i].isa <= isa && strcmp(thin_kernels[i].name, name) == 0) return &thin_kernels[i];
  return nullptr;
}
