"""asr serve: a WebSocket endpoint and a page that shows words as they are spoken."""

from __future__ import annotations

from collections.abc import Sequence

from asr.cli.arguments import parse
from asr.cli.settings import settings

USAGE = """usage: asr serve EXP [key=value ...]

Serves live recognition to many clients at once, on this machine alone unless told otherwise: a page for browsers at /,
and a WebSocket for programs at /stream (its messages: `python -m pydoc asr.serving.protocol`). EXP is a checkpoint, or
a run's folder. Ctrl-C finishes open streams and stops.

  port=8000 host=127.0.0.1         where to listen; host=0.0.0.0 is every network this machine is in
  RILL_TOKEN=... asr serve         what clients must know to be served; kept out of the command line
  chunk_size=16 left_context=64    50 Hz frames decoded at a time, and remembered before
  search.method=BEAM               GREEDY, BEAM, CTC_GREEDY or CTC_BEAM
  endpoint.pause_s=0.8             seconds of silence after which words are final
  gate=null                        decode silence too
  limits.connections=100           clients at once; limits.session_s, limits.idle_s, ...: see --cfg
  num_threads=2                    CPU threads
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=1)
    config = settings("serve", arguments, checkpoint=arguments.positional[0])
    import torch

    import asr
    from asr.serving.server import Server

    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    server = Server(asr.load(config.checkpoint), config)
    print(f"listening on {server.address}", flush=True)
    server.run()
    return 0
