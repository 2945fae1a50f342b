#!/bin/sh
# Words on a page, and in a program, while somebody speaks.
# usage: run.sh EXP [port=8000 ...]   EXP is a checkpoint or a run's folder, such as exp/digits of the digits walk-through
# PIECE=FILE sends that recording from a program instead, as fast as it plays, and stops the server.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
model=$1; shift
# 1. The server, on this machine alone. Open the address it prints, press Listen, and speak.
if [ -z "${PIECE:-}" ]; then
  exec asr serve "$model" "$@"
fi
# 2. The same from a program: start the server, let a client of thirty lines talk to it, and stop it.
log=$(mktemp)
asr serve "$model" port=0 "$@" > "$log" &
server=$!
trap 'kill $server 2> /dev/null || true; rm -f "$log"' EXIT
until grep -q listening "$log"; do kill -0 $server; sleep 0.2; done
python "$here/client.py" "$(sed -n 's/listening on //p' "$log")" "$PIECE"
kill $server
wait $server
