#!/usr/bin/env bash
# Captures every workload of the validation on a GPU machine and writes exports, un-profiled times and a log.
#
#   examples/capture_all.sh OUT [GROUP...]       groups: inject llm moe sweep settings graph null; default: all
#
# Needs nsys on PATH, torch and transformers, and for inject a compiler and CUDA's headers. In OUT: NAME.sqlite for
# each capture, NAME.times.json for what ran bare, log.txt.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
groups=${*:-inject llm moe sweep settings graph null}
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$here/..

# nsys takes --env-var once, so what a workload needs of the environment (LD_PRELOAD below) goes in here
env=NSYS_NVTX_PROFILER_REGISTER_ONLY=0
light="-t cuda,nvtx -s none --cpuctxsw=none"
os="-t cuda,nvtx,osrt -s none --cpuctxsw=none"
ranges="-t cuda,nvtx,osrt,cublas-verbose -s none --cpuctxsw=none"
cublas=CUBLAS_NVTX_LEVEL=2,CUBLASLT_NVTX_LEVEL=2
sampling="-s process-tree --sampling-period=125000 --samples-per-backtrace=1 --backtrace=fp"

say() { echo "$(date +%T) $*" | tee -a "$out/log.txt"; }

bare() { # NAME COMMAND...: run without a profiler, keep the wall times of the phases
  local name=$1; shift
  say "bare $name"
  TAXBREAK_REFERENCE=$out/$name.times.json timeout 170 "$@" >> "$out/log.txt" 2>&1 || say "FAILED bare $name ($?)"
}

capture() { # NAME FLAGS COMMAND...: run under nsys, export
  local name=$1 flags=$2; shift 2
  say "capture $name: nsys profile $flags"
  # shellcheck disable=SC2086
  timeout 240 nsys profile $flags -e "$env${more:+,$more}" --cuda-graph-trace="${graph:-node}" -c cudaProfilerApi --capture-range-end=stop \
    -f true -o "$out/$name" "$@" >> "$out/log.txt" 2>&1 || say "FAILED capture $name ($?)"
  nsys export -t sqlite -f true -o "$out/$name.sqlite" "$out/$name.nsys-rep" >> "$out/log.txt" 2>&1 || say "FAILED export $name"
  rm -f "$out/$name.nsys-rep"
}

has() { [[ " $groups " == *" $1 "* ]]; }
py=python3

if has null; then
  nvcc -o "$out/null_kernel" "$here/null_kernel.cu" >> "$out/log.txt" 2>&1 && capture null "-t cuda -s none --cpuctxsw=none" "$out/null_kernel"
  rm -f "$out/null_kernel"
fi
if has inject; then
  gcc -O2 -shared -fPIC -I"${CUDA_HOME:-/usr/local/cuda}/include" -o "$out/libcublas_shim.so" "$here/inject_shim.c" -ldl >> "$out/log.txt" 2>&1
  export SHIM=$out/libcublas_shim.so
  bare inject env LD_PRELOAD="$SHIM" $py "$here/inject.py"
  more=$cublas,LD_PRELOAD=$SHIM capture inject "$ranges --osrt-threshold=1000" $py "$here/inject.py"
  more=LD_PRELOAD=$SHIM capture inject-samples "-t cuda,nvtx,osrt --osrt-threshold=1000 $sampling" $py "$here/inject.py"
  more=LD_PRELOAD=$SHIM capture inject-operators "-t cuda,nvtx,osrt --osrt-threshold=1000 -s none --cpuctxsw=none" $py "$here/inject.py" --operators
  rm -f "$SHIM"
  unset SHIM
fi
if has llm; then
  for model in llama-3.2-1b llama-3.2-3b; do
    bare "$model" $py "$here/llm.py" --model $model
    more=$cublas capture "$model" "$ranges --osrt-threshold=1000" $py "$here/llm.py" --model $model
  done
fi
if has moe; then
  for model in olmoe-1b-7b qwen1.5-moe-a2.7b; do
    for experts in eager grouped_mm; do
      bare "$model-$experts" $py "$here/llm.py" --model $model --experts $experts
      more=$cublas capture "$model-$experts" "$ranges --osrt-threshold=1000" $py "$here/llm.py" --model $model --experts $experts
    done
  done
fi
if has sweep; then
  bare sweep $py "$here/llm.py" --batch 1 4 16 64 --prompt 64 512 4096
  capture sweep "$light" $py "$here/llm.py" --batch 1 4 16 64 --prompt 64 512 4096
fi
if has settings; then
  bare settings $py "$here/llm.py" --steps 8
  capture settings-light "$light" $py "$here/llm.py" --steps 8
  capture settings-os "$os --osrt-threshold=1000" $py "$here/llm.py" --steps 8
  capture settings-os-all "$os --osrt-threshold=0" $py "$here/llm.py" --steps 8
  more=$cublas capture settings-ranges "$ranges --osrt-threshold=1000" $py "$here/llm.py" --steps 8
  capture settings-samples "-t cuda,nvtx $sampling" $py "$here/llm.py" --steps 8
  capture settings-operators "$os --osrt-threshold=1000" $py "$here/llm.py" --steps 8 --operators
  more=$cublas capture settings-operators-ranges "$ranges --osrt-threshold=1000" $py "$here/llm.py" --steps 8 --operators
fi
if has graph; then
  bare graph $py "$here/graph.py"
  capture graph-node "$light" $py "$here/graph.py"
  graph=graph capture graph-graph "$light" $py "$here/graph.py"
fi
say "done"
