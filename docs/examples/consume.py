"""Prints a JSON line for each record of a topic, from its beginning to where it ends now.

    python consume.py BROKERS REGISTRY TOPIC
"""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, registry, topic = sys.argv[1:]
decode = AvroDeserializer(SchemaRegistryClient({"url": registry}))
context = SerializationContext(topic, MessageField.VALUE)
consumer = Consumer(
    {
        "bootstrap.servers": brokers,
        "group.id": "not used: no offset is committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
)
partitions = consumer.list_topics(topic).topics[topic].partitions
consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
# The end of a partition is told again whenever it has moved.
finished = set()
while len(finished) < len(partitions):
    for message in consumer.consume(1000, timeout=1.0):
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            finished.add(message.partition())
            continue
        try:
            event = decode(message.value(), context)
        except Exception as error:
            print(f"partition {message.partition()} offset {message.offset()}: {error}", file=sys.stderr)
            continue
        # Times and ids come as datetime and UUID.
        sys.stdout.write(json.dumps(event, default=str, ensure_ascii=False) + "\n")
consumer.close()
