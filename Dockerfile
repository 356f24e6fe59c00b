# dmri7t as a BIDS App in a container: the CPU build of PyTorch, the models that ship inside, the BIDS
# validator.
#
#   docker build --build-arg TORCH_INDEX=<PyTorch's package index of CPU builds> -t dmri7t .
#   docker run --rm dmri7t --help
#   docker run --rm -u "$(id -u):$(id -g)" -v /data/study:/data:ro -v /data/out:/out -v /scratch:/work \
#       dmri7t /data /out participant -w /work
#
# For a GPU give the index of a CUDA build instead, and `docker run --gpus all`.
FROM python:3.11-slim

ARG TORCH_INDEX
RUN test -n "$TORCH_INDEX" || { echo "give --build-arg TORCH_INDEX=<index of PyTorch builds>"; exit 1; }

WORKDIR /opt/dmri7t
COPY constraints.txt .
# a layer of its own: it is large and seldom changes
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY dmri7t dmri7t
COPY workflows workflows
RUN pip install --no-cache-dir -c constraints.txt '.[bids]'

# results say which image made them; give another tag if yours has one
ARG IMAGE=dmri7t:0.3.0.dev0
LABEL org.opencontainers.image.title="dmri7t" \
      org.opencontainers.image.description="7T-like diffusion MRI from 3T scans: a BIDS App" \
      org.opencontainers.image.version="0.3.0.dev0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.authors="The dmri7t developers"

# an image that cannot do this is none; in a home of its own, since what root leaves is root's
RUN HOME=/opt/check sh -c 'dmri7t --version && dmri7t-model info default && bids-validator-deno --version' \
    && rm -rf /opt/check

RUN useradd --no-create-home --home-dir /tmp --uid 1000 dmri7t
USER 1000
# whoever runs it has a home that he may write: programs keep caches there. Nothing else is written
# outside of the output and the work folder
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib NIPYPE_NO_ET=1 PYTHONNOUSERSITE=1 DMRI7T_IMAGE=$IMAGE
WORKDIR /tmp
ENTRYPOINT ["dmri7t"]
CMD ["--help"]
