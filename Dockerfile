# The command driftdb, and nothing else. To build it:
#
#   docker build --build-arg VERSION=v1.2.3 --build-arg COMMIT="$(git rev-parse HEAD)" -t driftdb .
#
# The container has no shell and no root. A volume of Docker's at /data works as it is; a
# folder of the host's has to belong to user 65532, or to the user of --user.
#
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" driftdb restore --store s3://my-backups --name app --out /data/app.sqlite
FROM golang:1.26.8-alpine3.24 AS build
RUN apk add --no-cache ca-certificates && mkdir -p /rootfs/tmp /rootfs/data && chmod 1777 /rootfs/tmp
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG COMMIT=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
	-ldflags "-s -w -X main.release=$VERSION -X main.commit=$COMMIT" -o /driftdb ./cmd/driftdb

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /driftdb /driftdb
# verify restores to a temporary file, and remembers what it has proven. A new volume at
# /data belongs to the user that /data belongs to here.
COPY --from=build --chown=65532:65532 /rootfs /
ENV XDG_CACHE_HOME=/data/.cache
USER 65532:65532
WORKDIR /data
ENTRYPOINT ["/driftdb"]
