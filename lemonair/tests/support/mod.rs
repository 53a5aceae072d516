//! A deployment of its own for each test: real broker, registry and MariaDB, shared; topics, database
//! and data folder, its own.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses a part of this"
)]

pub(crate) mod browser;
pub(crate) mod bucket;
pub(crate) mod channel;
pub(crate) mod evening;
pub(crate) mod history;
pub(crate) mod person;
pub(crate) mod player;
pub(crate) mod raw;
pub(crate) mod reader;
pub(crate) mod stack;
pub(crate) mod viewer;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Nothing here takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Names and addresses of one test's deployment.
pub(crate) struct Deployment {
    prefix: String,
    database: String,
    data: PathBuf,
    extra: Vec<(String, String)>,
    /// Addresses that are not those of the shared stack.
    services: Vec<(String, String)>,
    /// Words before the binary's own.
    wrapper: Vec<String>,
}

/// A running `lemonair` process.
pub(crate) struct Lemonair {
    child: Child,
    pub(crate) http: String,
    pub(crate) rtmp: String,
}

impl Deployment {
    pub(crate) fn new(name: &str) -> Deployment {
        let unique = format!(
            "{name}_{}",
            uuid::Uuid::new_v4().simple().to_string().split_at(10).0
        );
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&unique);
        std::fs::create_dir_all(&data).expect("make the data folder");
        Deployment {
            prefix: format!("{unique}."),
            database: format!("lemonair_test_{unique}"),
            data,
            extra: Vec::new(),
            services: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// Runs the binary by a command that is given its path and arguments.
    #[must_use]
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Deployment {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Deployment {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command of the binary, set to this deployment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_lemonair").to_owned();
        let mut words = self.wrapper.iter().chain([&binary]);
        let mut command = Command::new(words.next().unwrap_or(&binary));
        command
            .args(words)
            .args(arguments)
            .current_dir(&self.data)
            .env(
                "LEMONAIR_KAFKA_BROKERS",
                self.setting("LEMONAIR_KAFKA_BROKERS"),
            )
            .env(
                "LEMONAIR_REGISTRY_URL",
                self.setting("LEMONAIR_REGISTRY_URL"),
            )
            .env("DATABASE_URL", self.database_url())
            .env("LEMONAIR_KAFKA_PREFIX", &self.prefix)
            .env("LEMONAIR_KAFKA_PARTITIONS", "3")
            .env("LEMONAIR_DATA_DIR", self.data.join("data"))
            .env("LEMONAIR_HTTP", "127.0.0.1:0")
            .env("LEMONAIR_RTMP", "127.0.0.1:0")
            .env("LEMONAIR_INGEST_HTTP", "127.0.0.1:0")
            .env("LEMONAIR_GRACE", "3")
            .env("LEMONAIR_THUMBNAIL_EVERY", "2")
            .envs(self.extra.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub(crate) fn database_url(&self) -> String {
        let url = self.setting("DATABASE_URL");
        let (server, _) = url.rsplit_once('/').expect("DATABASE_URL names a database");
        format!("{server}/{}", self.database)
    }

    /// An address of the services: of the test's own, or of the stack that all tests share.
    fn setting(&self, name: &str) -> String {
        let own = self.services.iter().find(|(service, _)| service == name);
        own.map_or_else(|| setting(name), |(_, address)| address.clone())
    }

    /// On services of its own.
    #[must_use]
    pub(crate) fn on(mut self, services: Vec<(String, String)>) -> Deployment {
        self.services = services;
        self
    }

    /// Its topics, for what no service of ours would write.
    pub(crate) fn kafka(&self) -> lemonair_consumers::Kafka {
        lemonair_consumers::Kafka {
            brokers: setting("LEMONAIR_KAFKA_BROKERS"),
            prefix: self.prefix.clone(),
            ..lemonair_consumers::Kafka::default()
        }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Starts a service and waits until it says that it is up.
    pub(crate) async fn start(&self, service: &str) -> Lemonair {
        match self.try_start(service).await {
            Ok(started) => started,
            Err(log) => panic!("{service} did not come up: {log}"),
        }
    }

    /// The same, where it may fail: what it stands on may be away. The error is its log.
    pub(crate) async fn try_start(&self, service: &str) -> Result<Lemonair, String> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.data.join(format!("{service}.log")));
        let mut child = self
            .command(&[service])
            .stdout(Stdio::piped())
            .stderr(log.expect("open the log"))
            .spawn()
            .expect("start lemonair");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut started = Lemonair {
            child,
            http: String::new(),
            rtmp: String::new(),
        };
        let announced = async {
            while let Some(line) = lines.next_line().await.expect("read its output") {
                for word in line.split_whitespace() {
                    let word = word.trim_end_matches('/').to_owned();
                    if word.starts_with("http://") && started.http.is_empty() {
                        started.http = word;
                    } else if word.starts_with("rtmp://") && started.rtmp.is_empty() {
                        started.rtmp = word;
                    }
                }
                if line.contains("stop     Ctrl-C") || (line.contains("up") && service != "up") {
                    return true;
                }
            }
            false
        };
        let up = tokio::time::timeout(PATIENCE, announced).await;
        if up != Ok(true) {
            let log = self.data.join(format!("{service}.log"));
            return Err(std::fs::read_to_string(log).unwrap_or_default());
        }
        // Nobody must be surprised by a closed pipe later.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(started)
    }

    /// Runs a command to its end and returns what it printed; fails if it failed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        let output = self
            .command(arguments)
            .output()
            .await
            .expect("run lemonair");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lemonair {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).expect("its output is UTF-8")
    }

    /// Runs a command that must fail, and returns its one line.
    pub(crate) async fn refused(&self, arguments: &[&str]) -> String {
        let output = self
            .command(arguments)
            .output()
            .await
            .expect("run lemonair");
        assert!(
            !output.status.success(),
            "lemonair {arguments:?} should have failed"
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Events of a replay.
    pub(crate) async fn replay(&self, arguments: &[&str]) -> Vec<Value> {
        let printed = self.run(&[&["replay"], arguments].concat()).await;
        printed
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON line"))
            .collect()
    }

    /// What became of broadcasts, without what is kept of them.
    pub(crate) async fn life(&self) -> Vec<Value> {
        let mut life = self.replay(&["lemonair.streams"]).await;
        life.retain(|event| {
            let kind = event["type"].as_str();
            kind.is_some_and(|kind| kind.starts_with("stream."))
        });
        life
    }

    pub(crate) async fn sql(&self, sql: &str) -> Vec<sqlx::mysql::MySqlRow> {
        use sqlx::Connection;
        let server = self.setting("DATABASE_URL");
        let mut connection = sqlx::MySqlConnection::connect(&server)
            .await
            .expect("connect to the database");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut connection)
            .await
            .expect("run SQL")
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.data).ok();
        }
    }
}

impl Lemonair {
    pub(crate) fn ws(&self) -> String {
        format!("{}/ws", self.http.replacen("http", "ws", 1))
    }

    /// The process, for the kernel.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Ends the process as a machine failure would.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("kill lemonair");
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// `STOP`, and it lies there as if the network had gone; `CONT`, and it goes on.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(sent.expect("send a signal").success(), "SIG{name}");
    }

    /// Asks the process to end; returns its exit code.
    pub(crate) async fn stop(mut self) -> Option<i32> {
        self.signal("TERM").await;
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        ended
            .expect("it stops within its deadline")
            .expect("its exit status")
            .code()
    }
}

/// An address of the test stack.
#[expect(
    clippy::disallowed_methods,
    reason = "`make test` says so where its services are"
)]
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests with `make test`"))
}

/// Waits until `probe` gives something.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited too long until {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A publisher: ffmpeg's test picture with a tone, in real time.
pub(crate) struct Publisher {
    child: Child,
}

impl Publisher {
    pub(crate) fn start(rtmp: &str, key: &str) -> Publisher {
        Publisher::showing("testsrc2=size=640x360:rate=25", rtmp, key)
    }

    /// Another picture, as ffmpeg's filters make it.
    pub(crate) fn showing(picture: &str, rtmp: &str, key: &str) -> Publisher {
        let mut ffmpeg = ffmpeg();
        ffmpeg.arg("-re").args(encoded(picture));
        ffmpeg.args(["-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"]);
        ffmpeg.args(["-b:v", "500k", "-t", "300"]);
        Publisher::of(ffmpeg, rtmp, key)
    }

    /// Twenty seconds of a picture again and again, for as long as it is kept. They are made into `file` before they
    /// go on air, so that a machine with other things to do sends them in time all the same.
    pub(crate) async fn repeating(picture: &str, file: &Path, rtmp: &str, key: &str) -> Publisher {
        let made = ffmpeg()
            .args(encoded(picture))
            .args(["-preset", "veryfast", "-force_key_frames"])
            .args(["expr:gte(t,2*n_forced)", "-b:v", "1500k"])
            .args(["-t", "20"])
            .arg(file)
            .status()
            .await;
        assert!(made.expect("start ffmpeg").success(), "{picture}");
        let mut ffmpeg = ffmpeg();
        ffmpeg.args(["-re", "-stream_loop", "-1", "-i"]).arg(file);
        ffmpeg.args(["-c", "copy"]);
        Publisher::of(ffmpeg, rtmp, key)
    }

    fn of(mut ffmpeg: Command, rtmp: &str, key: &str) -> Publisher {
        let child = ffmpeg
            .args(["-f", "flv"])
            .arg(format!("{rtmp}/{key}"))
            .spawn()
            .expect("start ffmpeg");
        Publisher { child }
    }

    /// The line drops: no goodbye.
    pub(crate) async fn drop_line(mut self) {
        self.child.kill().await.expect("kill ffmpeg");
    }

    /// The streamer stops politely.
    pub(crate) async fn stop(mut self) {
        let id = self.child.id().expect("it runs").to_string();
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .await
            .expect("send SIGINT");
        self.child.wait().await.expect("its exit status");
    }

    /// Waits for it to end by itself; whether it ended well.
    pub(crate) async fn ended(mut self) -> bool {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status
            .expect("ffmpeg ends")
            .expect("its exit status")
            .success()
    }
}

fn ffmpeg() -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    ffmpeg
}

/// What ffmpeg is told to make a picture with a tone.
fn encoded(picture: &str) -> [&str; 14] {
    let tone = "sine=frequency=440:sample_rate=44100";
    [
        "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, "-c:v", "libx264", "-pix_fmt",
        "yuv420p", "-c:a", "aac",
    ]
}

/// A client of the HTTP API.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: Option<String>,
}

impl Api {
    pub(crate) fn new(base: &str) -> Api {
        Api {
            // The server lets go of a line that is idle for half a minute.
            http: reqwest::Client::builder()
                .pool_idle_timeout(Duration::from_secs(10))
                .build()
                .expect("a client"),
            base: base.to_owned(),
            token: None,
        }
    }

    /// Signs somebody up and speaks for them.
    pub(crate) async fn sign_up(base: &str, name: &str) -> Api {
        let mut api = Api::new(base);
        let body = serde_json::json!({ "name": name, "password": "correct horse battery" });
        let (status, session) = api.send("POST", "/api/accounts", Some(body), &[]).await;
        assert_eq!(status, 201, "{session}");
        api.token = Some(
            session["tokens"]["access_token"]
                .as_str()
                .expect("a token")
                .to_owned(),
        );
        api
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, None, &[]).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send("POST", path, Some(body), &[]).await;
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    /// Buys points.
    pub(crate) async fn top_up(&self, amount: i64) {
        let body = serde_json::json!({ "amount": amount });
        self.post("/api/wallet/top-ups", body).await;
    }

    pub(crate) async fn donate(&self, room: &str, amount: i64, key: &str) -> (u16, Value) {
        let body = serde_json::json!({ "amount": amount, "message": "for the show" });
        let path = format!("/api/channels/{room}/donations");
        self.send("POST", &path, Some(body), &[("Idempotency-Key", key)])
            .await
    }
}
