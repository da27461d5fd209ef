// Worker threads of one session. A job is run by every thread at once; threads meet at barriers inside it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace thinfer {

class ThreadPool {
 public:
  typedef void (*Job)(void* context, int thread);

  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Takes the workers for one run; false if another run has them, or if this process is a fork that has none. The caller
  // then does all the work itself.
  bool try_acquire();
  void release() { busy_.clear(std::memory_order_release); }

  // Runs job(context, t) for t in [0, threads()), t = 0 on the calling thread; returns when all are done.
  void run(Job job, void* context);

  // Waits until every thread of the running job is here.
  void barrier();

 private:
  void worker(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  Job job_ = nullptr;
  void* context_ = nullptr;
  std::atomic<unsigned> generation_{0};  // counts jobs; workers sleep until it moves
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> phase_{0};
  std::atomic<bool> stop_{false};
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  int owner_process_;
};

}  // namespace thinfer
