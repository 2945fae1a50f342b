"""Error rates, latency and speed, and the reports that hold them; knows nothing of training."""

from asr.evaluation.latency import AlgorithmicLatency, Speed, algorithmic_latency, measure_speed
from asr.evaluation.listing import write_listing
from asr.evaluation.report import Report, load_report, make_table, summarise
from asr.evaluation.wer import ErrorCounts, Score, Transcript, Unit, score

__all__ = [
    "AlgorithmicLatency",
    "ErrorCounts",
    "Report",
    "Score",
    "Speed",
    "Transcript",
    "Unit",
    "algorithmic_latency",
    "load_report",
    "make_table",
    "measure_speed",
    "score",
    "summarise",
    "write_listing",
]
