//! All settings: defaults, then what `make run` started, then the file, then the environment.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use lemonair_consumers::Kafka;
use lemonair_consumers::retention::TRIMMABLE;
use lemonair_gateway::Payments;
use lemonair_ingest::restream::Target;
use lemonair_ingest::{BadRung, Certificate, Recordings, Retention, Rung, Store};
use lemonair_producers::decide::{MOST_POINTS, Terms};
use lemonair_schemas::{RoomId, Topic};
use object_store::RetryConfig;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, SCHEME};

/// What read models have not read yet must not be gone.
const LEAST_RETENTION: Duration = Duration::from_secs(3600);

/// One flat list; `http` in the file is `LEMONAIR_HTTP` in the environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where pages, API and WebSocket are served.
    pub(crate) http: SocketAddr,
    /// Where publishers connect.
    pub(crate) rtmp: SocketAddr,
    /// Where publishers connect over TLS, as `rtmps://`; with the two files that follow.
    pub(crate) rtmps: Option<SocketAddr>,
    /// The server's certificate and those behind it, in PEM.
    pub(crate) rtmps_cert: Option<PathBuf>,
    /// Its key, in PEM.
    pub(crate) rtmps_key: Option<PathBuf>,
    /// Where an ingest that runs alone serves the picture to gateways.
    pub(crate) ingest_http: SocketAddr,
    /// Where a service that runs without a gateway serves its metrics; nowhere unless set.
    pub(crate) metrics: Option<SocketAddr>,
    /// What people enter to reach `http`; made from it unless set.
    pub(crate) public_url: Option<String>,
    /// What streamers enter as the server; made from `rtmp` unless set.
    pub(crate) rtmp_url: Option<String>,
    /// Where gateways fetch this ingest's picture; made from `http` or `ingest_http` unless set.
    pub(crate) ingest_url: Option<String>,
    /// Kafka: comma-separated `host:port`.
    pub(crate) kafka_brokers: String,
    /// Stands before every topic, so that deployments can share a cluster.
    pub(crate) kafka_prefix: String,
    /// Partitions of each topic, when they are made.
    pub(crate) kafka_partitions: i32,
    /// Copies of each partition, when they are made.
    pub(crate) kafka_replication: i32,
    /// Anything else that librdkafka takes.
    pub(crate) kafka_options: BTreeMap<String, String>,
    /// How long topics are kept, by their names; for ever where nothing is said.
    pub(crate) retention: BTreeMap<String, String>,
    /// Schema registry with Confluent's API.
    pub(crate) registry_url: String,
    /// MySQL or MariaDB. Also `DATABASE_URL`.
    pub(crate) database_url: Option<String>,
    /// Secrets, the schema cache, the ingest's identity.
    pub(crate) data_dir: PathBuf,
    /// Signs tokens, at least 32 characters; must be the same on all gateways. Made on the first run
    /// and kept in `data_dir` unless set.
    pub(crate) secret: Option<String>,
    /// Who takes money for points: `sandbox`, which takes none and gives points all the same, or
    /// `off`. Unless set, the sandbox is there only where nobody but this machine can reach it.
    pub(crate) payment_provider: Option<PaymentProvider>,
    /// Whether the sandbox takes payments `at once`, or `by hand` at its checkout.
    pub(crate) sandbox_confirms: Confirms,
    /// Signs the payment provider's webhooks; must be the same on all gateways. Made on the first
    /// run and kept in `data_dir` unless set.
    pub(crate) webhook_secret: Option<String>,
    /// Other sites whose pages may open a WebSocket here.
    pub(crate) origins: Vec<String>,
    /// Connections that one address may have, or one IPv6 network of 64 bits; zero for any number.
    pub(crate) connections_per_address: u32,
    /// Addresses that speak for many people, such as proxies; their connections are not counted.
    pub(crate) balancers: Vec<IpAddr>,
    /// Messages a second that an account may send.
    pub(crate) chat_per_second: NonZeroU32,
    /// Messages that an account may send at once.
    pub(crate) chat_burst: NonZeroU32,
    /// What the platform keeps of each donation, in hundredths of a percent.
    pub(crate) donation_fee: u16,
    /// Days in which a donation can be given back, and a payment be told of anew.
    pub(crate) refund_days: u16,
    /// Points of a donation, at least; a channel may ask for more.
    pub(crate) donation_minimum: i64,
    /// Points of a donation, at most.
    pub(crate) donation_maximum: i64,
    /// Seconds that a broadcast waits for a publisher whose line dropped.
    pub(crate) grace: f64,
    /// Seconds that viewers can go back.
    pub(crate) window: f64,
    /// Mebibytes of memory that a broadcast's window takes at most.
    pub(crate) window_mib: u32,
    /// Seconds that viewers can go back where there is a recording.
    pub(crate) dvr: f64,
    /// Where broadcasts are recorded: a folder, `s3://BUCKET/WITHIN` or `off`; `recordings` in
    /// `data_dir` unless set.
    pub(crate) recordings: Option<String>,
    /// Gibibytes of recordings on our own disk that are for a bucket; zero for any number.
    pub(crate) recordings_aside_gib: u32,
    /// Days that recordings stay; zero for ever.
    pub(crate) recording_days: u32,
    /// Gibibytes of recordings in all, of one ingest or in the bucket; the oldest go first. Zero for
    /// any number.
    pub(crate) recording_gib: u32,
    /// Seconds after which a broadcast ends of which its ingest says nothing more.
    pub(crate) lease: f64,
    /// Seconds without media after which a publisher is cut off.
    pub(crate) publisher_idle: f64,
    /// Publishers on air at once, at one ingest.
    pub(crate) publishers: usize,
    /// Kilobits a second that a publisher may send, over ten seconds; zero for any number.
    pub(crate) publisher_kbps: u32,
    /// Hours after which a broadcast is ended; zero for any length.
    pub(crate) broadcast_hours: u32,
    /// A store that speaks S3, for exports and recordings: its address, unless it is Amazon's.
    pub(crate) s3_endpoint: Option<String>,
    /// The store's region.
    pub(crate) s3_region: Option<String>,
    /// Who we are to the store; with the key that follows.
    pub(crate) s3_access_key: Option<String>,
    /// Signs what is asked of the store.
    pub(crate) s3_secret_key: Option<String>,
    /// Where rooms' broadcasts are pushed on to: `rtmp://host/app/key`, or `rtmps`.
    pub(crate) restream: BTreeMap<RoomId, Vec<String>>,
    /// Whose certificates those servers may have, beside those that browsers trust: a file in PEM.
    pub(crate) restream_ca: Option<PathBuf>,
    /// Seconds between two thumbnails of a broadcast.
    pub(crate) thumbnail_every: f64,
    /// Smaller pictures that are made of each broadcast, as in `720p:2500k`.
    pub(crate) ladder: Vec<String>,
    /// Threads of each decoder and encoder of them.
    pub(crate) ladder_threads: NonZeroU16,
    /// How many of them are made at once, over all broadcasts.
    pub(crate) ladder_children: usize,
    /// What is logged, as in `info,lemonair_gateway=debug`.
    pub(crate) log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PaymentProvider {
    Sandbox,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Confirms {
    #[serde(rename = "at once")]
    AtOnce,
    #[serde(rename = "by hand")]
    ByHand,
}

impl Default for Settings {
    fn default() -> Settings {
        let kafka = Kafka::default();
        let gateway = lemonair_gateway::Config::default();
        let ingest = lemonair_ingest::Config::default();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Settings {
            http: local(8080),
            rtmp: local(1935),
            rtmps: None,
            rtmps_cert: None,
            rtmps_key: None,
            ingest_http: local(8082),
            metrics: None,
            public_url: None,
            rtmp_url: None,
            ingest_url: None,
            kafka_brokers: kafka.brokers,
            kafka_prefix: kafka.prefix,
            kafka_partitions: kafka.partitions,
            kafka_replication: kafka.replication,
            kafka_options: kafka.options,
            retention: BTreeMap::new(),
            registry_url: "http://127.0.0.1:8081".to_owned(),
            database_url: None,
            data_dir: ".lemonair/data".into(),
            secret: None,
            payment_provider: None,
            sandbox_confirms: Confirms::AtOnce,
            webhook_secret: None,
            origins: gateway.origins,
            connections_per_address: gateway.connections_per_address,
            balancers: gateway.balancers,
            chat_per_second: NonZeroU32::new(5).unwrap_or(NonZeroU32::MIN),
            chat_burst: NonZeroU32::new(30).unwrap_or(NonZeroU32::MIN),
            donation_fee: 0,
            refund_days: 180,
            donation_minimum: 1,
            donation_maximum: MOST_POINTS,
            grace: 60.0,
            window: 30.0,
            window_mib: 64,
            dvr: 7200.0,
            recordings: None,
            recordings_aside_gib: 50,
            recording_days: 30,
            recording_gib: 50,
            lease: 60.0,
            publisher_idle: 10.0,
            publishers: ingest.publishers,
            publisher_kbps: ingest.kilobits,
            broadcast_hours: 0,
            s3_endpoint: None,
            s3_region: None,
            s3_access_key: None,
            s3_secret_key: None,
            restream: BTreeMap::new(),
            restream_ca: None,
            thumbnail_every: 10.0,
            ladder: Vec::new(),
            ladder_threads: NonZeroU16::MIN,
            ladder_children: 16,
            log: "info,rdkafka=error,librdkafka=error".to_owned(),
        }
    }
}

impl Settings {
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Settings> {
        if let Some(file) = file
            && !file.is_file()
        {
            bail!("settings: there is no file {}", file.display());
        }
        let file = file.unwrap_or_else(|| Path::new("lemonair.toml"));
        let defaults = Serialized::defaults(Settings::default());
        let known: Vec<String> = Figment::from(defaults.clone())
            .extract::<BTreeMap<String, serde::de::IgnoredAny>>()
            .map_err(|error| anyhow!("{error}"))?
            .into_keys()
            .collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where settings come from"
        )]
        let stack = std::env::var("LEMONAIR_STACK").unwrap_or_else(|_| ".lemonair".to_owned());
        let settings: Settings = Figment::from(defaults)
            .merge(Toml::file(Path::new(&stack).join("stack.toml")))
            .merge(Toml::file(file))
            .merge(Env::prefixed("LEMONAIR_").only(&known))
            .merge(Env::raw().only(&["DATABASE_URL"]))
            .extract()
            .map_err(|error| {
                let first = error.into_iter().next();
                anyhow!(
                    "settings: {}",
                    first.map(|error| error.to_string()).unwrap_or_default()
                )
            })?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        for (name, seconds) in [
            ("grace", self.grace),
            ("window", self.window),
            ("dvr", self.dvr),
            ("lease", self.lease),
            ("publisher_idle", self.publisher_idle),
            ("thumbnail_every", self.thumbnail_every),
        ] {
            if !(0.0..=86_400.0).contains(&seconds) {
                bail!("settings: {name} is {seconds}; it is a number of seconds from 0 to 86400");
            }
        }
        if self.rtmps.is_some() && (self.rtmps_cert.is_none() || self.rtmps_key.is_none()) {
            bail!("settings: rtmps needs rtmps_cert and rtmps_key, two files in PEM");
        }
        if self.s3_access_key.is_some() != self.s3_secret_key.is_some() {
            bail!("settings: s3_access_key and s3_secret_key go together; set both or neither");
        }
        self.restream()?;
        self.ladder()?;
        if self.donation_fee > 9_999 {
            bail!(
                "settings: donation_fee is {}; it is hundredths of a percent, from 0 to 9999",
                self.donation_fee
            );
        }
        if self.refund_days < 3 {
            bail!(
                "settings: refund_days is {}; it is 3 at least, as providers tell of a payment for that long",
                self.refund_days
            );
        }
        let (least, most) = (self.donation_minimum, self.donation_maximum);
        if !(1..=most).contains(&least) || most > MOST_POINTS {
            bail!(
                "settings: donation_minimum and donation_maximum are {least} and {most}; they are numbers from 1 to {MOST_POINTS}, in this order"
            );
        }
        if !(1..=1000).contains(&self.kafka_partitions) {
            bail!(
                "settings: kafka_partitions is {}; it is a number from 1 to 1000",
                self.kafka_partitions
            );
        }
        self.retention()?;
        for (name, secret) in [
            ("secret", &self.secret),
            ("webhook_secret", &self.webhook_secret),
        ] {
            if secret.as_ref().is_some_and(|secret| secret.len() < 32) {
                bail!(
                    "settings: {name} is too short to keep anybody out; use at least 32 random characters"
                );
            }
        }
        Ok(())
    }

    pub(crate) fn start_logs(&self) -> anyhow::Result<()> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log)
            .map_err(|error| anyhow!("settings: log is {:?}: {error}", self.log))?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init();
        Ok(())
    }

    pub(crate) fn kafka(&self) -> Kafka {
        Kafka {
            brokers: self.kafka_brokers.clone(),
            prefix: self.kafka_prefix.clone(),
            partitions: self.kafka_partitions,
            replication: self.kafka_replication,
            options: self.kafka_options.clone(),
        }
    }

    /// How long topics are kept.
    pub(crate) fn retention(&self) -> anyhow::Result<BTreeMap<Topic, Duration>> {
        let mut retention = BTreeMap::new();
        for (name, time) in &self.retention {
            let topic: Topic = name
                .parse()
                .map_err(|error| anyhow!("settings: retention: {error}"))?;
            if !TRIMMABLE.contains(&topic) {
                let others = TRIMMABLE.map(Topic::name).join(", ");
                bail!(
                    "settings: retention of {topic}: it is kept as it must be; it can be set of {others}"
                );
            }
            let days = jiff::SpanRelativeTo::days_are_24_hours();
            let span = time.parse::<jiff::Span>().ok();
            let span = span.and_then(|span| span.to_duration(days).ok());
            let time = match span.and_then(|span| Duration::try_from(span).ok()) {
                Some(span) if span >= LEAST_RETENTION => span,
                _ => bail!(
                    "settings: retention of {topic} is {time:?}; it is a time such as \"90d\" or \"36h\", an hour at least"
                ),
            };
            retention.insert(topic, time);
        }
        Ok(retention)
    }

    /// Where snapshots of read models are.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.data_dir.join("snapshots")
    }

    pub(crate) fn database_url(&self) -> anyhow::Result<&str> {
        self.database_url.as_deref().context(
            "no database: run `make run`, which starts one, or set DATABASE_URL=mysql://user:password@host/lemonair",
        )
    }

    pub(crate) fn public_url(&self) -> String {
        self.public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.http))
    }

    pub(crate) fn rtmp_url(&self) -> String {
        self.rtmp_url
            .clone()
            .unwrap_or_else(|| format!("rtmp://{}/live", self.rtmp))
    }

    /// The secret that signs tokens: as set, or made on the first run.
    pub(crate) fn secret(&self) -> anyhow::Result<Vec<u8>> {
        self.made_once(&self.secret, "secret")
    }

    /// The secret that signs the payment provider's webhooks, likewise.
    pub(crate) fn webhook_secret(&self) -> anyhow::Result<Vec<u8>> {
        self.made_once(&self.webhook_secret, "webhook_secret")
    }

    /// The key of pseudonyms in exports; made on first use.
    pub(crate) fn pseudonyms_key(&self) -> anyhow::Result<Vec<u8>> {
        self.made_once(&None, "pseudonyms.key")
    }

    /// Tells this `data_dir` from all others; made on first use.
    pub(crate) fn identity(&self) -> anyhow::Result<String> {
        let mut identity = self.made_once(&None, "identity")?;
        identity.truncate(16);
        Ok(String::from_utf8_lossy(&identity).into_owned())
    }

    fn made_once(&self, set: &Option<String>, file: &str) -> anyhow::Result<Vec<u8>> {
        if let Some(secret) = set {
            return Ok(secret.clone().into_bytes());
        }
        let path = self.data_dir.join(file);
        if let Ok(secret) = std::fs::read(&path)
            && secret.len() >= 32
        {
            return Ok(secret);
        }
        std::fs::create_dir_all(&self.data_dir)
            .with_context(|| format!("make {}", self.data_dir.display()))?;
        let secret: String = std::iter::repeat_with(uuid::Uuid::new_v4)
            .take(4)
            .map(|id| id.simple().to_string())
            .collect();
        write_private(&path, secret.as_bytes())
            .with_context(|| format!("write {}", path.display()))?;
        // Another process may have been quicker: the one that is there counts.
        Ok(std::fs::read(&path)?)
    }

    /// Points for nothing are for whoever tries things out on the own machine. Elsewhere somebody
    /// must have asked for them in so many words.
    pub(crate) fn payments(&self) -> Payments {
        let at_once = self.sandbox_confirms == Confirms::AtOnce;
        let local = self.http.ip().is_loopback() && self.public_url.is_none();
        match self.payment_provider {
            Some(PaymentProvider::Off) => Payments::Off,
            None if !local => {
                tracing::warn!(
                    "nobody can buy points: payment_provider is not set, and the sandbox gives them for nothing"
                );
                Payments::Off
            }
            None => Payments::Sandbox { at_once },
            Some(PaymentProvider::Sandbox) => {
                if !local {
                    tracing::warn!(
                        "POINTS ARE FREE FOR EVERYBODY: payment_provider is the sandbox, which takes no money"
                    );
                }
                Payments::Sandbox { at_once }
            }
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms {
            fee: self.donation_fee,
            kept: Duration::from_secs(u64::from(self.refund_days) * 86_400),
        }
    }

    /// What publishers over TLS are shown.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        let certificate = Certificate {
            chain: self.rtmps_cert.clone()?,
            key: self.rtmps_key.clone()?,
        };
        self.rtmps.map(|_| certificate)
    }

    /// What is wrong is told without the address: the key is in it.
    pub(crate) fn restream(&self) -> anyhow::Result<BTreeMap<RoomId, Vec<Target>>> {
        let targets = |(room, urls): (&RoomId, &Vec<String>)| {
            let targets: Result<Vec<Target>, _> = urls.iter().map(|url| url.parse()).collect();
            let targets =
                targets.map_err(|error| anyhow!("settings: restream of {room}: {error}"))?;
            Ok((room.clone(), targets))
        };
        self.restream.iter().map(targets).collect()
    }

    pub(crate) fn ladder(&self) -> anyhow::Result<Vec<Rung>> {
        let rung = |text: &String| {
            text.parse()
                .map_err(|error: BadRung| anyhow!("settings: ladder has {text:?}; {error}"))
        };
        self.ladder.iter().map(rung).collect()
    }

    pub(crate) fn longest_broadcast(&self) -> Duration {
        match self.broadcast_hours {
            0 => Duration::MAX,
            hours => Duration::from_secs(u64::from(hours) * 3600),
        }
    }

    /// Where broadcasts are recorded, unless that is off.
    pub(crate) fn open_recordings(&self) -> anyhow::Result<Option<Recordings>> {
        let aside = || self.data_dir.join("recordings");
        let (folder, store) = match self.recordings.as_deref() {
            Some("off") => return Ok(None),
            Some(name) if name.starts_with(SCHEME) => (aside(), Some(self.recordings_store(name)?)),
            Some(folder) => (folder.into(), None),
            None => (aside(), None),
        };
        let opened = Recordings::open(folder.clone(), store).map(Some);
        opened.map_err(|error| {
            anyhow!(
                "settings: recordings go to {}, which cannot be used ({error}); name another folder, or off",
                folder.display()
            )
        })
    }

    fn recordings_store(&self, name: &str) -> anyhow::Result<Store> {
        // Who sends tries again for ever; who watches should soon be told.
        let retry = RetryConfig {
            max_retries: 2,
            retry_timeout: Duration::from_secs(5),
            ..RetryConfig::default()
        };
        let bucket = Bucket::open(self, name, retry);
        let Bucket { store, within } = bucket.context("settings: recordings")?;
        let aside = u64::from(self.recordings_aside_gib);
        Ok(Store {
            bucket: store,
            within,
            aside: (aside > 0).then_some(aside << 30),
        })
    }

    /// Whether recordings are where any process can read them.
    pub(crate) fn recordings_are_shared(&self) -> bool {
        let place = self.recordings.as_deref();
        place.is_some_and(|place| place.starts_with(SCHEME))
    }

    pub(crate) fn recording_retention(&self) -> Retention {
        let days = u64::from(self.recording_days);
        let gib = u64::from(self.recording_gib);
        Retention {
            age: (days > 0).then(|| Duration::from_secs(days * 86_400)),
            bytes: (gib > 0).then_some(gib << 30),
        }
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs_f64(self.lease)
    }
}

/// Writes a file that only we may read, unless it is there.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut temporary = path.to_owned();
    temporary.set_extension(format!("{}", std::process::id()));
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?
        .write_all(content)?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
