#!/usr/bin/env bash
# Captures every run of docs/validation-engine.md on a GPU machine.
#
#   examples/engine/capture_engine.sh OUT [RUN...]      RUNs, all by default: those listed at the end
#
# Needs vLLM, torch and transformers, nsys on PATH, and for runs whose name ends in 24 a second nsys named by NSYS24.
# tp-* need two GPUs. In OUT: reports/NAME.sqlite, truth/NAME.json (what the workload measured), log.txt.
# Each run starts an engine: 50 s, the first with a new compilation 100 s. About 35 minutes on one GPU.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1/reports" "$1/truth" && cd "$1" && pwd)
shift
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$here:$here/../..
export VLLM_USE_FLASHINFER_SAMPLER=0 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_LOGGING_LEVEL=WARNING

light="-t cuda,nvtx -s none --cpuctxsw=none"
os="-t cuda,nvtx,osrt -s none --cpuctxsw=none --osrt-threshold=1000"
ranges="-t cuda,nvtx,osrt,cublas-verbose -s none --cpuctxsw=none --osrt-threshold=1000 -e CUBLAS_NVTX_LEVEL=2,CUBLASLT_NVTX_LEVEL=2"
samples="-t cuda,nvtx,osrt -s process-tree --sampling-period=250000 --samples-per-backtrace=1 --backtrace=fp --osrt-threshold=1000"

setting() { # sets nsys (empty: bare), flags and graphs
  nsys=nsys graphs=node
  case $1 in
    bare) nsys="" ;;
    light) flags=$light ;; os) flags=$os ;; ranges) flags=$ranges ;; samples) flags=$samples ;;
    light24) nsys=$NSYS24 flags=$light ;; os24) nsys=$NSYS24 flags=$os ;; samples24) nsys=$NSYS24 flags=$samples ;;
    whole24) nsys=$NSYS24 flags=$light graphs=graph ;;
  esac
}

run() { # NAME: one run
  local name=$1 plan="" busy=() work="python3 $here/serve.py"
  local usual="--batches 1 8 32 --tokens 16 --bare-tokens 32" short="--batches 1 8 32 --tokens 8 --bare-tokens 24"
  case $name in
    e-bare) setting bare; cmd="$work --eager --batches 1 2 8 32 --tokens 48 --bare 5" ;;
    g-bare) setting bare; cmd="$work --batches 1 2 8 32 --tokens 48 --bare 5" ;;
    c-bare) setting bare; cmd="$work --no-graphs --batches 1 2 8 32 --tokens 32 --bare 4" ;;
    h-bare) setting bare; cmd="$work --eager --layers 8 --batches 1 8 --tokens 32 --bare 4" ;;
    e-busy) setting light; cmd="$work --eager $usual"
      for core in $(seq 0 $(($(nproc) - 1))); do taskset -c "$core" nice -n 5 python3 -c 'while True: pass' & busy+=($!); done ;;
    e-p1024) setting light; cmd="$work --eager --prompt 1024 $short" ;;
    g-p1024) setting light; cmd="$work --prompt 1024 $short" ;;
    g-sync) setting os; cmd="$work --sync $usual" ;;
    g-stag) setting light; cmd="$work --sync --staggered --batches 5 --tokens 8 --bare-tokens 8" ;;
    g-ngram) setting light; cmd="$work --ngram 4 --batches 1 8 --tokens 32 --bare-tokens 32" ;;
    e-inj-ranges | e-inj-light) setting "${name#e-inj-}"; plan="eager 16"
      cmd="$work --eager --layers 4 --tokens 940 --bare-tokens 48 --bare 2" ;;
    e-inj-samples) setting samples; plan="samples 25"; cmd="$work --eager --layers 4 --tokens 320 --bare-tokens 48 --bare 2" ;;
    g-inj-whole24) setting whole24; plan="graph 40"; cmd="$work --tokens 1500 --bare-tokens 48 --bare 2" ;;
    g-inj-os) setting os; plan="graph 8"; cmd="$work --layers 4 --tokens 310 --bare-tokens 48 --bare 2" ;;
    g-front) setting os; plan="front 12"; cmd="$work --layers 4 --tokens 80 --bare-tokens 48 --bare 2" ;;
    hf-llama) setting light; cmd="python3 $here/loop.py --batches 1 8 32" ;;
    hf-olmoe) setting light; cmd="python3 $here/loop.py --model olmoe-1b-7b --batches 1 8 32 --steps 3 --other grouped_mm" ;;
    tp-bare) setting bare; cmd="$work --tp 2 --batches 1 8 --tokens 48 --bare 5" ;;
    tp-e-light) setting light; cmd="$work --eager --tp 2 --batches 1 8 --tokens 10 --bare-tokens 24" ;;
    tp-rank) setting light; plan="rank 12"; cmd="$work --tp 2 --tokens 78 --bare-tokens 32 --bare 2" ;;
    tp-*) setting "${name#tp-}"; cmd="$work --tp 2 --batches 1 8 --tokens 16 --bare-tokens 32" ;;
    olmoe-* | qwen-* | l3b-*)
      case $name in olmoe-*) model=olmoe-1b-7b ;; qwen-*) model=qwen1.5-moe-a2.7b ;; *) model=llama-3.2-3b ;; esac
      setting "${name##*-}"; cmd="$work --model $model $short"; [[ $name == *-e-* ]] && cmd="$cmd --eager" ;;
    e-*) setting "${name#e-}"; cmd="$work --eager $usual" ;;
    g-*) setting "${name#g-}"; cmd="$work $usual" ;;
    *) echo "no run $name" >&2; return 2 ;;
  esac
  rm -f "$out/$name".*
  export ENGINE_TRUTH=$out/$name.process ENGINE_COSTS="{}"
  [ -n "$plan" ] && ENGINE_COSTS=$(python3 "$here/plan.py" $plan)
  echo "$(date +%T) $name: ${nsys:-bare} ${nsys:+$flags --cuda-graph-trace=$graphs} $cmd" | tee -a "$out/log.txt"
  # shellcheck disable=SC2086
  if [ -z "$nsys" ]; then
    timeout 170 $cmd --out "$out/$name.front.json" >> "$out/log.txt" 2>&1 || echo "FAILED $name" | tee -a "$out/log.txt"
  else
    timeout 170 "$nsys" profile $flags --trace-fork-before-exec=true --cuda-graph-trace=$graphs -c cudaProfilerApi \
      --capture-range-end=stop -f true -o "$out/$name" $cmd --out "$out/$name.front.json" >> "$out/log.txt" 2>&1 ||
      echo "FAILED $name" | tee -a "$out/log.txt"
    "$nsys" export -t sqlite -f true -o "$out/reports/$name.sqlite" "$out/$name.nsys-rep" >> "$out/log.txt" 2>&1
  fi
  for neighbour in "${busy[@]}"; do kill "$neighbour"; done
  python3 "$here/merge.py" "$out" "$name" >> "$out/log.txt" 2>&1 || echo "FAILED truth of $name" | tee -a "$out/log.txt"
}

for name in ${*:-hf-llama hf-olmoe e-bare g-bare c-bare h-bare e-light e-os e-ranges e-samples e-light24 e-samples24 \
  g-light g-os g-ranges g-samples g-samples24 g-whole24 e-inj-ranges e-inj-light e-inj-samples g-inj-os g-inj-whole24 g-front \
  g-sync g-stag g-ngram e-p1024 g-p1024 e-busy olmoe-e-light olmoe-g-light qwen-e-light l3b-e-light \
  tp-bare tp-light tp-os24 tp-e-light tp-rank}; do
  run "$name"
done
