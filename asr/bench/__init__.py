"""Benchmarks: one file for each, run side by side with what they are compared with (`asr bench`)."""
