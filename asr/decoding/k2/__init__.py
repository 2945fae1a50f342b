"""Search over automata, with k2; the only part of decoding that needs it."""
