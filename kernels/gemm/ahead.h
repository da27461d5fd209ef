// Weights for the next tile, looked up one by one while the multiply-adds of this one keep the vector ports busy: loads and stores of single
// numbers have ports that stand idle there. Not with AVX2, whose multiply-adds, twice as many, leave too few of the instructions a CPU can start.
#pragma once

#include "decode.h"

namespace {

#if defined(__AVX512F__)
struct Ahead {
  static constexpr int64_t FEWEST_ROWS = 32;  // fewer leave too little to hide behind
  static constexpr int MOST_PANELS = 3;

  const uint32_t *word, *stop;  // the next one, and the end of its panel's
  char* out;                    // where the next one's first weight goes
  int64_t left, each;           // words, and as many at a time
  int64_t gap;                  // words between what is read of a panel and of the next one
  int64_t words;                // of a panel
  const char* const* table;     // of the panel
  void (*look_up)(Ahead*);
  const char* tables[MOST_PANELS + 1] = {};

  // Columns [k, k + n) of `count` panels, in `times` times. Of the last words all is written, so that n counts as filled up to whole words.
  Ahead(const Packed& w, int64_t first, int64_t count, int64_t k, int64_t n, float* to, int64_t times) : out((char*)to), table(tables) {
    const int64_t per = per_word((int)w.p[W_BITS]);
    words = (n + per - 1) / per * PANEL;
    word = (const uint32_t*)w.panel(first) + k / per * PANEL;
    stop = word + words;
    gap = w.p[W_PANEL_BYTES] / 4 - words;
    left = count * words;
    each = (left + times - 1) / times;
    for (int64_t i = 0; i < count; i++) tables[i] = (const char*)w.table(first + i);
    look_up = function((int)w.p[W_BITS]);
  }

  // The next few words. Sums stay in their registers meanwhile: what is called uses none of them. It may neither touch the 128 bytes below the
  // stack that belong to the caller.
  [[gnu::always_inline]] inline void some() {
    auto called = look_up;
    Ahead* self = this;
    asm volatile("lea -128(%%rsp), %%rsp\n\tcall *%0\n\tlea 128(%%rsp), %%rsp"
                 : "+a"(called), "+D"(self)
                 :
                 : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "cc", "memory");
  }

  void rest() {
    each = left;
    look_up(this);
  }

 private:
  // Vector registers would have it queue up with the multiply-adds, so numbers are copied as integers, too.
  template <int BITS>
  [[gnu::noinline, gnu::target("general-regs-only")]] static void some_of(Ahead* self) {
    constexpr int PER = per_word(BITS);
    const uint32_t* from = self->word;
    const char* table = *self->table;
    char* to = self->out;
    int64_t count = self->each < self->left ? self->each : self->left;
    self->left -= count;
    for (; count; count--) {
      uint32_t indices = *from++, found;
#pragma GCC unroll 32
      for (int j = 0; j < PER; j++, indices >>= BITS) {
        __builtin_memcpy(&found, table + 4 * (indices & ((1u << BITS) - 1)), sizeof found);
        __builtin_memcpy(to + j * 4 * PANEL, &found, sizeof found);
      }
      to += 4;
      if ((uintptr_t)from % (4 * PANEL)) continue;
      to += (PER - 1) * 4 * PANEL;
      if (from < self->stop) continue;
      from += self->gap;
      self->stop = from + self->words;
      table = *++self->table;
    }
    self->word = from;
    self->out = to;
  }

  static auto function(int bits) -> void (*)(Ahead*) {
    switch (bits) {
      case 1: return some_of<1>;
      case 2: return some_of<2>;
      case 3: return some_of<3>;
      case 4: return some_of<4>;
      case 5: return some_of<5>;
      case 6: return some_of<6>;
      case 7: return some_of<7>;
      default: return some_of<8>;
    }
  }
};
#elif defined(__aarch64__)
// Here the micro-kernel (tile_neon.h) does that itself, a look for every four columns: their 56 or 64 multiply-adds leave a Cortex-A72 room for 31
// or 37 instructions.
struct Ahead {
  static constexpr int64_t FEWEST_ROWS = 25;  // four tiles, which take about as many steps as there are looks
  int bits;
  const char* words;
  const float* table;
  float* out;
  uint64_t done, all;  // looks

  // Columns [k, k + n) of a panel, filled up to whole words.
  Ahead(const Packed& w, int64_t panel, int64_t k, int64_t n, float* to)
      : bits((int)w.p[W_BITS]), words(w.panel(panel) + k / per_word(bits) * PANEL * 4), table(w.table(panel)), out(to), done(0) {
    with_bits([&](auto bits_) { all = Numbers<bits_>::looks(n); });
  }

  void rest() {
    with_bits([&](auto bits_) {
      const Numbers<bits_> numbers = {words, (char*)out};
      for (; done < all; done++) numbers.look(done, table);
    });
  }

  // Calls `run` with the number of bits as a type that converts to it.
  template <class Run>
  void with_bits(const Run& run) const {
    switch (bits) {
      case 1: return run(Bits<1>());
      case 2: return run(Bits<2>());
      case 3: return run(Bits<3>());
      case 4: return run(Bits<4>());
      case 5: return run(Bits<5>());
      case 6: return run(Bits<6>());
      case 7: return run(Bits<7>());
      default: return run(Bits<8>());
    }
  }

 private:
  template <int BITS>
  struct Bits {
    constexpr operator int() const { return BITS; }
  };
};
#endif

}  // namespace
