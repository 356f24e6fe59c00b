"""The codebook of the VQ-VAEs; who imports this loads MONAI."""

from __future__ import annotations

import torch
from monai.networks.layers.vector_quantizer import EMAQuantizer
from torch.nn import functional

from dmri7t.models.layers import CHUNK, nearest


class GroupQuantizer(EMAQuantizer):
    """MONAI's codebook, of which each latent takes one code for every group of its channels.

    Groups (product quantisation, Jegou et al. 2011) multiply what a latent can say: with one code
    of 1024 for eight voxels, the image itself was lost. Codes are counted by their indices:
    MONAI's own way holds a one-hot row of all codes for every latent, and is three times slower.
    """

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Quantise (B, groups * c, x, y, z).

        Returns
        -------
        quantized : Tensor (B, groups * c, x, y, z)
            Gradients pass straight through it.
        commitment : Tensor ()
        indices : Tensor (N,)
            Of the codes, group by group of each latent.
        """
        rows = inputs.float().movedim(1, -1)
        flat = rows.reshape(-1, self.embedding_dim)
        codes = self.embedding.weight
        with torch.no_grad():
            indices = torch.cat([nearest(part, codes) for part in flat.split(CHUNK)])
        quantized = codes[indices].reshape(rows.shape).movedim(-1, 1)
        if self.training:
            self._move_codes(flat.detach(), indices)
        commitment = self.commitment_cost * functional.mse_loss(quantized, inputs)
        return inputs + (quantized - inputs).detach(), commitment, indices

    @torch.no_grad()
    def _move_codes(self, flat: torch.Tensor, indices: torch.Tensor) -> None:
        """Take latents (N, c) into the moving averages of the codes that stand for them."""
        counts = torch.bincount(indices, minlength=self.num_embeddings).float()
        sums = torch.zeros_like(self.ema_w).index_add_(0, indices, flat)
        if self.ddp_sync:
            self.distributed_synchronization(counts, sums)
        self.ema_cluster_size.lerp_(counts, 1 - self.decay)
        self.ema_w.lerp_(sums, 1 - self.decay)
        n = self.ema_cluster_size.sum()
        share = (self.ema_cluster_size + self.epsilon) / (n + self.num_embeddings * self.epsilon)
        self.embedding.weight.copy_(self.ema_w / (share * n)[:, None])
