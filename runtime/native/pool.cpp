#include "pool.h"

#include <unistd.h>

namespace thinfer {
namespace {

// Waits for a flag: first spinning, since the next step is usually microseconds away, then yielding, so that an
// oversubscribed machine makes progress.
constexpr int SPINS_AT_BARRIER = 4000;
constexpr int SPINS_BEFORE_SLEEP = 20000;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ __volatile__("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : workers_(new Workers), threads_(threads), owner_process_(getpid()) {
  try {
    for (int t = 1; t < threads; t++) workers_->threads.emplace_back(&ThreadPool::worker, this, t);
  } catch (...) {
    stop();
    delete workers_;
    throw;
  }
}

ThreadPool::~ThreadPool() {
  if (getpid() != owner_process_) return;  // the threads did not survive the fork: nothing to stop, and what they wait on is left
  stop();
  delete workers_;
}

void ThreadPool::stop() {
  {
    std::lock_guard<std::mutex> lock(workers_->mutex);
    stop_.store(true, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  workers_->wake.notify_all();
  for (auto& thread : workers_->threads) thread.join();
}

bool ThreadPool::try_acquire() {
  return threads_ > 1 && getpid() == owner_process_ && !busy_.test_and_set(std::memory_order_acquire);
}

void ThreadPool::run(Job job, void* context) {
  {
    std::lock_guard<std::mutex> lock(workers_->mutex);
    job_ = job;
    context_ = context;
    generation_.fetch_add(1, std::memory_order_release);
  }
  workers_->wake.notify_all();
  job(context, 0);
  barrier();  // no worker may still be in the job when its context goes away
}

void ThreadPool::worker(int thread) {
  unsigned seen = 0;
  for (;;) {
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP && generation_.load(std::memory_order_acquire) == seen; spin++) relax();
    {
      std::unique_lock<std::mutex> lock(workers_->mutex);
      workers_->wake.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
    }
    seen++;
    if (stop_.load(std::memory_order_acquire)) return;
    job_(context_, thread);
    barrier();
  }
}

void ThreadPool::barrier() {
  const unsigned phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads()) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; phase_.load(std::memory_order_acquire) == phase; spin++) {
    if (spin < SPINS_AT_BARRIER)
      relax();
    else
      std::this_thread::yield();
  }
}

}  // namespace thinfer
