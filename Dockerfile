# docker build -t tidemark .
# docker run -p 127.0.0.1:8080:8080 -v tidemark:/data -e TIDEMARK_LISTEN=0.0.0.0:8080 -e TIDEMARK_INSECURE=true tidemark

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# /out is the whole file system of the final image.
RUN CGO_ENABLED=0 go build -trimpath -o /out/bin/tidemark ./cmd/tidemark \
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
# Whether the process answers. Whether it is ready is for a load balancer to ask.
HEALTHCHECK --interval=10s --timeout=6s CMD ["tidemark", "health", "--live"]
ENTRYPOINT ["tidemark"]
CMD ["serve"]
