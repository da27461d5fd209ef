// Runs one engine from many threads at once, with pools of several sizes, and checks every result. Compiled with ThreadSanitizer by
// test_thread_sanitizer.py: a data race ends the process with an error.
#include <stdio.h>
#include <string.h>

#include <atomic>
#include <thread>
#include <vector>

#include "../../runtime/native/engine.h"

namespace {

// y[i] = x[i] + p[0], item by item; a step reads what the one before it wrote, so a barrier that lets a thread through is seen.
void add(const ThinCall* call, int64_t begin, int64_t end) {
  const float* x = static_cast<const float*>(call->buf[0]);
  float* y = static_cast<float*>(call->buf[1]);
  float* own = reinterpret_cast<float*>(call->scratch);
  for (int64_t i = begin; i < end; i++) {
    own[0] = x[i];
    y[i] = own[0] + static_cast<float>(call->p[0]);
  }
}

// The same, read from the other end: items of other threads.
void add_turned(const ThinCall* call, int64_t begin, int64_t end) {
  const float* x = static_cast<const float*>(call->buf[0]);
  float* y = static_cast<float*>(call->buf[1]);
  for (int64_t i = begin; i < end; i++) y[i] = x[call->p[1] - 1 - i] + static_cast<float>(call->p[0]);
}

constexpr int64_t N = 257, BYTES = N * 4;

// input → arena → arena → output, 1 + 2 + 3 added and turned twice.
std::vector<int64_t> program() {
  return {3,
          0, N, 2, thinfer::INPUT, 0, 0, thinfer::ARENA, 0, 0, 2, 1, N,
          1, N, 2, thinfer::ARENA, 0, 0, thinfer::ARENA, 0, 2048, 2, 2, N,
          1, N, 2, thinfer::ARENA, 0, 2048, thinfer::OUTPUT, 0, 0, 2, 3, N};
}

bool many_callers(int pool_threads, int callers, int runs) {
  const std::vector<int64_t> code = program();
  auto pool = std::make_shared<thinfer::ThreadPool>(pool_threads);
  thinfer::Engine engine(code.data(), code.size(), {add, add_turned}, {}, {BYTES}, {BYTES}, 4096, 64, pool,
                         std::make_shared<thinfer::ArenaPool>());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int c = 0; c < callers; c++)
    threads.emplace_back([&, c] {
      std::vector<float> x(N), y(N);
      for (int r = 0; r < runs; r++) {
        for (int64_t i = 0; i < N; i++) x[i] = static_cast<float>(c * 1000 + r + i);
        const auto call = engine.begin();
        call.inputs[0] = x.data();
        call.outputs[0] = y.data();
        engine.run(call);
        for (int64_t i = 0; i < N; i++) wrong += y[i] != x[i] + 6;
      }
    });
  for (auto& thread : threads) thread.join();
  return wrong == 0;
}

}  // namespace

int main() {
  for (int pool_threads : {1, 2, 3, 8})
    for (int callers : {1, 4})
      if (!many_callers(pool_threads, callers, 40)) {
        printf("wrong results with %d threads and %d callers\n", pool_threads, callers);
        return 1;
      }
  for (int i = 0; i < 40; i++) thinfer::ThreadPool pool(4);  // made and given up without a job
  printf("no race\n");
  return 0;
}
