# Kafka: one node in KRaft mode. Read by stack/stack.
# shellcheck shell=bash disable=SC2154 # folders and ports come from stack/stack

# Both Java programs are small and start often: the first compiler alone, and the collector with the least to set up.
java_options=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError)

prepare_kafka() {
    local id
    if [[ ! -e $home/kafka/data ]]; then
        # Laid out beside its place, and moved there when it is whole.
        rm -rf "$home/kafka/new"
        kafka_properties "$home/kafka/new"
        id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab') # as Kafka writes a random id, but with no dash in front
        java "${java_options[@]}" -cp "$lib/kafka/*" kafka.tools.StorageTool \
            format --cluster-id "${id%==}" --config "$home/kafka/server.properties" >"$home/logs/kafka.log" 2>&1 ||
            { last_words kafka; die "Kafka could not lay out its data folder"; }
        mv "$home/kafka/new" "$home/kafka/data"
    fi
    kafka_properties "$home/kafka/data"
}

kafka_properties() { # DATA FOLDER
    local text
    text=$(<"$root/stack/server.properties")
    text=${text//@kafka_port@/${port[kafka]}}
    text=${text//@controller_port@/${port[controller]}}
    text=${text//@data@/"$1"}
    printf '%s\n' "$text" >"$home/kafka/server.properties"
}

start_kafka() {
    launch kafka java -Xms256m -Xmx512m "${java_options[@]}" "$(mark kafka)" -Djava.io.tmpdir="$home/kafka/tmp" -Dlog4j2.level=INFO \
        -cp "$lib/kafka/*" kafka.Kafka "$home/kafka/server.properties"
}

# Asks in Kafka's own protocol for the brokers (Metadata 4, no topics). Unlike an open port, the answer tells whether the
# controller has let the broker in. In a shell of its own: a connection that breaks must not end ours.
kafka_answers() (
    exec 3<>"/dev/tcp/127.0.0.1/${port[kafka]}"
    printf '\0\0\0\x0f\0\x03\0\x04\0\0\0\x01\xff\xff\0\0\0\0\0' >&3
    # length, correlation id, throttle time and the number of brokers, four bytes each
    read -ra answer < <(timeout 2 head -c 16 <&3 | od -An -v -tu1 -w16)
    ((${#answer[@]} == 16 && answer[15] == 1))
) 2>/dev/null

kafka_brokers() { # ours, or those that the settings name
    local file
    if ours kafka; then
        address kafka
    else
        file=$(setting "$root/lemonair.toml" kafka_brokers)
        printf '%s' "${LEMONAIR_KAFKA_BROKERS:-$file}"
    fi
}
