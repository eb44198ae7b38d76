// Launches an empty kernel, synchronised each time: the floor of the launch path, for --null-report.
//
//   nvcc -o null_kernel null_kernel.cu
//   nsys profile -t cuda -c cudaProfilerApi --capture-range-end=stop -o null ./null_kernel
#include <cstdio>
#include <cuda_profiler_api.h>

__global__ void empty() {}

static void launch(int times) {
  for (int i = 0; i < times; ++i) {
    empty<<<1, 1>>>();
    cudaDeviceSynchronize();
  }
}

int main() {
  launch(100);
  cudaProfilerStart();
  launch(500);
  cudaProfilerStop();
  cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) fprintf(stderr, "%s\n", cudaGetErrorString(error));
  return error != cudaSuccess;
}
