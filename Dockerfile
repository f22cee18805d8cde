# The worker. Built from the locks alone: every file that pip takes must have a hash in them.
# A release pins the base too: --build-arg BASE_IMAGE=python:3.13-slim@sha256:...
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
# For the compiled part, which is a third of the speed; nothing of it stays in the image.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --require-hashes --only-binary :all: -r requirements.lock
# What builds the wheel: hatchling with what it needs, which the development lock marks as `via hatchling`, and Cython.
COPY requirements-dev.lock ./
RUN awk '/^[^ #]/ { if (wanted) printf "%s", entry; entry = ""; wanted = /^(hatchling|cython|setuptools)==/ } \
         { entry = entry $0 "\n" } \
         /# (via| ) +hatchling$/ { wanted = 1 } \
         END { if (wanted) printf "%s", entry }' requirements-dev.lock > build.lock \
    && pip install --require-hashes --only-binary :all: -r build.lock
# The code last: a change of it takes seconds.
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY app app
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/venv/bin/python install --no-deps --no-index /wheels/*.whl \
    && /opt/venv/bin/python -c "import app._compiled"

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="patient-upsert" \
      org.opencontainers.image.description="Creates or updates the patient of a customer from Kafka events" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 worker \
    && useradd --uid 10001 --gid worker --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin worker
# Owned by root: the worker cannot change its own code.
COPY --from=build /opt/venv /opt/venv
COPY app/cli/health.py /opt/health.py
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /
EXPOSE 8080
# Whether it should be left running: an engine that replaces unhealthy containers must not do so because Kafka is away.
# By itself, since the whole command line would take a second of CPU to load at every check.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-I", "/opt/health.py", "livez"]
ENTRYPOINT ["patient-upsert"]
CMD ["run"]
