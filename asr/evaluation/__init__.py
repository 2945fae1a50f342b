"""Error rates, latency and speed, and the reports that hold them; knows nothing of training."""

from asr.evaluation.latency import AlgorithmicLatency, Delays, Watched, algorithmic_latency, measure_delays
from asr.evaluation.listing import write_listing
from asr.evaluation.report import Report, load_report, make_table, summarise
from asr.evaluation.speed import Speed, measure_speed
from asr.evaluation.waits import latency_table
from asr.evaluation.wer import ErrorCounts, Score, Transcript, Unit, score

__all__ = [
    "AlgorithmicLatency",
    "Delays",
    "ErrorCounts",
    "Report",
    "Score",
    "Speed",
    "Transcript",
    "Unit",
    "Watched",
    "algorithmic_latency",
    "latency_table",
    "load_report",
    "make_table",
    "measure_delays",
    "measure_speed",
    "score",
    "summarise",
    "write_listing",
]
