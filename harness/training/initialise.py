"""Where training of scale-space flow starts: signals that keep their size, a picture that predicts itself.

Torch's own initial weights shrink a signal several times a layer; without normalisation (GDN) behind them, four such layers
leave latents far below a quantization step, and thousands of steps go by before they have grown. These are of He et al.
(arXiv 1502.01852), for ReLU.
"""

import math

import torch
from torch import nn

from harness.codecs.video import BRANCHES, IMAGE, MOTION
from harness.compressai_import import CompressionModel

# Latents begin at several quantization steps; what is decoded from them begins small, around its usual value.
LATENT_GAIN = 10.0
OUTPUT_GAIN = {IMAGE: 0.25, MOTION: 0.02, "res": 0.1}
GREY = 0.45
# The scale field at which the warp reads the reference almost without blur.
SHARP = -0.7
FIRST_SIGMA = 1.0


@torch.no_grad()
def initialise(model: CompressionModel) -> None:
    """New weights, in place, from torch's global generator."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            taps = float(math.prod(module.kernel_size))
            if isinstance(module, nn.ConvTranspose2d):  # so many of them meet in one output
                taps /= math.prod(module.stride)
            nn.init.normal_(module.weight, 0, math.sqrt(2 / (module.in_channels * taps)))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name in BRANCHES:
        encoder, decoder = (getattr(model, f"{name}_{part}") for part in ("encoder", "decoder"))
        hyperprior = getattr(model, f"{name}_hyperprior")
        encoder[6].weight *= LATENT_GAIN
        decoder[0].weight /= LATENT_GAIN
        decoder[6].weight *= OUTPUT_GAIN[name]
        hyperprior.hyper_encoder[4].weight *= 0.3
        hyperprior.hyper_decoder_mean[4].weight *= 0.1
        hyperprior.hyper_decoder_scale.deconv3.weight *= 0.1
        hyperprior.hyper_decoder_scale.deconv3.bias += FIRST_SIGMA
    for encoder in (model.img_encoder, model.motion_encoder):  # what they read lies around grey
        encoder[0].bias -= GREY * encoder[0].weight.sum((1, 2, 3))
    model.img_decoder[6].bias += GREY
    model.motion_decoder[6].bias[2] += SHARP
