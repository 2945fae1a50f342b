"""Imported once by the server that children are forked from (`child`); starts no thread."""

import lhotse  # noqa: F401
import torch._dynamo  # noqa: F401  (what the first optimizer would import)
import torch.utils.tensorboard  # noqa: F401

import asr.cli.decode  # noqa: F401
import asr.cli.train  # noqa: F401
import asr.config.compose  # noqa: F401
import asr.training.build  # noqa: F401
