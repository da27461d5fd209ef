// y[N] = clamp(alpha * scale * (W · x) + bias) for one row of activations: every weight is read once, decoded in registers.
#include "bytes.h"
#include "decode.h"

namespace {

enum Param { K, N, GROUPS, ALPHA, LOW, HIGH, BACKWARDS, PACKED };  // BACKWARDS: the last panel of a call first

constexpr int CHAINS = 8;            // independent sums, to hide the latency of the additions
constexpr int DEPTH = CHAINS / NV;   // of which this many per vector of rows
constexpr int64_t AHEAD = 4096;      // bytes between what is read and what is fetched: the streams are longer than a page

struct Sums {
  vf at[DEPTH][NV];
  Sums() {
    for (int d = 0; d < DEPTH; d++)
      for (int v = 0; v < NV; v++) at[d][v] = vf{};
  }
  vf total(int v) const {
    vf sum = at[0][v];
    for (int d = 1; d < DEPTH; d++) sum += at[d][v];
    return sum;
  }
};

struct Layer {
  const ThinCall* call;
  const int64_t* p;
  Packed packed;
  int64_t panels;  // per group
  explicit Layer(const ThinCall* c)
      : call(c), p(c->p), packed{(const char*)c->buf[1], c->p + PACKED}, panels((c->p[N] + PANEL - 1) / PANEL) {}
  const float* x(int64_t item) const { return (const float*)call->buf[0] + item / panels * p[K]; }

  // Scales, adds the bias, clamps and writes the sums of panel `item`.
  void write(int64_t item, const float* sums) const {
    const float *scale = packed.scale(item), *bias = (const float*)call->buf[2] + item * PANEL;
    float* y = (float*)call->buf[3] + item / panels * p[N] + item % panels * PANEL;
    const int64_t left = p[N] - item % panels * PANEL;
    const vf low = splat(thin_f32(p[LOW])), high = splat(thin_f32(p[HIGH]));
    for (int v = 0; v < NV && v * VL < left; v++) {
      vf factor = splat(thin_f32(p[ALPHA]));
      if (scale) factor *= load(scale + v * VL);
      const vf done = clamp(load(sums + v * VL) * factor + load(bias + v * VL), low, high);
      if (left - v * VL >= VL) store(y + v * VL, done);
      else store_n(y + v * VL, done, (int)(left - v * VL));
    }
  }
  void write(int64_t item, const Sums& sums) const {
    float total[PANEL];
    for (int v = 0; v < NV; v++) store(total + v * VL, sums.total(v));
    write(item, total);
  }
};

struct Floats {
  typedef float Element;
  static vf read(const float* p, int v) { return load(p + v * VL); }
};
struct Halves {
  typedef uint16_t Element;
  static vf read(const uint16_t* p, int v) { return load_half(p, v); }
};

// One panel, fetched ahead of use: for matrices that a cache holds, which is where prefetchers of the CPU see too short a stream.
template <class Values>
void one(const Layer& layer, int64_t item) {
  typedef typename Values::Element Element;
  const float* x = layer.x(item);
  const Element* w = (const Element*)layer.packed.panel(item);
  const int64_t n = layer.p[K];
  Sums sums;
  int64_t k = 0;
  for (; k + DEPTH <= n; k += DEPTH, w += DEPTH * PANEL) {
    for (int64_t b = 0; b < DEPTH * PANEL * (int64_t)sizeof(Element); b += 64) __builtin_prefetch((const char*)w + AHEAD + b);
#pragma GCC unroll 8
    for (int d = 0; d < DEPTH; d++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) sums.at[d][v] += Values::read(w + d * PANEL, v) * x[k + d];
  }
  for (; k < n; k++, w += PANEL)
    for (int v = 0; v < NV; v++) sums.at[0][v] += Values::read(w, v) * x[k];
  layer.write(item, sums);
}

// Panels that are read together, of matrices that come from memory: more streams for the CPU's prefetchers, and x is read once for all.
#if defined(__AVX512F__)
constexpr int TOGETHER = 4;
#elif defined(__AVX2__) || defined(__aarch64__)
constexpr int TOGETHER = 2;
#else
constexpr int TOGETHER = 1;
#endif
constexpr int64_t LARGE = 4 << 20;  // bytes of such a matrix, at least

template <class Values, int P>
void several(const Layer& layer, int64_t item) {
  typedef typename Values::Element Element;
  const float* x = layer.x(item);
  const Element* w[P];
  vf even[P][NV], odd[P][NV];  // sums over every second column
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
    w[p] = (const Element*)layer.packed.panel(item + p);
    for (int v = 0; v < NV; v++) even[p][v] = odd[p][v] = vf{};
  }
  const int64_t n = layer.p[K];
  int64_t k = 0;
  for (; k + 2 <= n; k += 2) {
    const vf first = splat(x[k]), second = splat(x[k + 1]);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) {
        even[p][v] += Values::read(w[p] + k * PANEL, v) * first;
        odd[p][v] += Values::read(w[p] + (k + 1) * PANEL, v) * second;
      }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
    float total[PANEL];
    for (int v = 0; v < NV; v++) {
      if (k < n) even[p][v] += Values::read(w[p] + k * PANEL, v) * x[k];
      store(total + v * VL, even[p][v] + odd[p][v]);
    }
    layer.write(item + p, total);
  }
}

template <class Values>
void plain(const ThinCall* call, int64_t begin, int64_t end) {
  const Layer layer(call);
  const bool large = call->p[GROUPS] == 1 && layer.panels * call->p[PACKED + W_PANEL_BYTES] >= LARGE;  // groups read different x
  for (int64_t done = begin, count; done < end; done += count) {
    count = large && end - done >= TOGETHER ? TOGETHER : 1;
    const int64_t item = call->p[BACKWARDS] ? begin + end - done - count : done;
    if (!large) one<Values>(layer, item);
    else if (count == TOGETHER) several<Values, TOGETHER>(layer, item);
    else several<Values, 1>(layer, item);
  }
}

// Codebook: a word of each row gives per_word(BITS) weights.
template <int BITS, class Lookup>
inline void words(const Layer& layer, int64_t item, const float* x, Sums& sums) {
  constexpr int PER = per_word(BITS);
  const int64_t n = layer.p[K];
  for (int v = 0; v < NV; v++) {
    const Lookup lookup(layer.packed.table(item), layer.packed.lanes(item), v);
    const int32_t* w = (const int32_t*)layer.packed.panel(item) + v * VL;
    int64_t k = 0;
    for (; k + PER <= n; k += PER, w += PANEL) {
      const vi word = loadi(w);
      __builtin_prefetch((const char*)w + AHEAD);
#pragma GCC unroll 32
      for (int j = 0; j < PER; j++) sums.at[j % DEPTH][v] += lookup(word >> (BITS * j)) * x[k + j];
    }
    if (k < n)
      for (vi word = loadi(w); k < n; k++, word >>= BITS) sums.at[0][v] += lookup(word) * x[k];
  }
}

#if defined(__AVX512VBMI__)
// One table of 256 entries: four columns of all rows at once, a byte of their floats at a time (bytes.h). Lanes of the sums are then
// columns and rows: vector q has, four by four, the sums of rows q, 4 + q, 8 + q and 12 + q over every fourth column.
inline void bytes_of_words(const Layer& layer, const ByteTable& table, int64_t item, const float* x, float* total) {
  const int64_t n = layer.p[K], whole = n / 4;
  const char* w = layer.packed.panel(item);
  __m512 sums[4] = {};
  for (int64_t k = 0; k < whole; k++, w += 64) {
    __builtin_prefetch(w + AHEAD);
    __m512 rows[4];
    table.rows(_mm512_loadu_si512(w), rows);
    const __m512 four = _mm512_broadcast_f32x4(_mm_loadu_ps(x + 4 * k));
    for (int q = 0; q < 4; q++) sums[q] = _mm512_fmadd_ps(rows[q], four, sums[q]);
  }
  if (n % 4) {
    __m512 rows[4];
    table.rows(_mm512_loadu_si512(w), rows);
    const __mmask8 there = (__mmask8)((1 << n % 4) - 1);
    const __m512 four = _mm512_broadcast_f32x4(_mm_maskz_loadu_ps(there, x + 4 * whole));
    const __mmask16 lanes = (__mmask16)(there * 0x1111);  // codes past the last column are nothing that a sum may see
    for (int q = 0; q < 4; q++) sums[q] = _mm512_mask3_fmadd_ps(rows[q], four, sums[q], lanes);
  }
  alignas(64) float lanes[4][16];
  for (int q = 0; q < 4; q++) _mm512_store_ps(lanes[q], sums[q]);
  for (int row = 0; row < PANEL; row++) {
    const float* four = lanes[row % 4] + row / 4 * 4;
    total[row] = (four[0] + four[1]) + (four[2] + four[3]);
  }
}

// Panels [begin, end), which have one table.
void bytes_of_panels(const Layer& layer, int64_t begin, int64_t end) {
  const ByteTable table(layer.packed.table(begin));
  for (int64_t item = begin; item < end; item++) {
    float total[PANEL];
    bytes_of_words(layer, table, item, layer.x(item), total);
    layer.write(item, total);
  }
}
#endif

template <int BITS>
void codebook(const ThinCall* call, int64_t begin, int64_t end) {
  const Layer layer(call);
  for (int64_t item = begin; item < end; item++) {
    Sums sums;
    if (layer.packed.lanes(item)) words<BITS, LaneTable<BITS>>(layer, item, layer.x(item), sums);
    else words<BITS, Table<BITS>>(layer, item, layer.x(item), sums);
    layer.write(item, sums);
  }
}

// 1 and 2 bits with one table for all panels: the products of every possible run of RUN weights with RUN activations are tabled
// once, 16 sums per run, and each look-up then adds RUN weights (the idea of T-MAC, arXiv 2407.00088 section 3.2, in fp32).
template <int BITS>
struct Runs {
  static constexpr int RUN = 4 / BITS, PER_WORD = 8;
  static constexpr int64_t BLOCK = 256;  // runs whose tables are in use together: 16 KB
  static constexpr int TOGETHER = 2;     // panels that share a table once it is loaded

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

}  // namespace

// buf: x, packed weights, bias [panels * 16], y. p: Param. One work item per panel. gemv_runs1 and gemv_runs2 need one group and
// one table, and 16 KB + 64 bytes per panel of scratch.
THIN_KERNEL(gemv_f32) { plain<Floats>(call, begin, end); }
THIN_KERNEL(gemv_f16) { plain<Halves>(call, begin, end); }
THIN_KERNEL(gemv_codebook) {
  switch (call->p[PACKED + W_BITS]) {
    case 1: return codebook<1>(call, begin, end);
    case 2: return codebook<2>(call, begin, end);
    case 3: return codebook<3>(call, begin, end);
    case 4: return codebook<4>(call, begin, end);
    case 5: return codebook<5>(call, begin, end);
    case 6: return codebook<6>(call, begin, end);
    case 7: return codebook<7>(call, begin, end);
#if defined(__AVX512VBMI__)
    default:
      if (const Layer layer(call); !call->p[PACKED + W_LANES_AT]) {
        const int64_t run = call->p[PACKED + W_PANELS_PER_TABLE];
        for (int64_t at = begin, next; at < end; at = next) {
          next = (at / run + 1) * run < end ? (at / run + 1) * run : end;
          bytes_of_panels(layer, at, next);
        }
        return;
      }
      return codebook<8>(call, begin, end);
#else
    default: return codebook<8>(call, begin, end);
#endif
  }
}
THIN_KERNEL(gemv_runs1) { Runs<1>::all(call, begin, end); }
THIN_KERNEL(gemv_runs2) { Runs<2>::all(call, begin, end); }
