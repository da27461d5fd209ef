#include "dispatch.h"

#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__)
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

#if defined(__x86_64__) || defined(__i386__)
namespace {

// Whether the CPU has the instructions of a level and the system keeps its registers. Asked of the CPU itself: what __builtin_cpu_supports says
// hangs on the compiler's runtime library, and zig's (0.17) says no to everything.
bool x86_runs(int isa) {
  unsigned a, b, c, d, seven_b, seven_c;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  constexpr unsigned AVX = bit_FMA | bit_POPCNT | bit_OSXSAVE | bit_AVX | bit_F16C;
  constexpr unsigned AVX2 = bit_BMI | bit_AVX2 | bit_BMI2, AVX512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  constexpr unsigned BYTES = bit_AVX512VBMI | bit_AVX512VBMI2 | bit_AVX512VNNI | bit_AVX512BITALG | bit_AVX512VPOPCNTDQ;
  constexpr unsigned YMM = 0x6, ZMM = 0xe6;  // of XCR0: the states that the system saves
  if ((c & AVX) != AVX || !__get_cpuid_count(7, 0, &a, &seven_b, &seven_c, &d)) return false;
  unsigned saved, high;
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (isa == THIN_ISA_LEVEL_AVX2) return (seven_b & AVX2) == AVX2 && (saved & YMM) == YMM;
  if (isa == THIN_ISA_LEVEL_AVX512) return x86_runs(THIN_ISA_LEVEL_AVX2) && (seven_b & AVX512) == AVX512 && (saved & ZMM) == ZMM;
  return isa == THIN_ISA_LEVEL_AVX512VNNI && x86_runs(THIN_ISA_LEVEL_AVX512) && (seven_c & BYTES) == BYTES;
}

}  // namespace
#endif

bool thin_isa_runs(int isa) {
  if (!thin_isa_compiled(isa)) return false;
#if defined(__x86_64__) || defined(__i386__)
  if (x86_runs(isa)) return true;
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
