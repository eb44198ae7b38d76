#!/usr/bin/env bash
# Captures every workload of the validation on a GPU machine and writes exports, un-profiled times and a log.
#
#   examples/capture_all.sh OUT [GROUP...]       GROUPs, all by default:
#     null inject sampled llm moe sweep settings rates graph
#
# Needs nsys on PATH, torch and transformers, and for inject and moe a compiler and CUDA's headers. In OUT:
# NAME.sqlite for each capture, NAME.times.json for what ran bare, NAME.truth.json for what inject added, log.txt.
# ROUNDS (default 150) is how long inject runs: fewer rounds, wider intervals.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
groups=${*:-null inject sampled llm moe sweep settings rates graph}
rounds=${ROUNDS:-150}
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

capture() { # NAME FLAGS COMMAND...: run under nsys
  local name=$1 flags=$2; shift 2
  say "capture $name: nsys profile $flags"
  # shellcheck disable=SC2086
  timeout 300 nsys profile $flags -e "$env${more:+,$more}" --cuda-graph-trace="${graph:-node}" -c cudaProfilerApi --capture-range-end=stop \
    -f true -o "$out/$name" "$@" >> "$out/log.txt" 2>&1 || say "FAILED capture $name ($?)"
}

has() { [[ " $groups " == *" $1 "* ]]; }
py=python3

if has null; then
  nvcc -o "$out/null_kernel" "$here/null_kernel.cu" >> "$out/log.txt" 2>&1 && capture null "-t cuda -s none --cpuctxsw=none" "$out/null_kernel"
  rm -f "$out/null_kernel"
fi
if has inject || has sampled; then
  headers=${CUDA_HOME:-/usr/local/cuda}/include
  gcc -O2 -shared -fPIC -I"$headers" -o "$out/libcublas_shim.so" "$here/inject_shim.c" -ldl >> "$out/log.txt" 2>&1
  export SHIM=$out/libcublas_shim.so
  truth() { export INJECT_TRUTH=$out/$1.truth.json; }
  if has inject; then
    truth inject-bare
    bare inject env LD_PRELOAD="$SHIM" $py "$here/inject.py" --rounds $((rounds / 4))
    truth inject
    more=$cublas,LD_PRELOAD=$SHIM capture inject "$ranges --osrt-threshold=1000" $py "$here/inject.py" --rounds "$rounds" --apart 800
    # without the shim's ranges, as a library that marks nothing
    truth inject-operators
    more=SHIM_RANGES=0,LD_PRELOAD=$SHIM capture inject-operators "$os --osrt-threshold=1000" \
      $py "$here/inject.py" --operators --rounds $((rounds / 4)) --kinds framework library
  fi
  if has sampled; then
    # samples are few, so many more products; and each a step of its own at a time of its own
    truth inject-samples
    more=SHIM_RANGES=0,LD_PRELOAD=$SHIM capture inject-samples "-t cuda,nvtx $sampling" $py "$here/inject.py" \
      --products 1 --gap 125 --rounds $((rounds * 33)) --repeats 10 --kinds framework library
  fi
  rm -f "$SHIM"
  unset SHIM INJECT_TRUTH
fi
if has llm; then
  for model in llama-3.2-1b llama-3.2-3b; do
    bare "$model" $py "$here/llm.py" --model $model --steps 16
    more=$cublas capture "$model" "$ranges --osrt-threshold=1000" $py "$here/llm.py" --model $model --steps 16
  done
fi
if has moe; then
  # without this nsys 2023.4 cannot import what the grouped product calls
  gcc -O2 -shared -fPIC -I"${CUDA_HOME:-/usr/local/cuda}/include" -o "$out/libentry_points.so" "$here/entry_points.c" -ldl \
    >> "$out/log.txt" 2>&1
  for model in ${MIXTURES:-olmoe-1b-7b qwen1.5-moe-a2.7b}; do
    experts="eager every batched_mm grouped_mm"
    bare "$model" $py "$here/llm.py" --model "$model" --experts $experts --steps 16
    more=$cublas,LD_PRELOAD=$out/libentry_points.so capture "$model" "$ranges --osrt-threshold=1000" \
      $py "$here/llm.py" --model "$model" --experts $experts --steps 16
  done
  rm -f "$out/libentry_points.so"
fi
if has sweep; then
  bare sweep $py "$here/llm.py" --batch 1 4 16 64 --prompt 64 512 4096
  capture sweep "$light" $py "$here/llm.py" --batch 1 4 16 64 --prompt 64 512 4096
  bare sweep-large $py "$here/llm.py" --batch 64 128 --prompt 4096
  capture sweep-large "$light" $py "$here/llm.py" --batch 64 128 --prompt 4096
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
if has rates; then
  # the same steps sampled at 8, 2 and 1 kHz
  bare rates $py "$here/llm.py" --steps 40
  for period in 125000 500000 1000000; do
    capture "rates-$period" "-t cuda,nvtx -s process-tree --sampling-period=$period --samples-per-backtrace=1 --backtrace=fp" \
      $py "$here/llm.py" --steps 40
  done
fi
if has graph; then
  bare graph $py "$here/graph.py"
  capture graph-node "$light" $py "$here/graph.py"
  graph=graph capture graph-graph "$light" $py "$here/graph.py"
fi
# together at the end: an export beside a capture would slow it
for report in "$out"/*.nsys-rep; do
  nsys export -t sqlite -f true -o "${report%.nsys-rep}.sqlite" "$report" >> "$out/log.txt" 2>&1 || say "FAILED export $report" &
done
wait
rm -f "$out"/*.nsys-rep
say "done"
