/* Spins a chosen time at cuBLAS's entry points: inside an NVTX range of cuBLAS's domain, or just before it.
 *
 *   gcc -O2 -shared -fPIC -I/usr/local/cuda/include -o libcublas_shim.so inject_shim.c -ldl
 *   LD_PRELOAD=$PWD/libcublas_shim.so SHIM=$PWD/libcublas_shim.so python inject.py
 *
 * Each spin is measured by the clock that ends it, and the sums can be read: what was really added, not what was
 * asked for. With nothing asked for, the same instructions run once and are measured as well.
 * SHIM_RANGES=0 leaves the range out, as a library without ranges would.
 * The file's name begins with libcublas so that a sampled stack in the spin counts as the library's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <nvtx3/nvToolsExt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long word;
typedef int (*entry)(word, word, word, word, word, word, word, word, word, word,
                     word, word, word, word, word, word, word, word, word, word);

enum { BEFORE, INSIDE };
static volatile long asked[2], took[2], slept, entered;
static nvtxDomainHandle_t domain;
static int ranges = 1;

__attribute__((constructor)) static void choose(void) {
  const char *given = getenv("SHIM_RANGES");
  ranges = !given || strcmp(given, "0");
}

static long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

__attribute__((noinline)) void cublas_shim_spin(int where) {
  long ns = asked[where], began = now_ns(), now;
  do
    now = now_ns();
  while (now - began < ns);
  took[where] += now - began;
}

void shim_ask(long before_ns, long inside_ns) {
  asked[BEFORE] = before_ns;
  asked[INSIDE] = inside_ns;
}

/* sleeps, and measures the call that waits alone */
void shim_nap(long ns) {
  struct timespec given = {ns / 1000000000L, ns % 1000000000L};
  long began = now_ns();
  if (ns) clock_nanosleep(CLOCK_MONOTONIC, 0, &given, NULL);
  slept += now_ns() - began;
}

/* what was spent since the last call: ns before the range, ns inside, ns asleep, number of calls of cuBLAS */
void shim_took(long *into) {
  into[0] = took[BEFORE];
  into[1] = took[INSIDE];
  into[2] = slept;
  into[3] = entered;
  took[BEFORE] = took[INSIDE] = slept = entered = 0;
}

static void enter(const char *name) {
  if (ranges && !domain) domain = nvtxDomainCreateA("cuBLAS");
  nvtxEventAttributes_t range = {0};
  range.version = NVTX_VERSION;
  range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  range.messageType = NVTX_MESSAGE_TYPE_ASCII;
  range.message.ascii = name;
  entered++;
  cublas_shim_spin(BEFORE);
  if (ranges) nvtxDomainRangePushEx(domain, &range);
  cublas_shim_spin(INSIDE);
}

/* the arguments are passed on as machine words, at most twenty of them */
#define WRAP(name, file)                                                                                      \
  int name(word a, word b, word c, word d, word e, word f, word g, word h, word i, word j, word k, word l,    \
           word m, word n, word o, word p, word q, word r, word s, word t) {                                  \
    static entry real;                                                                                        \
    if (!real) real = (entry)dlsym(dlopen(file, RTLD_LAZY | RTLD_NOLOAD), #name);                             \
    enter(#name);                                                                                             \
    int result = real(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t);                            \
    if (ranges) nvtxDomainRangePop(domain);                                                                   \
    return result;                                                                                            \
  }

WRAP(cublasLtMatmul, "libcublasLt.so.13")
WRAP(cublasGemmEx, "libcublas.so.13")
