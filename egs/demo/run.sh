#!/bin/sh
# From nothing to a checked, exported, streaming recogniser, on speech synthesised on the spot. Finished work is not
# done again; delete exp/demo and data/demo to start over.
set -eu
cd "$(dirname "$0")/../.."

# once NAME COMMAND …: unless it was done with this model before, of which exp/demo/.done-NAME is the memory. What a
# command writes is none: a verification that fails leaves its files, too.
once() {
    mark=exp/demo/.done-$1 model=exp/demo/averaged.safetensors
    shift
    if [ -e "$mark" ] && ! [ "$model" -nt "$mark" ]; then
        echo "$*: done before" >&2
    else
        "$@"
        touch "$mark"
    fi
}

asr prepare recipe=demo                           # synthesise the corpus, describe it, compute features
asr train recipe=demo                             # a streaming Zipformer transducer, from random weights
[ -e exp/demo/averaged.safetensors ] || asr average exp/demo
once decode asr decode exp/demo                   # the test set, chunk by chunk, as a live stream would
once export asr export exp/demo --verify          # ONNX files; their tokens compared in the real client
once stream asr stream exp/demo --sample          # watch words appear
asr report exp/demo                               # the summary
