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

  // Throws std::system_error if the system grants no more threads.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

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

  void stop();

  // What threads wait on. On the heap, since a forked child must leave it alone: destroying a condition variable waits for
  // its waiters, and the child's copy has waiters that do not exist there.
  struct Workers {
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::condition_variable wake;
  };
  Workers* workers_;
  int threads_;
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
