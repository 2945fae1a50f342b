"""From encoder frames to tokens; offline search is one long streaming advance."""

from asr.decoding.config import SearchConfig, SearchMethod
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.search import Search, build_search
from asr.decoding.state import SearchState, concat, select, settle

__all__ = [
    "Hypothesis",
    "Search",
    "SearchConfig",
    "SearchMethod",
    "SearchState",
    "build_search",
    "concat",
    "select",
    "settle",
]
