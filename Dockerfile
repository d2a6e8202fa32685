# fv2es with the package versions of requirements.lock. docs/install.md says how to build and run it.
# torch from PyPI brings CUDA, so the default image also runs on a GPU: docker run --gpus all ...
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /usr/local/fv2es
ENV PATH=/usr/local/fv2es/bin:$PATH
# The address of a package index that has torch without CUDA makes a smaller image for CPUs.
ARG TORCH_INDEX=
ARG EXTRAS=serve,check
WORKDIR /src
COPY requirements.lock ./
RUN if [ -n "$TORCH_INDEX" ]; then \
        grep -E '^(torch|torchaudio|torchvision)==' requirements.lock > torch.txt \
        && pip install --no-cache-dir --index-url "$TORCH_INDEX" -r torch.txt; \
    fi
COPY . .
RUN pip install --no-cache-dir --constraint requirements.lock ".[$EXTRAS]"

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home fv2es && install --directory --owner fv2es /data
COPY --from=build /usr/local/fv2es /usr/local/fv2es
ENV PATH=/usr/local/fv2es/bin:$PATH
USER fv2es
WORKDIR /data
ENTRYPOINT ["fv2es"]
CMD ["--help"]
