#!/bin/sh
# Two users of Kafka, each with the rights that it uses. By someone who may alter the cluster, before the first `setup`;
# it may be run again, and --dry-run only prints what it would do:
#
#     BOOTSTRAP=kafka:9092 COMMAND_CONFIG=admin.properties deploy/kafka-acls.sh
#
#   patient-upsert-setup     for `patient-upsert setup`: creates the four topics
#   patient-upsert-worker    for `patient-upsert run` and `doctor`: reads requests, writes answers and dead letters
#
# The users themselves are made elsewhere: logins, or certificates whose names are given as SETUP_USER and WORKER_USER.
# Who may send requests writes to the request topic; who may see the answers, which hold health data, reads the others.
set -eu

: "${BOOTSTRAP:?set it to the addresses of the brokers, as kafka:9092}"
: "${KAFKA_ACLS:=kafka-acls.sh}" # where the tool is, when it is not on the PATH
: "${SETUP_USER:=patient-upsert-setup}" "${WORKER_USER:=patient-upsert-worker}"
# As the settings of the worker name them.
: "${PATIENT_UPSERT_REQUEST_TOPIC:=patient.upsert.requested}" "${PATIENT_UPSERT_COMPLETED_TOPIC:=patient.upsert.completed}"
: "${PATIENT_UPSERT_FAILED_TOPIC:=patient.upsert.failed}" "${PATIENT_UPSERT_DLQ_TOPIC:=patient.upsert.requested.dlq}"
: "${PATIENT_UPSERT_GROUP_ID:=patient-upsert}"

allow() {
  user=$1
  shift
  set -- --bootstrap-server "$BOOTSTRAP" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
    --add --force --allow-principal "User:$user" "$@"
  if [ "$mode" = --dry-run ]; then echo "$KAFKA_ACLS $*"; else "$KAFKA_ACLS" "$@" >/dev/null; fi
}

mode=${1:-}
allow "$SETUP_USER" --operation Create \
  --topic "$PATIENT_UPSERT_REQUEST_TOPIC" --topic "$PATIENT_UPSERT_COMPLETED_TOPIC" \
  --topic "$PATIENT_UPSERT_FAILED_TOPIC" --topic "$PATIENT_UPSERT_DLQ_TOPIC"
# DescribeConfigs is for `doctor`. Read and Write bring Describe, and Write the right to an idempotent producer.
allow "$WORKER_USER" --operation Read --operation DescribeConfigs --topic "$PATIENT_UPSERT_REQUEST_TOPIC"
allow "$WORKER_USER" --operation Read --group "$PATIENT_UPSERT_GROUP_ID"
allow "$WORKER_USER" --operation Write --operation DescribeConfigs \
  --topic "$PATIENT_UPSERT_COMPLETED_TOPIC" --topic "$PATIENT_UPSERT_FAILED_TOPIC" --topic "$PATIENT_UPSERT_DLQ_TOPIC"
