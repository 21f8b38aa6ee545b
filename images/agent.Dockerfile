# The node agent: CSI driver, store and check of model bytes. Build from the checkout's root:
#   buildah build -f images/agent.Dockerfile -t edgewise-agent .
# It mounts volumes, so it runs as root in a privileged container; `mount` and `umount` come with BASE.
# About BASE, PIP_CERT and PIP_INDEX_URL: see server.Dockerfile.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_CERT
ARG PIP_INDEX_URL
COPY requirements/agent.txt /tmp/requirements.txt
RUN python3 -m venv /opt/edgewise \
 && /opt/edgewise/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /tmp/requirements.txt
RUN cd /opt/edgewise/lib/python3*/site-packages \
 && rm -rf pip pip-* setuptools setuptools-* _distutils_hack distutils-precedence.pth pkg_resources \
 && find . -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} + \
 && find . \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' \) -delete \
 && rm -f /opt/edgewise/bin/pip* /opt/edgewise/bin/[Aa]ctivate* \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/edgewise/lib
# Only what this image runs: a change of the operator leaves its layers, and so running pods, as they are.
COPY operator/edgewise/__init__.py /opt/edgewise/app/edgewise/__init__.py
COPY operator/edgewise/api /opt/edgewise/app/edgewise/api
COPY operator/edgewise/provenance /opt/edgewise/app/edgewise/provenance
COPY operator/edgewise/agent /opt/edgewise/app/edgewise/agent
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/edgewise/app

FROM ${BASE}
COPY --from=build /opt/edgewise /opt/edgewise
ENV PYTHONPATH=/opt/edgewise/app PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 0:0
WORKDIR /
EXPOSE 9091
ENTRYPOINT ["/opt/edgewise/bin/python", "-m", "edgewise.agent"]
