# docker build -t tidemark --build-arg COMMIT=$(git rev-parse HEAD) .
# docker run -p 127.0.0.1:8080:8080 -v tidemark:/data -e TIDEMARK_LISTEN=0.0.0.0:8080 -e TIDEMARK_INSECURE=true tidemark

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What tidemark version shows. The build has no git repository to read it from.
ARG VERSION= COMMIT= DATE=
# /out holds all files of the final image.
RUN CGO_ENABLED=0 go build -trimpath -o /out/bin/tidemark \
        -ldflags "-X main.buildVersion=$VERSION -X main.buildCommit=$COMMIT -X main.buildDate=$DATE" ./cmd/tidemark \
    && install -D /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt \
    && mkdir -p /out/data

FROM scratch
COPY --from=build /out/bin /bin
COPY --from=build /out/etc /etc
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV PATH=/bin TIDEMARK_DATA=/data
VOLUME /data
EXPOSE 8080
# Checks that the process answers. Load balancers check whether it is ready (/readyz).
HEALTHCHECK --interval=10s --timeout=6s CMD ["tidemark", "health", "--live"]
ENTRYPOINT ["tidemark"]
CMD ["serve"]
