// y[M, N] = clamp(alpha * scale * (x[M, K] · Wᵀ) + bias) for a few rows of x: every weight is looked up once for up to ROWS of them, in registers or,
// where vectors have four lanes, in memory.
#include "decode.h"
#include "few_pairs.h"

namespace {

enum Param { M, K, N, LDX, ALPHA, LOW, HIGH, PACKED };

#if defined(__AVX512F__)
constexpr int ROWS = 8;
#elif defined(__AVX2__)
constexpr int ROWS = 4;
#endif

struct Layer {
  const ThinCall* call;
  const int64_t* p = call->p;
  Packed packed{(const char*)call->buf[1], p + PACKED};

  // Vector v of panel `item` of a row.
  void write(int64_t item, int v, int64_t row, vf sum) const {
    const float *scale = packed.scale(item), *bias = (const float*)call->buf[2] + item * PANEL;
    const int64_t left = p[N] - item * PANEL - v * VL;
    vf factor = splat(thin_f32(p[ALPHA]));
    if (scale) factor *= load(scale + v * VL);
    const vf done = clamp(sum * factor + load(bias + v * VL), splat(thin_f32(p[LOW])), splat(thin_f32(p[HIGH])));
    float* y = (float*)call->buf[3] + row * p[N] + item * PANEL + v * VL;
    if (left >= VL) store(y, done);
    else if (left > 0) store_n(y, done, (int)left);
  }

#if defined(__AVX2__)
  // Rows [row, row + R) × a panel. The fewer rows, the more sums of each, to hide the latency of the additions.
  template <int BITS, int R>
  void rows(int64_t item, int64_t row) const {
    constexpr int PER = per_word(BITS), CHAINS = R <= 2 ? 4 : R <= 4 ? 2 : 1;
    const int64_t n = p[K];
    for (int v = 0; v < NV; v++) {
      const Table<BITS> lookup(packed.table(item), nullptr, v);
      const int32_t* w = (const int32_t*)packed.panel(item) + v * VL;
      const float* x[R];
      vf sums[R][CHAINS];
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        x[r] = (const float*)call->buf[0] + (row + r) * p[LDX];
        for (int c = 0; c < CHAINS; c++) sums[r][c] = vf{};
      }
      int64_t k = 0;
      for (; k + PER <= n; k += PER, w += PANEL) {
        const vi word = loadi(w);
#pragma GCC unroll 32
        for (int j = 0; j < PER; j++) {
          const vf weights = lookup(word >> (BITS * j));
#pragma GCC unroll 8
          for (int r = 0; r < R; r++) sums[r][j % CHAINS] += weights * x[r][k + j];
        }
      }
      if (k < n)
        for (vi word = loadi(w); k < n; k++, word >>= BITS)
#pragma GCC unroll 8
          for (int r = 0; r < R; r++) sums[r][0] += lookup(word) * x[r][k];
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        for (int c = 1; c < CHAINS; c++) sums[r][0] += sums[r][c];
        write(item, v, row + r, sums[r][0]);
      }
    }
  }

  template <int BITS, int R>
  void rows_of(int64_t count, int64_t item, int64_t row) const {
    if (count == R) rows<BITS, R>(item, row);
    else if constexpr (R > 1) rows_of<BITS, R - 1>(count, item, row);
  }
#endif
};

template <int BITS>
void panels(const ThinCall* call, int64_t begin, int64_t end) {
  const Layer layer{call};
  const int64_t m = call->p[M], blocks = (m + ROWS - 1) / ROWS;
#if defined(__AVX2__)
  for (int64_t item = begin; item < end; item++)
    for (int64_t i = 0; i < blocks; i++) layer.rows_of<BITS, ROWS>(m * (i + 1) / blocks - m * i / blocks, item, m * i / blocks);
#else
  Pairs<BITS> pairs;
  float total[ROWS][PANEL];
  for (int64_t item = begin; item < end; item++) {
    pairs.make(layer.packed.table(item));
    for (int64_t i = 0; i < blocks; i++) {
      const int64_t row = m * i / blocks, count = m * (i + 1) / blocks - row, ldx = call->p[LDX];
      few_rows_of<BITS, ROWS>(layer.packed, item, pairs, (const float*)call->buf[0] + row * ldx, ldx, call->p[K], (int)count, total);
      for (int64_t r = 0; r < count; r++)
        for (int v = 0; v < NV; v++) layer.write(item, v, row + r, load(total[r] + v * VL));
    }
  }
#endif
}

}  // namespace

// buf: x, packed weights of at most 6 bits (vectors of four lanes: 5) without lanes and groups, bias [panels * 16], y. p: Param. One work item per panel.
THIN_KERNEL(few_codebook) {
  switch (call->p[PACKED + W_BITS]) {
    case 1: return panels<1>(call, begin, end);
    case 2: return panels<2>(call, begin, end);
    case 3: return panels<3>(call, begin, end);
    case 4: return panels<4>(call, begin, end);
#if defined(__AVX2__)
    case 6: return panels<6>(call, begin, end);
#endif
    default: return panels<5>(call, begin, end);
  }
}
