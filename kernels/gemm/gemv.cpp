// y[N] = clamp(alpha * scale * (W · x) + bias) for one row of activations: every weight is read once, decoded in registers.
#include "layer.h"
#include "pairs.h"

namespace {

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
  void write(const Layer& layer, int64_t item) const {
    float all[PANEL];
    for (int v = 0; v < NV; v++) store(all + v * VL, total(v));
    layer.write(item, all);
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
  sums.write(layer, item);
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

#if defined(__AVX2__)
// Codebook: a word of each row gives per_word(BITS) weights.
constexpr int SIDE_BY_SIDE = NV;                      // vectors of rows that share what is loaded of x
constexpr int WORD_CHAINS = NV == 1 ? 8 : 3;          // sums of each

template <int BITS, class Lookup>
inline void words(const Layer& layer, int64_t item, const float* x, float* total) {
  constexpr int PER = per_word(BITS), S = SIDE_BY_SIDE;
  const int64_t n = layer.p[K];
  for (int first = 0; first < NV; first += S) {
    const int32_t* w = (const int32_t*)layer.packed.panel(item) + first * VL;
    const float* table = layer.packed.table(item);
    const Lookup low(table, layer.packed.lanes(item), first), high(table, layer.packed.lanes(item), first + S - 1);
    vf sum[S][WORD_CHAINS];  // no memory, so that it stays in registers
    for (int s = 0; s < S; s++)
      for (int c = 0; c < WORD_CHAINS; c++) sum[s][c] = vf{};
    int64_t k = 0;
    for (; k + PER <= n; k += PER, w += PANEL) {
      vi word[S];
      for (int s = 0; s < S; s++) word[s] = loadi(w + s * VL);
      __builtin_prefetch((const char*)w + AHEAD);
#pragma GCC unroll 32
      for (int j = 0; j < PER; j++) {
        sum[0][j % WORD_CHAINS] += low(word[0] >> (BITS * j)) * x[k + j];
        if constexpr (S == 2) sum[1][j % WORD_CHAINS] += high(word[1] >> (BITS * j)) * x[k + j];
      }
    }
    for (int s = 0; s < S; s++) {
      if (k < n) {
        vi word = loadi(w + s * VL);
        for (int64_t i = k; i < n; i++, word >>= BITS) sum[s][0] += (s ? high : low)(word) * x[i];
      }
      for (int c = 1; c < WORD_CHAINS; c++) sum[s][0] += sum[s][c];
      store(total + (first + s) * VL, sum[s][0]);
    }
  }
}

#if !defined(__AVX512F__)
// Tables that do not fit registers: a multiply-add a weight with the number in memory that its index finds, where gathers take twice as long.
constexpr int SINGLE_ROWS = 8;

// The columns of a panel's last word, which is not full.
template <int BITS>
inline void last_columns(const uint32_t* w, const float* x, int64_t n, const float* table, float* total) {
  for (int j = 0; j < n; j++)
    for (int r = 0; r < PANEL; r++) total[r] += table[w[r] >> (BITS * j) & ((1u << BITS) - 1)] * x[j];
}

template <int BITS>
inline void singles(const Layer& layer, int64_t item, const float* x, float* total) {
  constexpr int PER = per_word(BITS);
  constexpr uint32_t MASK = (1u << BITS) - 1;
  const float* table = layer.packed.table(item);
  const uint32_t* words = (const uint32_t*)layer.packed.panel(item);
  const int64_t n = layer.p[K], whole = n / PER * PER;
  uint32_t by[PER];  // in registers: a shift by one of them copies, too
  for (int j = 0; j < PER; j++) {
    by[j] = (uint32_t)(BITS * j);
    asm("" : "+r"(by[j]));
  }
  for (int first = 0; first < PANEL; first += SINGLE_ROWS) {
    const uint32_t* w = words + first;
    float sum[SINGLE_ROWS] = {};
    for (int64_t k = 0; k < whole; k += PER, w += PANEL) {
      float at[PER];
#pragma GCC unroll 5
      for (int j = 0; j < PER; j++) {
        at[j] = x[k + j];
        asm("" : "+x"(at[j]));
      }
#pragma GCC unroll 8
      for (int r = 0; r < SINGLE_ROWS; r++) {
        uint32_t word = w[r];
#pragma GCC unroll 5
        for (int j = 0; j < PER; j++) {
          uint64_t index = word & MASK;
          if constexpr (BITS == 8) word >>= BITS;  // bytes have instructions of their own
          else if (j > 0) index = j < PER - 1 ? word >> by[j] & MASK : word >> by[j];  // nothing lies above the last one
          // compilers load first, and then move registers about
          asm("vfmadd231ss %2, %1, %0" : "+x"(sum[r]) : "x"(at[j]), "m"(table[index]));
        }
      }
    }
    for (int r = 0; r < SINGLE_ROWS; r++) total[first + r] = sum[r];
  }
  last_columns<BITS>(words + whole / PER * PANEL, x + whole, n - whole, table, total);
}

// Two columns at a time, in a table of all pairs of entries, the first one named by the low bits. Behind it lies one more, as loads are of four floats.
template <int BITS>
inline void paired(const Layer& layer, int64_t item, const float* pairs, const float* x, float* total) {
  constexpr int PER = per_word(BITS), COUNT = PER / 2;
  constexpr uint32_t MASK = (1u << (2 * BITS)) - 1;
  const uint32_t* words = (const uint32_t*)layer.packed.panel(item);
  const int64_t n = layer.p[K], whole = n / PER * PER;
  uint32_t by[COUNT];
  for (int j = 0; j < COUNT; j++) {
    by[j] = (uint32_t)(2 * BITS * j);
    asm("" : "+r"(by[j]));
  }
  for (int first = 0; first < PANEL; first += SINGLE_ROWS) {
    const uint32_t* w = words + first;
    __m128 sum[SINGLE_ROWS] = {};
    for (int64_t k = 0; k < whole; k += PER, w += PANEL) {
      __m128 at[COUNT];
      for (int j = 0; j < COUNT; j++) at[j] = (__m128)_mm_loadl_epi64((const __m128i*)(x + k + 2 * j));
#pragma GCC unroll 8
      for (int r = 0; r < SINGLE_ROWS; r++) {
        const uint32_t word = w[r];
#pragma GCC unroll 4
        for (int j = 0; j < COUNT; j++) {
          const uint64_t index = j == 0 ? word & MASK : j == COUNT - 1 ? word >> by[j] : word >> by[j] & MASK;
          asm("vfmadd231ps %2, %1, %0" : "+x"(sum[r]) : "x"(at[j]), "m"(*(const __m128_u*)(pairs + 2 * index)));
        }
      }
    }
    for (int r = 0; r < SINGLE_ROWS; r++) total[first + r] = sum[r][0] + sum[r][1];
  }
  last_columns<BITS>(words + whole / PER * PANEL, x + whole, n - whole, layer.packed.table(item), total);
}

constexpr int PAIRED = 5;                            // bits of an index: 8 KB of pairs
constexpr int64_t FEWEST_PAIRED = 4 << (2 * PAIRED);  // weights that are worth making them

void looked_up_in_pairs(const Layer& layer, int64_t begin, int64_t end) {
  constexpr int COUNT = 1 << PAIRED;
  alignas(64) float pairs[2 * COUNT * COUNT + 2] = {};
  const float* made = nullptr;
  for (int64_t item = begin; item < end; item++) {
    if (const float* table = layer.packed.table(item); table != made) {
      made = table;
      for (int i = 0; i < COUNT * COUNT; i++) pairs[2 * i] = table[i % COUNT], pairs[2 * i + 1] = table[i / COUNT];
    }
    float total[PANEL];
    paired<PAIRED>(layer, item, pairs, layer.x(item), total);
    layer.write(item, total);
  }
}
#endif

#if defined(__AVX512VBMI__)
// x with the middle two of the four columns exchanged that a word begins with. Zeros after the last column.
template <int PER>
const float* exchanged(const float* x, int64_t n, float* out) {
  for (int64_t k = 0; k < n; k += PER) {
    const __mmask8 there = (__mmask8)(n - k < PER ? (1 << (n - k)) - 1 : 15);
    _mm_storeu_ps(out + k, _mm_permute_ps(_mm_maskz_loadu_ps(there, x + k), 0xd8));
    if (PER == 5 && k + PER <= n) out[k + 4] = x[k + 4];
  }
  return out;
}

// One table of 64, 128 or 256 entries: four columns of all rows at once, a byte of their floats at a time (bytes.h). Lanes of the sums are then columns and
// rows. The fifth column of a word, which 6 bits have room for, is looked up row by row. `four`: x, exchanged where floats come IN_PAIRS.
template <int BITS, class Bytes>
inline void bytes_of_words(const Layer& layer, const Bytes& table, int64_t item, const float* four, float* total) {
  constexpr int PER = per_word(BITS);
  const int64_t n = layer.p[K];
  const char* w = layer.packed.panel(item);
  const Table<BITS> fifth(layer.packed.table(item), nullptr, 0);
  __m512 sums[4] = {};
  vf fifths = {};
  const auto seen = [](const float* x, [[maybe_unused]] int q) __attribute__((always_inline)) {  // the columns that out[q] of Bytes::rows meets
    if constexpr (Bytes::IN_PAIRS) {
      double pair;
      __builtin_memcpy(&pair, x + q % 2 * 2, sizeof pair);
      return (__m512)_mm512_set1_pd(pair);
    } else {
      return _mm512_broadcast_f32x4(_mm_loadu_ps(x));
    }
  };
  int64_t k = 0;
  for (; k + PER <= n; k += PER, w += 64) {
    __builtin_prefetch(w + AHEAD);
    __m512 rows[4];
    __m512i words = _mm512_loadu_si512(w);
    asm("" : "+v"(words));  // GCC would load it again for each plane
    table.rows(words, rows);
    for (int q = 0; q < 4; q++) sums[q] = _mm512_fmadd_ps(rows[q], seen(four + k, q), sums[q]);
    if constexpr (PER == 5) fifths += fifth((vi)words >> (4 * BITS)) * four[k + 4];
  }
  if (k < n) {
    __m512 rows[4];
    table.rows(_mm512_loadu_si512(w), rows);
    float last[4] = {};  // codes past the last column are nothing that a sum may see
    int there = 0;
    for (int i = 0; i < 4; i++) {
      const int column = Bytes::IN_PAIRS ? i / 2 + i % 2 * 2 : i;
      if (column >= n - k) continue;
      last[i] = four[k + i];
      there |= 1 << i;
    }
    for (int q = 0; q < 4; q++) {
      const int lanes = Bytes::IN_PAIRS ? (there >> q % 2 * 2 & 3) * 0x5555 : there * 0x1111;
      sums[q] = _mm512_mask3_fmadd_ps(rows[q], seen(last, q), sums[q], (__mmask16)lanes);
    }
  }
  __m512 done;
  if constexpr (Bytes::IN_PAIRS) {
    const __m512 low = _mm512_add_ps(sums[0], sums[1]), high = _mm512_add_ps(sums[2], sums[3]);
    done = _mm512_add_ps(_mm512_shuffle_ps(low, high, 0x88), _mm512_shuffle_ps(low, high, 0xdd));
  } else {
    const __m512 low = _mm512_add_ps(_mm512_unpacklo_ps(sums[0], sums[1]), _mm512_unpackhi_ps(sums[0], sums[1]));
    const __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(sums[2], sums[3]), _mm512_unpackhi_ps(sums[2], sums[3]));
    done = _mm512_add_ps(_mm512_shuffle_ps(low, high, 0x44), _mm512_shuffle_ps(low, high, 0xee));
  }
  store(total, (vf)done + fifths);
}

// Panels [begin, end), which have one table. Scratch: x, exchanged.
template <int BITS, class Bytes>
void bytes_of_panels(const Layer& layer, const Bytes& table, int64_t begin, int64_t end) {
  const float *x = nullptr, *four = nullptr;
  for (int64_t item = begin; item < end; item++) {
    if (layer.x(item) != x) {
      x = layer.x(item);
      four = Bytes::IN_PAIRS ? exchanged<per_word(BITS)>(x, layer.p[K], (float*)layer.call->scratch) : x;
    }
    float total[PANEL];
    bytes_of_words<BITS>(layer, table, item, four, total);
    layer.write(item, total);
  }
}
#endif

template <int BITS>
void looked_up(const ThinCall* call, int64_t begin, int64_t end) {
  const Layer layer(call);
#if !defined(__AVX512F__)
  if constexpr (BITS == PAIRED)
    if (!layer.packed.lanes(0) && layer.panels * layer.p[GROUPS] * PANEL * layer.p[K] >= FEWEST_PAIRED) return looked_up_in_pairs(layer, begin, end);
#endif
  for (int64_t item = begin; item < end; item++) {
    float total[PANEL];
    if (layer.packed.lanes(item)) words<BITS, LaneTable<BITS>>(layer, item, layer.x(item), total);
#if !defined(__AVX512F__)
    else if constexpr (BITS > 5) singles<BITS>(layer, item, layer.x(item), total);
#endif
    else words<BITS, Table<BITS>>(layer, item, layer.x(item), total);
    layer.write(item, total);
  }
}
#endif

// Tables that do not fit a register or two.
template <int BITS>
void large(const ThinCall* call, int64_t begin, int64_t end) {
#if defined(__AVX512VBMI__)
  if (const Layer layer(call); !call->p[PACKED + W_LANES_AT]) {
    const int64_t run = call->p[PACKED + W_PANELS_PER_TABLE];
    for (int64_t at = begin, next; at < end; at = next) {
      next = (at / run + 1) * run < end ? (at / run + 1) * run : end;
      with_table<BITS>(layer.packed.table(at), [&](const auto& table) { bytes_of_panels<BITS>(layer, table, at, next); });
    }
    return;
  }
#endif
  looked_up<BITS>(call, begin, end);
}

}  // namespace

// buf: x, packed weights, bias [panels * 16], y. p: Param. One work item per panel.
THIN_KERNEL(gemv_f32) { plain<Floats>(call, begin, end); }
THIN_KERNEL(gemv_f16) { plain<Halves>(call, begin, end); }
THIN_KERNEL(gemv_codebook) {
  switch (call->p[PACKED + W_BITS]) {
    case 1: return looked_up<1>(call, begin, end);
    case 2: return looked_up<2>(call, begin, end);
    case 3: return looked_up<3>(call, begin, end);
    case 4: return looked_up<4>(call, begin, end);
    case 5: return looked_up<5>(call, begin, end);
    case 6: return large<6>(call, begin, end);
    case 7: return large<7>(call, begin, end);
    default: return large<8>(call, begin, end);
  }
}
