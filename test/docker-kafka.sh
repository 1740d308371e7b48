#!/usr/bin/env bash
# Runs Apache Kafka in a container with settings from the environment, by the rules of the public image: KAFKA_NODE_ID is
# node.id; two underscores stand for one, three for a dash. CLUSTER_ID names the cluster.
set -euo pipefail

properties=/opt/kafka/server.properties
: >$properties
while IFS='=' read -r name value; do
  case $name in
    KAFKA_HEAP_OPTS) ;;
    KAFKA_*)
      name=${name#KAFKA_}
      name=${name//___/-}
      name=${name//__/$'\n'}
      name=${name//_/.}
      name=${name//$'\n'/_}
      printf '%s=%s\n' "${name,,}" "$value" >>$properties
      ;;
  esac
done < <(env)

cat >/opt/kafka/log4j2.properties <<'LOG'
rootLogger.level=WARN
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c %m%n
LOG

java=(java -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties -cp '/opt/kafka/libs/*')
"${java[@]}" kafka.tools.StorageTool format --ignore-formatted -t "${CLUSTER_ID:?names the cluster}" -c $properties
exec "${java[@]}" ${KAFKA_HEAP_OPTS:-} kafka.Kafka $properties
