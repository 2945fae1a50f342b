"""Recurrent encoders: LSTM and GRU."""

from asr.models.recurrent.config import GruConfig, LstmConfig, RecurrentConfig
from asr.models.recurrent.network import Gru, Lstm

__all__ = ["Gru", "GruConfig", "Lstm", "LstmConfig", "RecurrentConfig"]
