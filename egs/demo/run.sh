#!/bin/sh
# From nothing to a checked, exported, streaming recogniser, on speech synthesised on the spot. Finished work is not
# done again; delete exp/demo and data/demo to start over.
set -eu
cd "$(dirname "$0")/../.."

asr prepare recipe=demo                           # synthesise the corpus, describe it, compute features
asr train recipe=demo                             # a streaming Zipformer transducer, from random weights
[ -e exp/demo/averaged.safetensors ] || asr average exp/demo
asr decode exp/demo                               # the test set, chunk by chunk, as a live stream would
asr export exp/demo --verify                      # ONNX files; their tokens compared in the real client
asr stream exp/demo --sample                      # watch words appear
asr report exp/demo                               # the summary
