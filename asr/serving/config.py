"""Settings of the server."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import List  # noqa: UP035  (what OmegaConf reads on Python 3.10)

from asr.errors import ConfigError
from asr.streaming import EndpointConfig, GateConfig, StreamConfig


@dataclass(kw_only=True)
class LimitConfig:
    """What one client, and all of them together, may take; every number is above 0."""

    connections: int = 100
    """Clients at once; one more is told to try again later."""
    message_bytes: int = 1 << 20
    """Longest message; a longer one ends its connection."""
    session_s: float = 3600.0
    """Seconds a stream may last, on the clock and in audio; then it is finished and answered."""
    idle_s: float = 30.0
    """Seconds without a message, empty ones aside, after which a stream is finished and answered."""
    start_s: float = 10.0
    """Seconds a client has for its first message."""
    send_s: float = 10.0
    """Seconds a client may refuse to read before it is given up."""
    backlog_s: float = 10.0
    """Seconds of audio that may wait for computation; then nothing more is read from the client until some is done."""
    refused_messages: int = 20
    """Messages of a stream that may be left out for what is in them; the next one ends it."""
    shutdown_s: float = 15.0
    """Seconds in which open streams are finished and answered before the server stops."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if not getattr(self, item.name) > 0:
                raise ConfigError(f"limits.{item.name}={getattr(self, item.name)} must be above 0")


@dataclass(kw_only=True)
class ServeConfig(StreamConfig):
    """Where the server listens, whom it serves, and how their streams are decoded."""

    endpoint: EndpointConfig | None = field(default_factory=EndpointConfig)
    """When to end a segment and say its words for good; null: only at the end of the stream."""
    gate: GateConfig | None = field(default_factory=GateConfig)
    """How to leave out chunks in which nobody speaks; null: decode them all."""
    host: str = "127.0.0.1"
    """Address to listen on: this machine alone, unless told otherwise; 0.0.0.0 is every network it is in."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    token: str | None = None
    """What clients must show to be served; null: nothing."""
    origins: List[str] = field(default_factory=list)  # noqa: UP006
    """Other sites, such as https://example.org, whose pages may connect; the server's own page always may."""
    limits: LimitConfig = field(default_factory=LimitConfig)
    """What clients may take."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port={self.port} must lie between 0 and 65535; 0 takes a free one")
        if self.token is not None and not self.token:
            raise ConfigError("token is empty, so that everybody would know it; use null for none")
