//! The program under test: the real binary as a child process, with topics, a database and a data
//! folder of its own, alone on one core.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
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

use crate::dialect::Dialect;

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
    place: Place,
    tokens: Tokens,
}

/// What stays when the process is gone.
#[derive(Debug)]
struct Place {
    dialect: Dialect,
    binary: PathBuf,
    cores: Range<usize>,
    stack: Stack,
    prefix: String,
    database: String,
    data: PathBuf,
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
        dialect: Dialect,
        binary: &Path,
        workspace: &Path,
        stack: &Stack,
        cores: Range<usize>,
    ) -> anyhow::Result<Server> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let unique = &unique[..10];
        let place = Place {
            dialect,
            binary: binary.to_owned(),
            cores,
            stack: stack.clone(),
            prefix: format!("bench_{unique}."),
            database: format!("lemonair_test_bench_{unique}"),
            data: workspace.join("target/bench").join(unique),
        };
        std::fs::create_dir_all(&place.data).context("make a data folder")?;
        let (child, address) = place.launch(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Server {
            child,
            address,
            place,
            tokens: Tokens::new(SECRET.as_bytes()),
        })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.place.dialect
    }

    /// Kills the server, as the kernel would, and starts it again where it was.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        (self.child, self.address) = self.place.launch(self.address)?;
        Ok(())
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

    /// A counter among its metrics, since it was started.
    pub(crate) fn count(&self, counter: &str) -> anyhow::Result<u64> {
        let mut stream = TcpStream::connect(self.address)?;
        let ask = "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let mut lines = answer.lines();
        let count = lines.find_map(|line| line.strip_prefix(counter)?.strip_prefix(' '));
        Ok(count.map_or(Ok(0), str::parse)?)
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
        runtime.block_on(self.place.clean())?;
        std::fs::remove_dir_all(&self.place.data)?;
        Ok(())
    }
}

impl Place {
    fn launch(&self, http: SocketAddr) -> anyhow::Result<(Child, SocketAddr)> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.data.join("log"))?;
        let mut command = match self.dialect {
            Dialect::Lemonair => self.lemonair(http)?,
            Dialect::Centrifugo => return self.centrifugo(log),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = self.spawn(command)?;
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
        let Some(address) = address else {
            child.kill().ok();
            child.wait()?;
            bail!(
                "it did not come up: {}",
                std::fs::read_to_string(self.data.join("log"))?
            );
        };
        Ok((child, address))
    }

    fn lemonair(&self, http: SocketAddr) -> anyhow::Result<Command> {
        let url = &self.stack.database_url;
        let (host, _) = url
            .rsplit_once('/')
            .context("database_url names no database")?;
        let mut command = Command::new(&self.binary);
        command
            .arg("up")
            .current_dir(&self.data)
            .env("LEMONAIR_KAFKA_BROKERS", &self.stack.kafka_brokers)
            .env("LEMONAIR_REGISTRY_URL", &self.stack.registry_url)
            .env("DATABASE_URL", format!("{host}/{}", self.database))
            .env("LEMONAIR_KAFKA_PREFIX", &self.prefix)
            .env("LEMONAIR_DATA_DIR", &self.data)
            .env("LEMONAIR_HTTP", http.to_string())
            .env("LEMONAIR_RTMP", "127.0.0.1:0")
            .env("LEMONAIR_SECRET", SECRET);
        Ok(command)
    }

    /// In memory, history and recovery on, whoever comes may do everything.
    fn centrifugo(&self, log: std::fs::File) -> anyhow::Result<(Child, SocketAddr)> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = serde_json::json!({
            "http_server": { "address": "127.0.0.1", "port": address.port().to_string() },
            "client": { "insecure": true, "allowed_origins": ["*"] },
            "channel": { "without_namespace": {
                "history_size": 1000, "history_ttl": "300s", "force_recovery": true,
            } },
            "log": { "level": "error" },
        });
        let file = self.data.join("centrifugo.json");
        std::fs::write(&file, config.to_string())?;
        let mut command = Command::new(&self.binary);
        command
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut child = self.spawn(command)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || child.try_wait()?.is_some() {
                child.kill().ok();
                child.wait()?;
                bail!(
                    "the peer did not come up: {}",
                    std::fs::read_to_string(self.data.join("log"))?
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok((child, address))
    }

    /// A child takes over on which cores it may run; the crowd stays where it is.
    fn spawn(&self, mut command: Command) -> anyhow::Result<Child> {
        let cores = self.cores.clone();
        let spawn = || {
            pin(cores)?;
            let child = command.spawn();
            child.with_context(|| format!("start {}", self.binary.display()))
        };
        let spawned = std::thread::scope(|scope| scope.spawn(spawn).join());
        spawned.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    async fn clean(&self) -> anyhow::Result<()> {
        if self.dialect == Dialect::Centrifugo {
            return Ok(());
        }
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
