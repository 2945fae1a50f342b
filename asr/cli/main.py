"""`asr COMMAND …`: finds the command, and turns errors into one sentence."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches

COMMANDS = {
    "prepare": "download and prepare a recipe's corpus",
    "data": "look a corpus over, or pack it into shards",
    "train": "train a model, or go on training it",
    "average": "average a run's checkpoints into the model to use",
    "decode": "recognise a test set and count errors",
    "latency-curve": "decode at many chunk sizes, and draw errors against latency",
    "compare": "put the results of several runs into one table",
    "equality": "draw streamed and direct outputs, and their difference",
    "adaptive": "stream with chunks that follow the conditions, against every fixed size",
    "stream": "recognise audio chunk by chunk, showing words as they come",
    "serve": "recognise live speech for many clients at once, and on a page",
    "transcribe": "recognise audio files",
    "export": "write ONNX models for deployment, and verify them",
    "import-icefall": "turn a published icefall checkpoint into one of ours",
    "report": "what a run reached, on the screen and as a page",
    "endurance": "play hours of audio into one stream, and watch its memory",
    "bench": "measure speed and memory against yardsticks",
    "info": "say what is installed, or what a checkpoint holds",
}

USAGE = """usage: asr COMMAND [ARGUMENTS] [key=value ...]

Streaming speech recognition, trained from scratch.

{commands}

`asr COMMAND --help` explains a command. Add --traceback to see where an error arose."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 well, 1 an error in one sentence, 2 wrong usage, 130 interrupted."""
    try:
        status = _choose(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _choose(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        from asr import __version__

        print(f"rill-asr {__version__}")
        return 0
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `asr {close[0]}`?" if close else "`asr --help` lists them"
        print(f"asr: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    return _run(name, rest)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    return USAGE.format(commands="\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()))


def _run(name: str, arguments: list[str]) -> int:
    wants_traceback = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    # Threads that wait for work must not spin: they would take the core from whoever has some.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        module = importlib.import_module(f"asr.cli.{name.replace('-', '_')}")
        return int(module.main(arguments) or 0)
    except KeyboardInterrupt:
        print(f"\nasr {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        if wants_traceback:
            raise
        print(f"asr {name}: {_sentence(error)}", file=sys.stderr)
        return 1


def _sentence(error: Exception) -> str:
    from asr.errors import RillError

    if isinstance(error, RillError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed; install rill-asr with the extra that needs it"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    text = " ".join(str(error).split()) or "no message"
    return f"unexpected {type(error).__name__}: {text[:300]} (add --traceback for the whole story)"


if __name__ == "__main__":
    sys.exit(main())
