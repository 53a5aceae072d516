# The schema registry: Apicurio, spoken to as Confluent's. Read by stack/stack.
# shellcheck shell=bash disable=SC2154 # folders and ports come from stack/stack

# It keeps its schemas in Kafka, so ids and the records that bear them are lost or saved together, whatever becomes of MySQL.
# The journal is short and is read in full on each start; snapshots of it would only be files to lose.
start_registry() {
    launch registry java -Xms64m -Xmx256m "${java_options[@]}" "$(mark registry)" -Djava.io.tmpdir="$home/registry/tmp" \
        -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="${port[registry]}" -Dquarkus.http.access-log.enabled=false \
        -Dapicurio.storage.kind=kafkasql -Dapicurio.kafkasql.bootstrap.servers="$(kafka_brokers)" \
        -Dapicurio.kafkasql.topic=lemonair-schemas -Dapicurio.kafkasql.snapshots.topic=lemonair-schemas-snapshots \
        -Dapicurio.events.kafka.topic=lemonair-schemas-events \
        -Dapicurio.kafkasql.consumer.poll.timeout=100 -Dapicurio.kafkasql.snapshot.every.seconds=off \
        -Dapicurio.kafkasql.admin.default.api.timeout.ms=600000 \
        -Dapicurio.datasource.jdbc.initial-size=2 -Dapicurio.datasource.jdbc.min-size=2 \
        -jar "$lib"/registry/apicurio-registry-app-*-runner.jar
}

prepare_registry() { :; } # its topics are all that it has

# It is ready once the journal was read; before that it would deny schemas that it has.
registry_answers() { registry_says_yes GET /health/ready && registry_says_yes GET /apis/ccompat/v7/subjects; }

# Apicurio takes any change by default.
registry_refuses_breaking_changes() {
    local tries
    for ((tries = 0; tries < 60; tries++)); do
        if registry_says_yes PUT /apis/ccompat/v7/config '{"compatibility":"BACKWARD_TRANSITIVE"}'; then return; fi
        # One that has outlived its broker takes a moment to find it again.
        sleep 0.5
    done
    die "the registry would not take its compatibility rule; see $home/logs/registry.log"
}

registry_says_yes() ( # METHOD PATH [BODY]
    body=${3:-}
    exec 3<>"/dev/tcp/127.0.0.1/${port[registry]}"
    printf '%s %s HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
        "$1" "$2" "${#body}" "$body" >&3
    read -r -t 5 _ status _ <&3
    [[ $status == 200 ]]
) 2>/dev/null
