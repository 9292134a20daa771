# The gateway and nothing else: a static binary in an empty image.
#
#   docker build -t portcullis .
#   docker run -p 8080:8080 portcullis demo --listen 0.0.0.0:8080
#
# PROFILE=release keeps the symbols that `dist`, the default, leaves out.

FROM rust:1.95-slim-bookworm AS build
ARG PROFILE=dist
WORKDIR /build
COPY Cargo.toml Cargo.lock askama.toml ./
COPY src src
# glibc is linked statically; names are resolved by a resolver of our own, so that needs no NSS.
# With --target the flag holds for the binary alone: procedural macros could not be built with it.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS="-C target-feature=+crt-static" \
       cargo build --locked --bin portcullis --profile "$PROFILE" --target "$target" \
    && install -D target/"$target"/*/portcullis /image/portcullis \
    && install -d -m 700 /image/volume/data

FROM scratch
COPY --from=build /image/portcullis /portcullis
# data_dir: store, keys, master key. A fresh volume takes over the folder's owner and mode.
COPY --from=build --chown=65532:65532 /image/volume/ /
ENV STATE_DIRECTORY=/data
VOLUME /data
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/portcullis", "healthcheck"]
ENTRYPOINT ["/portcullis"]
CMD ["run"]
