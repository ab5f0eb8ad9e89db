# The service in a container: the program, the certificate authorities, and a user without rights.
#
#   docker build -t flashsale:0.1.0 .
#   docker build -t flashsale:0.1.0 --build-arg FEATURES=kafka .     tells the data platform over Kafka too
#
# It needs BuildKit (the default since Docker 23), whose caches make the second build short. The program has its function
# names for backtraces, but not its line tables, which are two thirds of it.

FROM rust:1.92.0-bookworm AS builder
ARG FEATURES=""
WORKDIR /build
# Only what .dockerignore lets through.
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin flashsale --features "$FEATURES" \
    && strip --strip-debug -o /flashsale target/release/flashsale

FROM debian:bookworm-20260824-slim
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=builder /flashsale /usr/local/bin/
# Nobody in particular: it needs no home, and no file of its own.
USER 10001:10001
# Every address of the container; which of them the world reaches is up to whoever runs it.
ENV FLASHSALE_LISTEN=0.0.0.0:8080 \
    FLASHSALE_OPS_LISTEN=0.0.0.0:8081
EXPOSE 8080 8081
# No HEALTHCHECK here: the image also migrates and plays the sandbox. The compose file has one for each.
ENTRYPOINT ["flashsale"]
CMD ["serve"]
