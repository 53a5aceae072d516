//! What tests share: topics of their own on the broker that `make test` starts, and schemas registered once.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use lemonair_consumers::Kafka;
use lemonair_schemas::command::{Answer, Command};
use lemonair_schemas::decider::Memory;
use lemonair_schemas::record::Schema;
use lemonair_schemas::{Codec, Event, Records, Registry, Topic};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use uuid::Uuid;

pub mod forwarder;

/// Longer than anything takes, even on a busy machine; only a test that hangs ever waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A deployment of one test: topics under a prefix of its own, deleted when the test ends.
#[derive(Debug)]
pub struct Cluster {
    pub kafka: Kafka,
    pub codec: Arc<Codec>,
}

// === impl Cluster ===

impl Cluster {
    /// With all topics, 3 partitions each.
    pub async fn start() -> Cluster {
        let cluster = Cluster::empty().await;
        cluster.kafka.ensure_topics().await.expect("make topics");
        cluster
    }

    /// Without topics.
    pub async fn empty() -> Cluster {
        let kafka = Kafka {
            brokers: setting("LEMONAIR_KAFKA_BROKERS", "kafka_brokers"),
            prefix: random_prefix(),
            partitions: 3,
            ..Kafka::default()
        };
        Cluster {
            kafka,
            codec: codec().await,
        }
    }
}

impl Drop for Cluster {
    /// Runs when a test fails, too. What cannot be deleted is left: it is in nobody's way.
    fn drop(&mut self) {
        let Ok(admin) = self
            .kafka
            .client()
            .create::<AdminClient<DefaultClientContext>>()
        else {
            return;
        };
        let names: Vec<String> = Topic::ALL
            .iter()
            .map(|topic| topic.in_kafka(&self.kafka.prefix))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        block_on(admin.delete_topics(&names, &AdminOptions::new())).ok();
    }
}

/// Different in every call.
pub fn random_prefix() -> String {
    // The end of such an id is random.
    format!("t{}.", &Uuid::now_v7().simple().to_string()[20..])
}

/// Chance for one test; the same again with `LEMONAIR_TEST_SEED` set to what a failure printed.
#[expect(clippy::disallowed_methods, reason = "tests have no Config")]
#[expect(clippy::print_stdout, reason = "a failure shows it")]
pub fn seed() -> u64 {
    let seed = match std::env::var("LEMONAIR_TEST_SEED") {
        Ok(seed) => seed.parse().expect("LEMONAIR_TEST_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("LEMONAIR_TEST_SEED={seed}");
    seed
}

/// Address of the schema registry.
pub fn registry_url() -> String {
    setting("LEMONAIR_REGISTRY_URL", "registry_url")
}

/// Every schema of the project.
pub fn all_schemas() -> Vec<Schema> {
    [
        Event::SCHEMAS,
        Command::SCHEMAS,
        Answer::SCHEMAS,
        Memory::SCHEMAS,
    ]
    .concat()
}

/// All schemas, registered once a process. Their subjects depend on their text, so that what an older
/// checkout has left in the registry does not matter.
pub async fn codec() -> Arc<Codec> {
    static CODEC: OnceCell<Arc<Codec>> = OnceCell::const_new();
    Arc::clone(CODEC.get_or_init(fresh_codec).await)
}

/// One that nobody else reads erasures with.
pub async fn fresh_codec() -> Arc<Codec> {
    let schemas = all_schemas();
    let mut hash = Sha256::new();
    for schema in &schemas {
        hash.update(schema.avsc);
    }
    let mut prefix = "t".to_owned();
    for byte in &hash.finalize()[..6] {
        write!(prefix, "{byte:02x}").expect("a String takes everything");
    }
    let registry =
        Registry::open(&registry_url(), &format!("{prefix}."), None).expect("open registry");
    Arc::new(
        Codec::register(registry, &schemas)
            .await
            .expect("register schemas"),
    )
}

/// Waits for `future`, and fails with what it was waiting for if that does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// From the environment, or from the services that somebody keeps running for tests.
#[expect(clippy::disallowed_methods, reason = "tests have no Config")]
fn setting(variable: &str, key: &str) -> String {
    if let Ok(value) = std::env::var(variable) {
        return value;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lemonair/test/stack.toml");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .unwrap_or_else(|| panic!("{variable} is not set: run `make test`"))
}
