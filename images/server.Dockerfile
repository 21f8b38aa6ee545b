# The inference server: ONNX Runtime behind the Open Inference Protocol v2. Build from the checkout's root:
#   buildah build -f images/server.Dockerfile -t edgewise-server .
# BASE is any image with Python 3.11 or newer, its venv module and CA certificates; both stages use the same one, so
# that the interpreter that the environment points to is there. PIP_CERT and PIP_INDEX_URL are for networks with a CA
# or an index of their own.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_CERT
ARG PIP_INDEX_URL
COPY requirements/serving.txt /tmp/requirements.txt
# Compiled once, below, by content instead of time: a root file system is read-only, and time stamps get lost in layers.
RUN python3 -m venv /opt/edgewise \
 && /opt/edgewise/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /tmp/requirements.txt
# What inference never touches: the installers, ONNX Runtime's tools for making models, test suites, headers, stubs.
RUN cd /opt/edgewise/lib/python3*/site-packages \
 && rm -rf pip pip-* setuptools setuptools-* _distutils_hack distutils-precedence.pth pkg_resources \
      onnxruntime/tools onnxruntime/transformers onnxruntime/quantization onnxruntime/datasets \
      numpy/f2py numpy/distutils numpy/_core/include numpy/_core/lib \
 && find . -type d \( -name tests -o -name testing -o -name __pycache__ \) -not -path './numpy/testing*' -prune \
      -exec rm -rf {} + \
 && find . \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.a' \) -delete \
 && rm -f /opt/edgewise/bin/pip* /opt/edgewise/bin/[Aa]ctivate* \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/edgewise/lib
# Only what this image runs: a change of the operator leaves its layers, and so running pods, as they are.
COPY operator/edgewise/__init__.py /opt/edgewise/app/edgewise/__init__.py
COPY operator/edgewise/traffic /opt/edgewise/app/edgewise/traffic
COPY operator/edgewise/serving /opt/edgewise/app/edgewise/serving
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/edgewise/app

FROM ${BASE}
COPY --from=build /opt/edgewise /opt/edgewise
# SAFEPATH: nothing is imported from the working directory. ONNX Runtime's wheels report to their maker by default.
ENV ORT_DISABLE_TELEMETRY=1
ENV PYTHONPATH=/opt/edgewise/app PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
EXPOSE 8080
ENTRYPOINT ["/opt/edgewise/bin/python", "-m", "edgewise.serving"]
