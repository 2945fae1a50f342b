"""ScaledAdam, learning-rate schedules and parameter groups."""

from asr.optim.clipping import ClipReport
from asr.optim.config import ScaledAdamConfig
from asr.optim.convert import convert_published_state
from asr.optim.groups import freeze_parameters, parameter_groups
from asr.optim.scaled_adam import ScaledAdam
from asr.optim.schedules import (
    ConstantThenLinear,
    Eden,
    Eden2,
    Schedule,
    ScheduleConfig,
    ScheduleKind,
    Warmup,
    build_schedule,
    set_rate,
)

__all__ = [
    "ClipReport",
    "ConstantThenLinear",
    "Eden",
    "Eden2",
    "ScaledAdam",
    "ScaledAdamConfig",
    "Schedule",
    "ScheduleConfig",
    "ScheduleKind",
    "Warmup",
    "build_schedule",
    "convert_published_state",
    "freeze_parameters",
    "parameter_groups",
    "set_rate",
]
