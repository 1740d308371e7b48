#!/usr/bin/env bash
# Makes the images that tests in containers and compose/ need, where no registry of images can be reached: a small Debian
# by debootstrap with Redis and Java, on it Apache Kafka and versitygw as `make deps` fetched them, and the project's own
# static programs from bin/ (`make build`), if they are there.
#
#   make images              needs root, debootstrap and a Docker daemon
#   make test-docker IMAGES=local
#
# The images heed the same environment and arguments as the public ones, so whoever uses them cannot tell them apart.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${OFFLINE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/offline-nodes}
kafka=$(sed -n 's/.*KafkaVersion *= *"\(.*\)"/\1/p' test/testkit/servers/options.go)
suite=${SUITE:-bookworm}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

has() { docker image inspect "$1" >/dev/null 2>&1; }

if ! has offline-nodes/base:local; then
  echo "images: offline-nodes/base:local, Debian $suite with Redis and Java"
  debootstrap --variant=minbase --include=redis-server,openjdk-17-jre-headless "$suite" "$work/root" >"$work/log" || {
    tail -n 20 "$work/log"
    exit 1
  }
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* "$work"/root/usr/share/{doc,man,locale}
  tar -C "$work/root" -c . | docker import - offline-nodes/base:local >/dev/null
fi

# image NAME FOLDER [Dockerfile on standard input]
image() {
  echo "images: $1"
  docker build --quiet --tag "$1" --file - "$2" >/dev/null
}

mkdir -p "$work/redis"
image offline-nodes/redis:local "$work/redis" <<'DOCKERFILE'
FROM offline-nodes/base:local
RUN mkdir /data && chown redis:redis /data
USER redis
WORKDIR /data
EXPOSE 6379
CMD ["redis-server", "--protected-mode", "no"]
DOCKERFILE

mkdir -p "$work/kafka"
cp -r "$cache/kafka-$kafka/lib" test/docker-kafka.sh "$work/kafka/"
image offline-nodes/kafka:local "$work/kafka" <<'DOCKERFILE'
FROM offline-nodes/base:local
RUN useradd --uid 1000 appuser && mkdir -p /opt/kafka /var/lib/kafka/data && chown -R appuser /opt/kafka /var/lib/kafka
COPY lib /opt/kafka/libs
COPY docker-kafka.sh /opt/kafka/run
USER appuser
EXPOSE 9092
CMD ["/opt/kafka/run"]
DOCKERFILE

mkdir -p "$work/s3"
cp "$cache/bin/versitygw" "$work/s3/"
image offline-nodes/s3:local "$work/s3" <<'DOCKERFILE'
FROM offline-nodes/base:local
COPY versitygw /usr/local/bin/versitygw
RUN mkdir /data
EXPOSE 7070
ENTRYPOINT ["versitygw"]
DOCKERFILE

if compgen -G 'bin/*' >/dev/null; then
  image offline-nodes/offline-nodes:local bin <<'DOCKERFILE'
FROM offline-nodes/base:local AS system
RUN mkdir -p /data /empty && chown 65532:65532 /data
FROM scratch
COPY --from=system /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=system --chown=65532:65532 /data /data
COPY . /usr/local/bin/
ENV PATH=/usr/local/bin
USER 65532:65532
WORKDIR /data
CMD ["offline-node"]
DOCKERFILE
else
  echo "images: bin/ is empty, so there is none of our programs (make build)"
fi
