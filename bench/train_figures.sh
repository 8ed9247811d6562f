#!/usr/bin/env bash
# The figures of docs/adaptation.md, one after the other or those that are named: bench/train_figures.sh HUNCH SHARED FOLDER [FIGURE...]
#   base      a small OPT of width 256, whose rows fit blocks of 256 (for qlora and qat), trained from scratch
#   qlora     LoRA beside F16, NF4 and Q3_K
#   mezo      a classification task by forward passes alone
#   relu      stories260K with a ReLU
#   qat       three bits: GPTQ, and training with rounded weights
#   distill   a student with and without its teacher
# Files go to FOLDER. Some minutes each on a quiet machine; THREADS (2).
set -euo pipefail

hunch=$(realpath "$1") shared=$(realpath "$2") folder=$3
here=$(dirname "$(realpath "$0")")
demo=$here/../models/demo/hunch-demo.gguf
threads=${THREADS:-2}
shift 3
mkdir -p "$folder"
cd "$folder"

train() { "$hunch" train "$@" --threads "$threads" --force --restart; }
corpus() {
  head -c 6000000 "$shared/corpus/train-00.txt" > corpus.txt
  head -c 60000 "$shared/corpus/val.txt" > held.txt
  tail -c 1500000 corpus.txt > fit.txt
}

base() {
  corpus
  train "$demo" --new --layers 3 --width 256 --ff 1024 --text corpus.txt --eval held.txt --ctx 128 --batch 12 --steps "${BASE_STEPS:-220}" --optimizer muon \
    --learning-rate 0.006 --last-rate 0.02 -o base.gguf
}

qlora() {
  head -c 40000 "$shared/eval/wikitext-2/test.txt" > wiki-held.txt
  "$hunch" convert base.gguf -o base-nf4.gguf --type nf4 --force
  "$hunch" compress base.gguf --method gptq --type q3_k --text fit.txt -o base-gptq.gguf --force --threads "$threads"
  for model in base base-nf4 base-gptq; do
    train $model.gguf --text "$shared/eval/wikitext-2/valid.txt" --eval wiki-held.txt --ctx 128 --batch 16 --steps 40 --eval-every 20 -o wiki-$model.gguf
  done
}

mezo() {
  "$here/train_questions.py" "$shared" .
  "$hunch" eval "$demo" --task arc_easy --file kinds-test.jsonl --quiet
  train "$demo" --task arc_easy --file kinds-train.jsonl --optimizer mezo --steps "${MEZO_STEPS:-400}" --batch 16 --eval-every 20 --learning-rate 0.002 --last-rate 0.2 \
    -o mezo.gguf
  "$hunch" eval "$demo" --task arc_easy --file kinds-test.jsonl --lora mezo.gguf --quiet
}

# What the model itself writes, from empty prompts: the text that it was trained on is not at hand, and of this one it is the best model there can be.
stories() {
  for seed in $(seq "$1" "$2"); do
    "$hunch" run "$shared/models/stories260K/stories260K.gguf" -n 500 --ctx 512 --seed "$seed" --threads 1 -p "" --temperature 1 --top-k 0 --top-p 1 --min-p 0 --quiet
    echo
  done
}

relu() {
  local model=$shared/models/stories260K/stories260K.gguf
  stories 1 "${STORIES:-4000}" > stories.txt
  stories 900001 900060 > stories-held.txt
  train "$model" --method full --activation relu --l1 "${L1:-0.4}" --teacher "$model" --text stories.txt --eval stories-held.txt --ctx 128 --batch 16 \
    --steps "${RELU_STEPS:-6000}" --eval-every 500 --optimizer muon --learning-rate 0.003 --last-rate 0.01 -o relu.gguf
  "$hunch" eval "$model" --text stories-held.txt --ctx 128 --stride 128 --quiet
  "$hunch" eval relu.gguf --text stories-held.txt --ctx 128 --stride 128 --mode exact --json
}

qat() {
  "$hunch" compress base.gguf --method gptq --type q3_k --text fit.txt -o base-gptq.gguf --force --threads "$threads"
  train base.gguf --method full --type q3_k --teacher base.gguf --text fit.txt --eval held.txt --ctx 128 --batch 8 --steps "${QAT_STEPS:-140}" --learning-rate 0.0002 \
    --last-rate 0.01 -o base-qat.gguf
  for model in base-gptq base-qat; do "$hunch" eval base.gguf --against $model.gguf --text held.txt --ctx 256 --quiet; done
}

distill() {
  corpus
  local shape=(--new --layers 2 --width 128 --ff 512 --heads 4 --text corpus.txt --eval held.txt --ctx 128 --batch 12 --steps "${STUDENT_STEPS:-160}" --optimizer muon
    --learning-rate 0.006 --last-rate 0.02 --eval-every 40)
  train "$demo" "${shape[@]}" --teacher "$demo" --distill-share 0.7 -o taught.gguf
  train "$demo" "${shape[@]}" -o plain.gguf
}

for figure in "${@:-base qlora mezo relu qat distill}"; do
  for name in $figure; do
    echo "== $name"
    "$name"
  done
done
