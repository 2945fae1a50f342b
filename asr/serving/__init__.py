"""Live recognition over a WebSocket, many clients at once, and a page that shows words as they are spoken.

`asr.serving.server.Server` runs it; `asr.serving.app.build_app` is the application, for any ASGI server;
`asr.serving.protocol` tells what clients and the server say to each other. Needs the extra `serve`.
"""

from asr.serving.config import LimitConfig, ServeConfig

__all__ = ["LimitConfig", "ServeConfig"]
