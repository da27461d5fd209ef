// A plugin for qemu-user that counts how often each block of the guest's instructions runs between two marks.
//
// Build: cc -O2 -fPIC -shared count.c -o libcount.so. Use: QEMU_PLUGIN=libcount.so,out=FILE qemu-aarch64 ... (dynamic qemu-user; the
// static one takes no plugins). The guest sets marks by closing file descriptors that nobody has: START resets all counts, STOP
// writes FILE. Lines of FILE: "map START END PATH" for the guest's mapped files, "block ADDRESS COUNT CODE" (hexadecimal, decimal,
// hexadecimal) for every block that ran. Counts are exact; threads other than the marking one are counted with it.
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The part of qemu's plugin interface (version 1, docs/devel/tcg-plugins) that is used here.
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
const void* qemu_plugin_insn_data(const struct qemu_plugin_insn*);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn*);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb*, int, void*, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                                     uint64_t, uint64_t, uint64_t, uint64_t));
__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { START = 0x7A110001, STOP = 0x7A110002, BUCKETS = 1 << 16, LONGEST = 4096 };

struct Block {
  struct Block* next;
  uint64_t address, count;
  size_t bytes;
  unsigned char code[];
};
static struct Block* buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char out[512];
static int close_number = 57;  // of the system call; 6 on 32-bit ARM

static struct Block* find(uint64_t address, const unsigned char* code, size_t bytes) {
  struct Block** at = &buckets[(address >> 2) * 2654435761u % BUCKETS];
  for (struct Block* b = *at; b; b = b->next)
    if (b->address == address && b->bytes == bytes && !memcmp(b->code, code, bytes)) return b;
  struct Block* b = calloc(1, sizeof *b + bytes);
  b->address = address, b->bytes = bytes, b->next = *at;
  memcpy(b->code, code, bytes);
  return *at = b;
}

// A block that qemu translates again (after a jump into it was patched, say) goes on counting where it was.
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  unsigned char code[LONGEST];
  size_t bytes = 0;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
    const struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    const size_t size = qemu_plugin_insn_size(insn);
    if (bytes + size > LONGEST) break;
    memcpy(code + bytes, qemu_plugin_insn_data(insn), size);
    bytes += size;
  }
  pthread_mutex_lock(&lock);
  struct Block* b = find(qemu_plugin_tb_vaddr(tb), code, bytes);
  pthread_mutex_unlock(&lock);
  qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->count, 1);
}

static void write_counts(void) {
  FILE* to = fopen(out, "w");
  if (!to) {
    fprintf(stderr, "cannot write %s\n", out);
    exit(1);
  }
  FILE* maps = fopen("/proc/self/maps", "r");
  char line[1024], path[800];
  unsigned long start, end;
  while (maps && fgets(line, sizeof line, maps))
    if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %799[^\n]", &start, &end, path) == 3 && path[0] == '/')
      fprintf(to, "map %lx %lx %s\n", start, end, path);
  if (maps) fclose(maps);
  for (int i = 0; i < BUCKETS; i++)
    for (const struct Block* b = buckets[i]; b; b = b->next) {
      if (!b->count) continue;
      fprintf(to, "block %lx %lu ", (unsigned long)b->address, (unsigned long)b->count);
      for (size_t k = 0; k < b->bytes; k++) fprintf(to, "%02x", b->code[k]);
      fputc('\n', to);
    }
  fclose(to);
}

static void called(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t fd, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                   uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number != close_number) return;
  if ((uint32_t)fd == STOP) write_counts();
  if ((uint32_t)fd == START)
    for (int i = 0; i < BUCKETS; i++)
      for (struct Block* block = buckets[i]; block; block = block->next) block->count = 0;
}

typedef struct {
  const char* target_name;
} Info;  // the first member of qemu_info_t, all that is read of it

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const Info* info, int argc, char** argv) {
  if (!strcmp(info->target_name, "arm")) close_number = 6;
  for (int i = 0; i < argc; i++)
    if (!strncmp(argv[i], "out=", 4)) snprintf(out, sizeof out, "%s", argv[i] + 4);
  if (!out[0]) {
    fprintf(stderr, "libcount.so: out=FILE is missing\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
