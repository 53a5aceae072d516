//! The program under test: the real binary as a child process, with topics, a database and a data
//! folder of its own, alone on one core.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use lemonair_consumers::Kafka;
use lemonair_gateway::token::{Audience, Claims, Tokens};
use lemonair_schemas::{AccountId, Timestamp, Topic};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Deserialize;
use sqlx::Connection;

const SECRET: &str = "a secret of a benchmark, known to everybody";

/// Where the services are, as the binary itself finds out.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stack {
    kafka_brokers: String,
    registry_url: String,
    database_url: String,
}

#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    stack: Stack,
    prefix: String,
    database: String,
    data: PathBuf,
    tokens: Tokens,
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    pub(crate) threads: u64,
}

impl Stack {
    pub(crate) fn find(workspace: &Path) -> anyhow::Result<Stack> {
        #[expect(
            clippy::disallowed_methods,
            reason = "as the binary finds its services"
        )]
        let folder = std::env::var("LEMONAIR_STACK").unwrap_or_else(|_| ".lemonair".to_owned());
        Figment::new()
            .merge(Toml::file(workspace.join(folder).join("stack.toml")))
            .merge(Toml::file(workspace.join("lemonair.toml")))
            .merge(Env::prefixed("LEMONAIR_").only(&[
                "kafka_brokers",
                "registry_url",
                "database_url",
            ]))
            .merge(Env::raw().only(&["DATABASE_URL"]))
            .extract()
            .context("find the services: run `stack/stack up`, or `make bench`")
    }
}

/// Puts the calling thread, and what it starts, on these cores.
pub(crate) fn pin(cores: impl Iterator<Item = usize>) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(core);
    }
    sched_setaffinity(None, &set).context("choose a core")
}

impl Server {
    pub(crate) fn start(
        binary: &Path,
        workspace: &Path,
        stack: &Stack,
        cores: std::ops::Range<usize>,
    ) -> anyhow::Result<Server> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let prefix = format!("bench_{}.", &unique[..10]);
        let database = format!("lemonair_test_bench_{}", &unique[..10]);
        let data = workspace.join("target/bench").join(&unique[..10]);
        std::fs::create_dir_all(&data).context("make a data folder")?;
        let (host, _) = stack
            .database_url
            .rsplit_once('/')
            .context("database_url names no database")?;
        let log = std::fs::File::create(data.join("log"))?;
        // A child takes over on which cores it may run.
        pin(cores)?;
        let mut child = Command::new(binary)
            .arg("up")
            .current_dir(&data)
            .env("LEMONAIR_KAFKA_BROKERS", &stack.kafka_brokers)
            .env("LEMONAIR_REGISTRY_URL", &stack.registry_url)
            .env("DATABASE_URL", format!("{host}/{database}"))
            .env("LEMONAIR_KAFKA_PREFIX", &prefix)
            .env("LEMONAIR_DATA_DIR", &data)
            .env("LEMONAIR_HTTP", "127.0.0.1:0")
            .env("LEMONAIR_RTMP", "127.0.0.1:0")
            .env("LEMONAIR_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let mut address = None;
        let output = child.stdout.take().context("its output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            let word = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix("http://"));
            address = address.or_else(|| word?.parse().ok());
            if line.contains("Ctrl-C") {
                break;
            }
        }
        let mut server = Server {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            stack: stack.clone(),
            prefix,
            database,
            data,
            tokens: Tokens::new(SECRET.as_bytes()),
        };
        let Some(address) = address else {
            bail!(
                "it did not come up: {}",
                std::fs::read_to_string(server.data.join("log"))?
            );
        };
        server.address = address;
        Ok(server)
    }

    /// A token of an account that nobody limits; for a room it need not exist.
    pub(crate) fn token(&self, name: &str) -> anyhow::Result<String> {
        let ttl = Duration::from_secs(6 * 3600);
        let now = Timestamp::now();
        let mut claims = Claims::new(Audience::Access, AccountId::new(), name, "viewer", now, ttl);
        claims.unlimited = true;
        Ok(self.tokens.sign(&claims)?)
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.child.id())
    }

    /// Ends the server, and deletes what it has written.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.context("its id")?, Signal::TERM)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.clean())?;
        std::fs::remove_dir_all(&self.data)?;
        Ok(())
    }

    async fn clean(&self) -> anyhow::Result<()> {
        let mut connection = sqlx::MySqlConnection::connect(&self.stack.database_url).await?;
        let drop = format!("DROP DATABASE IF EXISTS {}", self.database);
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop))
            .execute(&mut connection)
            .await?;
        let kafka = Kafka {
            brokers: self.stack.kafka_brokers.clone(),
            ..Kafka::default()
        };
        let admin: AdminClient<DefaultClientContext> = kafka.client().create()?;
        let topics = Topic::ALL.map(|topic| topic.in_kafka(&self.prefix));
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        admin.delete_topics(&topics, &AdminOptions::new()).await?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only after a failure: `stop` has waited for it otherwise.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn usage(process: u32) -> anyhow::Result<Usage> {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let mut cpu = 0;
    let mut threads = 0;
    for task in std::fs::read_dir(folder.join("task"))? {
        // A thread may end while we look. Its first number is nanoseconds on a processor.
        let Ok(schedule) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        cpu += schedule
            .split_whitespace()
            .next()
            .and_then(|nanos| nanos.parse::<u64>().ok())
            .unwrap_or(0);
        threads += 1;
    }
    let status = std::fs::read_to_string(folder.join("status"))?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Ok(Usage {
        cpu: Duration::from_nanos(cpu),
        resident: kib("VmRSS:").context("VmRSS")? * 1024,
        peak: kib("VmHWM:").context("VmHWM")? * 1024,
        threads,
    })
}
