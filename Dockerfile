# untrigger for CI systems that run containers:  docker build -t untrigger .
# Models and rows are mounted:                   docker run --rm -v "$PWD:/work" untrigger scan model --clean rows.csv --out scan.json

FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
# The pinned torch of the Makefile. Give another requirement for a build with or without CUDA.
ARG TORCH=torch==2.13.0
COPY --from=build /wheels /wheels
# The torch is pinned by the argument, the wheel by its file.
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir "$TORCH" \
 && python -m pip install --no-cache-dir /wheels/*.whl \
 && rm -rf /wheels \
 && useradd --create-home --uid 1000 scanner
USER 1000
WORKDIR /work
ENTRYPOINT ["untrigger"]
CMD ["--help"]
