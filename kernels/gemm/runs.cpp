// y[N] = clamp(alpha * scale * (W · x) + bias) for one row of activations and weights of 1 or 2 bits: look-ups of products that are tabled first.
#include "pairs.h"

namespace {

// 1 and 2 bits with one table for all panels: the products of every possible run of RUN weights with RUN activations are tabled
// once, and each look-up then adds RUN weights (the idea of T-MAC, arXiv 2407.00088 section 3.2, in fp32).
#if defined(__AVX2__)
// 16 sums per run, which registers hold.
template <int BITS>
struct Runs {
  static constexpr int RUN = 4 / BITS, PER_WORD = 8;
#if defined(__AVX512F__)
  static constexpr int64_t BLOCK = 1024;  // runs whose tables are in use together: 64 KB, which an L2 cache brings in time
  static constexpr int TOGETHER = 4;      // panels that share a table once it is loaded
#else
  static constexpr int64_t BLOCK = 256;
  static constexpr int TOGETHER = 2;
#endif

  // tables[r][i] = Σ_j entry(bits j of i) * x[r * RUN + j]
  static void build(const float* entries, const float* x, int64_t n, float* tables) {
    float entry[RUN][16];
    for (int j = 0; j < RUN; j++)
      for (int i = 0; i < 16; i++) entry[j][i] = entries[(i >> (BITS * j)) & ((1 << BITS) - 1)];
    for (int64_t k = 0; k < n; k += RUN, tables += 16)
      for (int part = 0; part < 16; part += VL) {
        vf sum = load(entry[0] + part) * x[k];
        for (int j = 1; j < RUN && k + j < n; j++) sum += load(entry[j] + part) * x[k + j];
        store(tables + part, sum);
      }
  }

#if defined(__AVX512F__)
  // Adds `runs` runs of P panels that lie `apart` words apart to their totals: every table is loaded once for all of them. Where CPUs have four
  // ports for vectors (Zen 4), permutes, shifts and additions share three of them, so most additions are multiply-adds, for which
  // there is the fourth; and bytes come to the low end of their lane by loads rather than shifts. Loads reach up to 2 bytes past a
  // panel: into the next one, or the weight's table.
  template <int P>
  static void add(const int32_t* w, int64_t apart, const float* tables, int64_t runs, float* total) {
    vf sum[P][2];
    for (int i = 0; i < P; i++) sum[i][0] = load(total + i * PANEL), sum[i][1] = vf{};
    vf one = splat(1.0f);
    asm("" : "+v"(one));
    int64_t r = 0;
    for (; r + PER_WORD <= runs; r += PER_WORD, w += PANEL) {
      vi low[P];
#pragma GCC unroll 8
      for (int j = 0; j < PER_WORD; j++, tables += 16) {
        const vf table = load(tables);
#pragma GCC unroll 4
        for (int i = 0; i < P; i++) {
          if (j % 2 == 0) low[i] = j < 6 ? once((const char*)(w + i * apart) + j / 2) : low[i] >> 8;
          const vf found = looked_up(table, j % 2 ? low[i] >> 4 : low[i]);
          sum[i][j % 2] = j % 4 == 3 ? sum[i][j % 2] + found : (vf)_mm512_fmadd_ps((__m512)found, (__m512)one, (__m512)sum[i][j % 2]);
        }
      }
    }
    for (int i = 0; i < P; i++, w += apart, total += PANEL) {
      if (r < runs) {
        vi word = loadi(w);
        for (int64_t q = r; q < runs; q++, word >>= 4) sum[i][0] += looked_up(load(tables + (q - r) * 16), word);
      }
      store(total, sum[i][0] + sum[i][1]);
    }
  }
  static vf looked_up(vf table, vi index) { return (vf)_mm512_permutexvar_ps((__m512i)index, (__m512)table); }
  // A load that stays one: compilers repeat loads as operands.
  static vi once(const void* p) {
    vi v = loadi(p);
    asm("" : "+v"(v));
    return v;
  }
#else
  // Adds `runs` runs of P panels that lie `apart` words apart to their totals: every table is loaded once for all of them.
  template <int P>
  static void add(const int32_t* w, int64_t apart, const float* tables, int64_t runs, float* total) {
    for (int v = 0; v < NV; v++, w += VL, total += VL) {
      vf sum[P][2];
      for (int i = 0; i < P; i++) sum[i][0] = load(total + i * PANEL), sum[i][1] = vf{};
      const int32_t* p = w;
      const float* t = tables;
      int64_t r = 0;
      for (; r + PER_WORD <= runs; r += PER_WORD, p += PANEL) {
        vi word[P];
        for (int i = 0; i < P; i++) {
          word[i] = loadi(p + i * apart);
          __builtin_prefetch(p + (P + i) * apart);
        }
#pragma GCC unroll 8
        for (int j = 0; j < PER_WORD; j++, t += 16) {
          const Table<4> table(t, nullptr, 0);
#pragma GCC unroll 4
          for (int i = 0; i < P; i++) sum[i][j % 2] += table(word[i] >> (4 * j));
        }
      }
      for (int i = 0; i < P; i++) {
        if (r < runs) {
          vi word = loadi(p + i * apart);
          for (int64_t q = r; q < runs; q++, word >>= 4) sum[i][0] += Table<4>(t + (q - r) * 16, nullptr, 0)(word);
        }
        store(total + i * PANEL, sum[i][0] + sum[i][1]);
      }
    }
  }
#endif

  static void all(const ThinCall* call, int64_t begin, int64_t end) {
    const Layer layer(call);
    float *tables = (float*)call->scratch, *totals = tables + BLOCK * 16;
    for (int64_t i = 0; i < (end - begin) * PANEL; i++) totals[i] = 0;
    const int64_t runs = (call->p[K] + RUN - 1) / RUN;
    for (int64_t r = 0; r < runs; r += BLOCK) {
      const int64_t count = runs - r < BLOCK ? runs - r : BLOCK, left = call->p[K] - r * RUN;
      build(layer.packed.table(0), layer.x(0) + r * RUN, left < count * RUN ? left : count * RUN, tables);
      const int64_t apart = layer.packed.p[W_PANEL_BYTES] / 4;
      for (int64_t item = begin; item < end;) {
        const int32_t* w = (const int32_t*)layer.packed.panel(item) + r / PER_WORD * PANEL;
        float* total = totals + (item - begin) * PANEL;
        if (item + TOGETHER <= end) add<TOGETHER>(w, apart, tables, count, total), item += TOGETHER;
        else add<1>(w, apart, tables, count, total), item++;
      }
    }
    for (int64_t item = begin; item < end; item++) layer.write(item, totals + (item - begin) * PANEL);
  }
};
#else
// 256 sums per run, looked up in memory: a load and an addition for the columns that a byte of a word names.
template <int BITS>
struct Runs {
  static constexpr int RUN = 8 / BITS, HALF = RUN / 2, PER_WORD = 4, SUMS = 256;
  static constexpr int64_t BLOCK = 24;  // runs whose sums are in use together: 24 KB, which an L1 cache holds

  // Entries that half a byte names, for each column of half a run.
  struct Entries {
    float at[HALF][16];
    explicit Entries(const float* entries) {
      for (int j = 0; j < HALF; j++)
        for (int i = 0; i < 16; i++) at[j][i] = entries[i >> (BITS * j) & ((1 << BITS) - 1)];
    }
    // The 16 sums of half a run of which n columns are there.
    void sums(const float* x, int64_t n, float* out) const {
      for (int v = 0; v < 16; v += VL) {
        vf sum{};
        for (int j = 0; j < HALF && j < n; j++) sum += load(at[j] + v) * x[j];
        store(out + v, sum);
      }
    }
  };
  // Sums of all runs of n columns, filled up to whole words.
  static void build(const Entries& entries, const float* x, int64_t n, float* sums) {
    for (int64_t k = 0; k < n || k % (PER_WORD * RUN) != 0; k += RUN, sums += SUMS) {
      float low[16], high[16];
      entries.sums(x + k, n - k, low);
      entries.sums(x + k + HALF, n - k - HALF, high);
      for (int i = 0; i < 16; i++)
        for (int v = 0; v < 16; v += VL) store(sums + 16 * i + v, load(low + v) + high[i]);
    }
  }

  // Adds so many words of a panel to its totals.
  static void add(const int32_t* w, const float* sums, int64_t words, float* total) {
    float sum[PANEL];
    for (int r = 0; r < PANEL; r++) sum[r] = total[r];
    for (; words > 0; words--, w += PANEL, sums += PER_WORD * SUMS) {
#pragma GCC unroll 16
      for (int first = 0; first < PANEL; first += 4 * WORD_ROWS) {
        size_t held[4];
        for (int i = 0; i < 4; i++) held[i] = rows_of_words(w + first + i * WORD_ROWS);
#pragma GCC unroll 4
        for (int j = 0; j < PER_WORD; j++) {
          const float* at = sums + j * SUMS;
          asm("" : "+r"(at));  // a register of its own, to which a load can add an index
#pragma GCC unroll 8
          for (int i = 0, r = first; i < 4 * WORD_ROWS; i++, r++)
            sum[r] = alone(sum[r] + at[held[i / WORD_ROWS] >> (i % WORD_ROWS * 32 + 8 * j) & 255]);
        }
      }
    }
    for (int r = 0; r < PANEL; r++) total[r] = sum[r];
  }

  static void all(const ThinCall* call, int64_t begin, int64_t end) {
    const Layer layer(call);
    const Entries entries(layer.packed.table(0));
    float *sums = (float*)call->scratch, *totals = sums + BLOCK * SUMS;
    for (int64_t i = 0; i < (end - begin) * PANEL; i++) totals[i] = 0;
    constexpr int64_t COLUMNS = BLOCK * RUN;
    for (int64_t k = 0; k < layer.p[K]; k += COLUMNS) {
      const int64_t n = layer.p[K] - k < COLUMNS ? layer.p[K] - k : COLUMNS;
      build(entries, layer.x(0) + k, n, sums);
      for (int64_t item = begin; item < end; item++)
        add((const int32_t*)layer.packed.panel(item) + k / (PER_WORD * RUN) * PANEL, sums, (n + PER_WORD * RUN - 1) / (PER_WORD * RUN),
            totals + (item - begin) * PANEL);
    }
    for (int64_t item = begin; item < end; item++) layer.write(item, totals + (item - begin) * PANEL);
  }
};
#endif

}  // namespace

// buf: x, packed weights of one group with one table, bias [panels * 16], y. p: Param. One work item per panel; 64 KB + 64 bytes per panel of scratch.
THIN_KERNEL(gemv_runs1) { Runs<1>::all(call, begin, end); }
THIN_KERNEL(gemv_runs2) { Runs<2>::all(call, begin, end); }
