# The operator, and the verification process that it starts. Build from the checkout's root:
#   buildah build -f images/operator.Dockerfile -t edgewise-operator .
# About BASE, PIP_CERT and PIP_INDEX_URL: see server.Dockerfile.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
# Code objects without columns for tracebacks: half a megabyte of the operator.
ENV PYTHONNODEBUGRANGES=1
ARG PIP_CERT
ARG PIP_INDEX_URL
COPY requirements/operator.txt /tmp/requirements.txt
RUN python3 -m venv /opt/edgewise \
 && /opt/edgewise/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /tmp/requirements.txt
RUN cd /opt/edgewise/lib/python3*/site-packages \
 && rm -rf pip pip-* setuptools setuptools-* _distutils_hack distutils-precedence.pth pkg_resources \
 && find . -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} + \
 && find . \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' \) -delete \
 && rm -f /opt/edgewise/bin/pip* /opt/edgewise/bin/[Aa]ctivate* \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/edgewise/lib
# The agent and the server have images of their own.
COPY operator/edgewise /opt/edgewise/app/edgewise
RUN rm -rf /opt/edgewise/app/edgewise/agent /opt/edgewise/app/edgewise/serving \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/edgewise/app

FROM ${BASE}
COPY --from=build /opt/edgewise /opt/edgewise
ENV PYTHONPATH=/opt/edgewise/app PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PYTHONNODEBUGRANGES=1
USER 65532:65532
WORKDIR /
EXPOSE 8081 9090
ENTRYPOINT ["/opt/edgewise/bin/python", "-m", "edgewise.engine"]
