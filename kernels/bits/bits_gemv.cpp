// y[N] = one row of int8 or uint8 codes times a weight of integers, 1 to 8 bits each in memory: docs/quantization.md, bit for bit.
#if defined(__AVX512VNNI__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns2")  // GCC gathers the permutes and the products, which then wait for each other's ports
#endif
#if defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#include "vnni.h"
#elif defined(__AVX2__)
#include "avx2.h"
#elif defined(__ARM_NEON)
#include "neon.h"
#else
#include "portable.h"
#endif

namespace {

template <int B, int P>
void one(const ThinCall* call, const Row& row, const Tables<B>& table, int64_t item, int64_t steps) {
  const int64_t first = item * PANEL_GROUPS * GROUP, left = call->p[N] - first;
  int32_t raw[GROUP * P];
  const int64_t apart = steps * STEP_BYTES<B>;
  const uint8_t* w = (const uint8_t*)call->buf[WEIGHT];
  const uint8_t* panel_at = w + item * PANEL_GROUPS * apart;
  bool done = false;
  if constexpr (ON_GRIDS<B>)
    if (call->p[GRID]) {  // entry i is the first one, and i steps
      grid_panel<B, P>(panel_at, apart, row, steps, raw);
      const uint32_t step = (uint32_t)call->p[GRID], least = w[call->p[TABLE_AT]] * (uint32_t)row.sum;
      for (int i = 0; i < GROUP * P; i++) raw[i] = (int32_t)((uint32_t)raw[i] * step + least);
      done = true;
    }
  if (!done) panel<B, P>(panel_at, apart, row, steps, table, raw);
  finish(call, row, first, (int)(left < GROUP * P ? left : GROUP * P), raw);
}

template <int B>
void all(const ThinCall* call, int64_t begin, int64_t end) {
  const Row row(call);
  const Tables<B> table((const uint8_t*)call->buf[WEIGHT] + call->p[TABLE_AT], row);
  const int64_t steps = (call->p[K] + STEP<B> - 1) / STEP<B>, groups = (call->p[N] + GROUP - 1) / GROUP;
  for (int64_t item = begin; item < end; item++) {
    const int64_t left = groups - item * PANEL_GROUPS;
    if (left >= 4) one<B, 4>(call, row, table, item, steps);
    else if (left == 3) one<B, 3>(call, row, table, item, steps);
    else if (left == 2) one<B, 2>(call, row, table, item, steps);
    else one<B, 1>(call, row, table, item, steps);
  }
}

}  // namespace

// buf: Buffer. p: Param. One work item per panel of 64 rows; K + 32 bytes of scratch.
THIN_KERNEL(bits_gemv) {
  switch (call->p[BITS]) {
    case 1: return all<1>(call, begin, end);
    case 2: return all<2>(call, begin, end);
    case 3: return all<3>(call, begin, end);
    case 4: return all<4>(call, begin, end);
    case 6: return all<6>(call, begin, end);
    default: return all<8>(call, begin, end);
  }
}
