/* Spins a chosen time inside cuBLAS's entry points, in an NVTX range of cuBLAS's domain, then calls the real one.
 *
 *   gcc -O2 -shared -fPIC -I/usr/local/cuda/include -o libcublas_shim.so inject_shim.c -ldl
 *   LD_PRELOAD=$PWD/libcublas_shim.so SHIM=$PWD/libcublas_shim.so python inject.py
 *
 * The file's name begins with libcublas so that a sampled stack in the spin counts as the library's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <nvtx3/nvToolsExt.h>
#include <x86intrin.h>
#include <time.h>

typedef unsigned long word;
typedef int (*entry)(word, word, word, word, word, word, word, word, word, word,
                     word, word, word, word, word, word, word, word, word, word);

static volatile long spin_ticks;
static double ticks_per_ns;
static nvtxDomainHandle_t domain;

static long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

__attribute__((constructor)) static void calibrate(void) {
  long from = now_ns();
  unsigned long long ticks = __rdtsc();
  while (now_ns() - from < 20000000L) {
  }
  ticks_per_ns = (double)(__rdtsc() - ticks) / (double)(now_ns() - from);
}

void set_spin_ns(long ns) { spin_ticks = (long)((double)ns * ticks_per_ns); }

__attribute__((noinline)) void cublas_shim_spin(void) {
  if (!spin_ticks) return;
  unsigned long long end = __rdtsc() + (unsigned long long)spin_ticks;
  while (__rdtsc() < end) {
  }
}

static void enter(const char *name) {
  if (!domain) domain = nvtxDomainCreateA("cuBLAS");
  nvtxEventAttributes_t range = {0};
  range.version = NVTX_VERSION;
  range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  range.messageType = NVTX_MESSAGE_TYPE_ASCII;
  range.message.ascii = name;
  nvtxDomainRangePushEx(domain, &range);
  cublas_shim_spin();
}

/* the arguments are passed on as machine words, at most twenty of them */
#define WRAP(name, file)                                                                                      \
  int name(word a, word b, word c, word d, word e, word f, word g, word h, word i, word j, word k, word l,    \
           word m, word n, word o, word p, word q, word r, word s, word t) {                                  \
    static entry real;                                                                                        \
    if (!real) real = (entry)dlsym(dlopen(file, RTLD_LAZY | RTLD_NOLOAD), #name);                             \
    enter(#name);                                                                                             \
    int result = real(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t);                            \
    nvtxDomainRangePop(domain);                                                                               \
    return result;                                                                                            \
  }

WRAP(cublasLtMatmul, "libcublasLt.so.13")
WRAP(cublasGemmEx, "libcublas.so.13")
