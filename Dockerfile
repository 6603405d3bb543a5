# syntax=docker/dockerfile:1

# Two images from one build:
#   docker build --target payd     -t payd .
#   docker build --target holdfast -t holdfast .
# Both hold one static binary, the root certificates, and nothing else; both run as a user without a name or rights.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# The modules first: they change less often than the code.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd ./cmd
COPY internal ./internal
ARG TARGETOS TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags='-s -w' -o /out/ ./cmd/payd ./cmd/holdfast
RUN mkdir -p /out/export

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532

FROM base AS holdfast
COPY --from=build /out/holdfast /holdfast
# The warden exports the lost tail into this folder (HOLDFAST_EXPORT_DIR). A volume mounted here takes its owner from the
# image, also on Fargate.
COPY --from=build --chown=65532:65532 /out/export /var/lib/holdfast/export
VOLUME /var/lib/holdfast/export
ENTRYPOINT ["/holdfast"]

# The default target is the last one.
FROM base AS payd
COPY --from=build /out/payd /payd
EXPOSE 8080
ENTRYPOINT ["/payd"]
