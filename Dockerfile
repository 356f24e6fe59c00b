# dmri7t as a BIDS App in a container: the CPU build of PyTorch, the models that ship inside.
#
#   docker build --build-arg TORCH_INDEX=<PyTorch's package index of CPU builds> -t dmri7t .
#   docker run --rm -v /data/study:/data:ro -v /data/out:/out dmri7t /data /out participant
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
RUN pip install --no-cache-dir -c constraints.txt .

# nothing is written outside of the output and the work folder, whoever runs it
ENV NIPYPE_NO_ET=1 MPLCONFIGDIR=/tmp/matplotlib PYTHONNOUSERSITE=1
WORKDIR /tmp
ENTRYPOINT ["dmri7t"]
