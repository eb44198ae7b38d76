/* Remembers the driver's entry points, so that each is asked for once.
 *
 *   gcc -O2 -shared -fPIC -I/usr/local/cuda/include -o libentry_points.so entry_points.c -ldl
 *   LD_PRELOAD=$PWD/libentry_points.so python llm.py --model olmoe-1b-7b --experts grouped_mm
 *
 * PyTorch's grouped matrix product asks for an entry point by version at every call. The importer of nsys 2023.4
 * does not know that call and ends the report there; asked for before the captured range, it is not in the report.
 */
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <string.h>

#define KNOWN 256

typedef cudaError_t (*ask)(const char *, void **, unsigned int, unsigned long long, enum cudaDriverEntryPointQueryResult *);

static struct {
  char name[64];
  unsigned int version;
  unsigned long long flags;
  void *function;
  enum cudaDriverEntryPointQueryResult result;
} known[KNOWN];
static int count;

cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned int version,
                                             unsigned long long flags, enum cudaDriverEntryPointQueryResult *result) {
  for (int at = 0; at < __atomic_load_n(&count, __ATOMIC_ACQUIRE); at++)
    if (known[at].version == version && known[at].flags == flags && !strcmp(known[at].name, symbol)) {
      *function = known[at].function;
      if (result) *result = known[at].result;
      return cudaSuccess;
    }
  enum cudaDriverEntryPointQueryResult found;
  ask real = (ask)dlsym(RTLD_NEXT, "cudaGetDriverEntryPointByVersion");
  if (!real) {
    /* opened by Python for itself alone, so not among the next */
    void *runtime = dlopen("libcudart.so.13", RTLD_LAZY | RTLD_NOLOAD);
    real = runtime ? (ask)dlsym(runtime, "cudaGetDriverEntryPointByVersion") : NULL;
  }
  if (!real) return cudaErrorUnknown;
  cudaError_t error = real(symbol, function, version, flags, &found);
  if (result) *result = found;
  /* two threads that ask at once may both write: an entry twice does no harm, a lost one is asked for again */
  if (error == cudaSuccess && count < KNOWN && strlen(symbol) < sizeof known[0].name) {
    int at = count;
    strcpy(known[at].name, symbol);
    known[at].version = version;
    known[at].flags = flags;
    known[at].function = *function;
    known[at].result = found;
    __atomic_store_n(&count, at + 1, __ATOMIC_RELEASE);
  }
  return error;
}
