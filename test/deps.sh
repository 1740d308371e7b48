#!/usr/bin/env bash
# Installs what tests with real servers need and this machine lacks: redis-server and Java (and Maven, to fetch Kafka) as
# packages of the system, the jars of Apache Kafka and the S3 server versitygw into a cache folder.
#
#   test/deps.sh               says what is missing and installs it
#   NO_INSTALL=1 test/deps.sh  only says it, and fails if anything is missing
#
# Spin and a C compiler too: for the models, and the race detector of Go links with one.
#
# What the environment names already (OFFLINE_TEST_KAFKA, OFFLINE_TEST_REDIS, OFFLINE_TEST_S3) needs no program here.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${OFFLINE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/offline-nodes}
version() { sed -n "s/.*$1 *= *\"\(.*\)\"/\1/p" test/testkit/servers/options.go; }
kafka=$(version KafkaVersion)
versitygw=$(version VersityGWVersion)
jars=$cache/kafka-$kafka/lib

lacks() { ! command -v "$1" >/dev/null; }

java_is_old() {
  local major
  major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${major:-0}" -lt 17 ]
}

versitygw_is_current() { go version -m "$cache/bin/versitygw" 2>/dev/null | grep -qF "$versitygw"; }

packages=() downloads=()
if lacks spin; then packages+=(spin); fi
if lacks gcc; then packages+=(gcc libc6-dev); fi
if [ "${OFFLINE_TEST_SERVERS:-}" != docker ]; then
  if [ -z "${OFFLINE_TEST_REDIS:-}" ] && lacks redis-server; then packages+=(redis-server); fi
  if [ -z "${OFFLINE_TEST_KAFKA:-}" ]; then
    if lacks java || java_is_old; then packages+=(default-jre-headless); fi
    if [ ! -d "$jars" ]; then
      downloads+=("Apache Kafka $kafka")
      if lacks mvn; then packages+=(maven); fi
    fi
  fi
  if [ -z "${OFFLINE_TEST_S3:-}" ] && ! versitygw_is_current; then downloads+=("versitygw $versitygw"); fi
fi

if [ ${#packages[@]} -eq 0 ] && [ ${#downloads[@]} -eq 0 ]; then
  exit 0
fi
if [ ${#packages[@]} -gt 0 ]; then echo "deps: missing Debian packages: ${packages[*]}"; fi
for download in "${downloads[@]}"; do echo "deps: missing in $cache: $download"; done
if [ -n "${NO_INSTALL:-}" ]; then
  echo "deps: NO_INSTALL is set, so nothing is installed"
  exit 1
fi

if [ ${#packages[@]} -gt 0 ]; then
  if lacks apt-get; then
    echo "deps: there is no apt-get here: install ${packages[*]} by other means"
    exit 1
  fi
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${packages[@]}"
fi

# The jars get their place when all are there: a folder that exists is complete.
fetch_kafka() {
  rm -rf "$jars.part"
  mkdir -p "$jars.part"
  mvn -q -B -f test/testkit/kafka/pom.xml -Dkafka.version="$kafka" dependency:copy-dependencies -DoutputDirectory="$jars.part"
  mv -T "$jars.part" "$jars"
}

for download in "${downloads[@]}"; do
  echo "deps: getting $download"
  case $download in
    Apache*) fetch_kafka ;;
    versitygw*) GOFLAGS='' GOBIN="$cache/bin" go install "github.com/versity/versitygw/cmd/versitygw@$versitygw" ;;
  esac
done
echo "deps: all there"
