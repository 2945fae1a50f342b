"""BiasNorm, a normalisation that keeps some information about length.

    BiasNorm(x) = x * exp(s) / RMS(x - b)

Source: Zipformer, arXiv 2310.11230, section 3.3, equation 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.kernels.norm import normalise
from asr.nn.gradients import limit_param


class _BiasNorm(torch.autograd.Function):
    """Keeps the input and one number a row; the exact derivative is worked out from these."""

    @staticmethod
    def forward(ctx, x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
        inverse_rms = (x - bias).square_().mean(dim=-1, keepdim=True).rsqrt_()
        ctx.save_for_backward(x, bias, log_scale, inverse_rms)
        return x * (inverse_rms * log_scale.exp())

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, bias, log_scale, inverse_rms = ctx.saved_tensors
        scale = inverse_rms * log_scale.exp()
        dot = (grad * x).sum(dim=-1, keepdim=True)
        pull = (x - bias).mul_(dot * scale * inverse_rms.square() / x.shape[-1])
        grad_bias = pull.reshape(-1, x.shape[-1]).sum(dim=0)
        return torch.addcmul(pull.neg_(), grad, scale), grad_bias, (dot * scale).sum()


class BiasNorm(nn.Module):
    """Normalise each frame by the root mean square of its distance from a learnt bias; x is (..., C), channels last."""

    def __init__(self, num_channels: int):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.empty(num_channels).normal_(mean=0, std=1e-4))

    def forward(self, x: Tensor) -> Tensor:
        log_scale = limit_param(self.log_scale, -1.5, 1.5) if self.training else self.log_scale
        x = x.float()
        if torch.is_grad_enabled():
            return _BiasNorm.apply(x, self.bias, log_scale)
        return normalise(x, self.bias, log_scale)
