#!/usr/bin/env bash
# Captures every run of docs/validation-engine.md on a GPU machine.
#
#   examples/engine/capture_engine.sh OUT [RUN...]      RUNs, all by default: those listed at the end
#
# Needs vLLM, torch and transformers, nsys on PATH, and for runs whose name ends in 24 a second nsys named by NSYS24.
# tp-* need two GPUs. In OUT: NAME.nsys-rep, truth/NAME.json (what the workload measured), log.txt, and
# reports/NAME.sqlite, unless EXPORT=no. ENGINE_CORE: the core that the engine's thread is kept on (as root; *-stolen
# need it). Each run starts an engine: 50 to 150 s. About an hour on one GPU. nsys sometimes misses the forked engine and
# writes a report without events: run it again.
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
  local name=$1 plan="" work="python3 $here/serve.py"
  local usual="--batches 1 8 32 --tokens 32 --bare-tokens 64" short="--batches 1 8 32 --tokens 16 --bare-tokens 24"
  case $name in
    e-bare) setting bare; cmd="$work --eager --batches 1 2 8 32 --tokens 48 --bare 5" ;;
    g-bare) setting bare; cmd="$work --batches 1 2 8 32 --tokens 48 --bare 5" ;;
    c-bare) setting bare; cmd="$work --no-graphs --batches 1 2 8 32 --tokens 32 --bare 4" ;;
    h-bare) setting bare; cmd="$work --eager --layers 8 --batches 1 8 --tokens 32 --bare 4" ;;
    e-stolen* | g-stolen*) setting light; cmd="$work --batches 1 32 --tokens 32 --bare-tokens 64 --bare 6 --stolen 0.${name: -2}"
      [[ $name == e-* ]] && cmd="$cmd --eager"; [[ $name == *-capture* ]] && cmd="$cmd --stolen-capture" ;;
    g-sync) setting os; cmd="$work --sync $usual" ;;
    g-stag) setting light; cmd="$work --sync --staggered --batches 5 --tokens 8 --bare-tokens 8" ;;
    g-ngram) setting light; cmd="$work --ngram 4 --batches 1 8 --tokens 32 --bare-tokens 32" ;;
    e-inj-light) setting light; plan="eager 40"; cmd="$work --eager --layers 4 --tokens 3800 --bare-tokens 48 --bare 2" ;;
    e-inj-ranges) setting ranges; plan="eager 20"; cmd="$work --eager --layers 4 --tokens 1900 --bare-tokens 48 --bare 2" ;;
    g-inj-samples) setting samples; plan="samples 400"; cmd="$work --layers 4 --tokens 3600 --bare-tokens 48 --bare 2" ;;
    g-inj-whole24) setting whole24; plan="graph 80"; cmd="$work --layers 4 --tokens 7600 --bare-tokens 48 --bare 2" ;;
    g-inj-os) setting os; plan="graph 20"; cmd="$work --layers 4 --tokens 1900 --bare-tokens 48 --bare 2" ;;
    g-front) setting os; plan="front 12"; cmd="$work --layers 4 --tokens 80 --bare-tokens 48 --bare 2" ;;
    hf-llama) setting light; cmd="python3 $here/loop.py --batches 1 8 32 --prompts 128 1024" ;;
    hf-l3b) setting light; cmd="python3 $here/loop.py --model llama-3.2-3b --batches 1 8 32 --prompts 128 1024" ;;
    hf-olmoe | hf-qwen) setting light; [ "$name" = hf-olmoe ] && model=olmoe-1b-7b || model=qwen1.5-moe-a2.7b
      cmd="python3 $here/loop.py --model $model --batches 1 8 32 --prompts 128 1024 --steps 3 --bare 2 --other grouped_mm" ;;
    tp-bare) setting bare; cmd="$work --tp 2 --batches 1 8 --tokens 48 --bare 5" ;;
    tp-e-light) setting light; cmd="$work --eager --tp 2 --batches 1 8 --tokens 10 --bare-tokens 24" ;;
    tp-rank) setting light; plan="rank 80"; cmd="$work --tp 2 --tokens 480 --bare-tokens 32 --bare 2" ;;
    tp-*) setting "${name#tp-}"; cmd="$work --tp 2 --batches 1 8 --tokens 16 --bare-tokens 32" ;;
    llama-* | l3b-* | olmoe-* | qwen-*)
      case $name in llama-*) model=llama-3.2-1b ;; l3b-*) model=llama-3.2-3b ;; olmoe-*) model=olmoe-1b-7b ;; *) model=qwen1.5-moe-a2.7b ;; esac
      setting "${name##*-}"; cmd="$work --model $model --prompts 128 1024 $short"; [[ $name == *-e-* ]] && cmd="$cmd --eager" ;;
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
    [ "${EXPORT:-}" = no ] || "$nsys" export -t sqlite -f true -o "$out/reports/$name.sqlite" "$out/$name.nsys-rep" >> "$out/log.txt" 2>&1
  fi
  python3 "$here/merge.py" "$out" "$name" >> "$out/log.txt" 2>&1 || echo "FAILED truth of $name" | tee -a "$out/log.txt"
}

for name in ${*:-hf-llama hf-olmoe e-bare g-bare c-bare h-bare e-light e-os e-ranges e-samples e-light24 e-samples24 \
  g-light g-os g-ranges g-samples g-light24 g-samples24 g-whole24 e-inj-ranges e-inj-light g-inj-samples g-inj-os g-inj-whole24 \
  g-front g-sync g-stag g-ngram e-stolen15 e-stolen30 g-stolen30 e-stolen-capture30 g-stolen-capture30 \
  llama-e-light llama-g-light l3b-e-light l3b-g-light olmoe-e-light olmoe-g-light qwen-e-light qwen-g-light hf-l3b hf-qwen \
  tp-bare tp-light tp-os24 tp-e-light tp-rank}; do
  run "$name"
done
