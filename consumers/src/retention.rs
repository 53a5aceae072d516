//! How long topics are kept: for ever, unless an operator says otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use lemonair_schemas::Topic;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;

use crate::kafka::{TIMEOUT, settings};
use crate::{Error, Kafka};

/// Topics that may be trimmed. All others are read from their beginning by somebody: who was erased, what
/// is proven of points, who may publish.
pub const TRIMMABLE: [Topic; 3] = [Topic::Chat, Topic::Streams, Topic::Presence];

const RETENTION: &str = "retention.ms";

/// Has Kafka keep each topic as long as is said, and those of which nothing is said as long as they are
/// kept by default.
pub async fn keep(kafka: &Kafka, retention: &BTreeMap<Topic, Duration>) -> Result<(), Error> {
    let admin: AdminClient<DefaultClientContext> = kafka.client().create()?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let names = TRIMMABLE.map(|topic| topic.in_kafka(&kafka.prefix));
    let resources = names.each_ref().map(|name| ResourceSpecifier::Topic(name));
    let described = admin.describe_configs(&resources, &options).await;
    let described = described.map_err(|source| kafka.unreachable(source))?;
    for ((topic, name), described) in TRIMMABLE.into_iter().zip(&names).zip(described) {
        let described = described.map_err(KafkaError::AdminOp)?;
        let by_default = settings(topic).iter().find(|(key, _)| *key == RETENTION);
        let wanted = match retention.get(&topic) {
            Some(time) => time.as_millis().to_string(),
            None => by_default.map_or_else(|| "-1".to_owned(), |(_, value)| (*value).to_owned()),
        };
        let former = described
            .get(RETENTION)
            .and_then(|entry| entry.value.clone());
        if former.as_deref() == Some(&wanted) {
            continue;
        }
        // What is not named here would go back to the broker's default.
        let others = described
            .entries
            .iter()
            .filter(|entry| entry.source == ConfigSource::DynamicTopic && entry.name != RETENTION);
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(RETENTION, &wanted);
        let change = others.fold(change, |change, entry| {
            change.set(&entry.name, entry.value.as_deref().unwrap_or_default())
        });
        let altered = admin.alter_configs([&change], &options).await;
        for result in altered.map_err(|source| kafka.unreachable(source))? {
            result.map_err(|(_, code)| KafkaError::AdminOp(code))?;
        }
        tracing::info!(
            topic = name,
            retention_ms = wanted,
            former_ms = former,
            "topic is kept for another time than before"
        );
    }
    Ok(())
}
