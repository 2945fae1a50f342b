#!/bin/sh
# From recordings of real voices to a streaming recogniser and an exported model.
# usage: run.sh FOLDER [training.num_steps=500 ...]   FOLDER holds fsdd-*.tar and manifest.tsv
# Everything lands in data/digits and exp/digits of the current folder; finished work is not done again.
set -eu
recordings=$1; shift
# 1. Join the recordings into 4500 strings of digits and compute their features.
asr prepare recipe=digits "corpus.source=$recordings" ${LISTS:+"corpus.lists=$LISTS"}
# 2. Train a streaming Zipformer transducer from random weights. Ctrl-C is safe: the same line goes on.
asr train recipe=digits "$@"
# 3. Choose, on the dev set, between the last weights and averages of the last stretch.
asr average exp/digits
# 4. Score the test sets chunk by chunk: 0.64 s at a time, remembering 2.56 s.
asr decode exp/digits
# 5. The same model with half the delay, and with none of the future hidden.
asr decode exp/digits chunk_size=16 left_context=64
asr decode exp/digits chunk_size=null
# 6. Watch words appear while a test utterance is fed in.
asr stream exp/digits --sample
# 7. Recognise files.
asr transcribe exp/digits data/digits/audio/test/test-0000.flac data/digits/audio/test/test-0001.flac
# 8. Export for phones, and compare token by token in the real client.
asr export exp/digits --verify
# 9. One page about it all: exp/digits/report.html.
asr report exp/digits
# 10. In Python: recognizer = asr.load("exp/digits"); stream = recognizer.stream(); stream.accept(samples, 16000)
