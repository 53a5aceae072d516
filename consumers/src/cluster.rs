//! The cluster as operators look at it: brokers, and who leads and follows each partition.

use lemonair_schemas::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde::Serialize;

use crate::kafka::{TIMEOUT, run_blocking, watermarks};
use crate::{Error, Kafka};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    pub brokers: Vec<Broker>,
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broker {
    pub id: i32,
    pub address: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    pub topic: Topic,
    pub partition: i32,
    /// A broker's id; negative while there is none.
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
    /// Holds the offsets from `low` up to, not including, `high`.
    pub low: i64,
    pub high: i64,
}

pub async fn describe(kafka: &Kafka) -> Result<Cluster, Error> {
    let marks = watermarks(kafka, &Topic::ALL).await?;
    let kafka = kafka.clone();
    run_blocking(move || {
        let consumer: BaseConsumer = kafka.consumer().create()?;
        let metadata = consumer
            .fetch_metadata(None, TIMEOUT)
            .map_err(|source| kafka.unreachable(source))?;
        let brokers = metadata.brokers().iter().map(|broker| Broker {
            id: broker.id(),
            address: format!("{}:{}", broker.host(), broker.port()),
        });
        let mut partitions = Vec::new();
        for found in metadata.topics() {
            // Others may share the cluster.
            let Some(topic) = Topic::from_kafka(found.name(), &kafka.prefix) else {
                continue;
            };
            for partition in found.partitions() {
                let mark = marks
                    .iter()
                    .find(|mark| (mark.topic, mark.partition) == (topic, partition.id()));
                partitions.push(Partition {
                    topic,
                    partition: partition.id(),
                    leader: partition.leader(),
                    replicas: partition.replicas().to_vec(),
                    in_sync: partition.isr().to_vec(),
                    low: mark.map_or(0, |mark| mark.low),
                    high: mark.map_or(0, |mark| mark.high),
                });
            }
        }
        partitions.sort_by_key(|partition| (partition.topic, partition.partition));
        Ok(Cluster {
            brokers: brokers.collect(),
            partitions,
        })
    })
    .await
}
