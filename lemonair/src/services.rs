//! The services, alone or all in one process. Everything is checked and bound before anything runs;
//! a service that ends takes the process with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use lemonair_consumers::{Kafka, erasures, retention};
use lemonair_gateway::Gateway;
use lemonair_ingest::{Doors, Ingest, Recordings};
use lemonair_producers::decide::Terms;
use lemonair_producers::{Decider, Desk, Log};
use lemonair_projections::processes::announce;
use lemonair_projections::rebuild::fulfil;
use lemonair_projections::{Checkpoints, Projector};
use lemonair_schemas::command::{Answer, Command};
use lemonair_schemas::decider::Memory;
use lemonair_schemas::record::Schema;
use lemonair_schemas::{Codec, Event, Position, Records, Registry};
use sqlx::MySqlPool;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backstage::{self, Backstage};
use crate::seat::Seat;
use crate::settings::Settings;

/// Connections to the database, at most.
const CONNECTIONS: u32 = 30;

/// From the first signal to the end, whatever is still under way.
const DEADLINE: Duration = Duration::from_secs(15);

/// What the services stand on.
pub(crate) struct Ground {
    pub(crate) kafka: Kafka,
    pub(crate) codec: Arc<Codec>,
    pub(crate) pool: MySqlPool,
    pub(crate) log: Log,
    pub(crate) checkpoints: Checkpoints,
    /// Where the next erasures will be.
    erasures: Vec<Position>,
}

/// What runs in this process.
struct Services {
    tasks: JoinSet<Ended>,
    stop: CancellationToken,
    /// What the others stand on to their end: they hand their last word to it.
    last: JoinSet<Ended>,
    stop_last: CancellationToken,
    /// What others are told that runs here.
    names: Vec<&'static str>,
}

type Ended = (&'static str, anyhow::Result<()>);

pub(crate) async fn up(mut settings: Settings) -> anyhow::Result<()> {
    let http = bind("http", &mut settings.http)?;
    let doors = doors(&mut settings)?;
    let metrics = start_metrics()?;
    let ground = Ground::lay(&settings).await?;
    let mut services = Services::new();
    let desk = services.desk(&ground).await?;
    let recordings = settings.open_recordings()?;
    let ingest = build_ingest(&settings, &ground, desk, recordings, settings.public_url())?;
    let gateway = build_gateway(&settings, &ground, Some(ingest.router()), metrics).await?;
    services.project(&settings, &ground).await?;
    services.decide(&ground, settings.terms());
    services.gateway(gateway, http);
    services.ingest(&ground, ingest, doors);
    println!("Lemonair is up.");
    println!("  watch    {}", settings.public_url());
    println!(
        "  publish  {}   (stream key: sign up, then open {}/studio)",
        settings.rtmp_url(),
        settings.public_url()
    );
    if let Some(rtmps) = settings.rtmps {
        println!("           rtmps://{rtmps}/live, by the name in its certificate");
    }
    println!(
        "           ffmpeg -re -i film.mp4 -c:v libx264 -g 60 -c:a aac -f flv {}/YOUR-KEY",
        settings.rtmp_url()
    );
    println!("  stop     Ctrl-C");
    services.run(&ground).await
}

pub(crate) async fn gateway(mut settings: Settings) -> anyhow::Result<()> {
    let http = bind("http", &mut settings.http)?;
    let metrics = start_metrics()?;
    let ground = Ground::lay(&settings).await?;
    // Those in a store it reads itself: whoever made them may be gone.
    let recordings = match settings.recordings_are_shared() {
        true => settings.open_recordings()?,
        false => None,
    };
    let picture = recordings.as_ref().map(Recordings::router);
    let gateway = build_gateway(&settings, &ground, picture, metrics).await?;
    let mut services = Services::new();
    services.gateway(gateway, http);
    println!("Lemonair's gateway is up: {}", settings.public_url());
    services.run(&ground).await
}

pub(crate) async fn ingest(mut settings: Settings) -> anyhow::Result<()> {
    let doors = doors(&mut settings)?;
    let http = bind("ingest_http", &mut settings.ingest_http)?;
    let mut services = Services::new();
    services.metrics(settings.metrics)?;
    let ground = Ground::lay(&settings).await?;
    let desk = services.desk(&ground).await?;
    let origin = format!("http://{}", settings.ingest_http);
    let recordings = settings.open_recordings()?;
    let ingest = build_ingest(&settings, &ground, desk, recordings, origin)?;
    services.serve("picture", http, ingest.router());
    services.ingest(&ground, ingest, doors);
    println!("Lemonair's ingest is up: {}", settings.rtmp_url());
    services.run(&ground).await
}

pub(crate) async fn project(settings: Settings) -> anyhow::Result<()> {
    let mut services = Services::new();
    services.metrics(settings.metrics)?;
    let ground = Ground::lay(&settings).await?;
    services.project(&settings, &ground).await?;
    println!("Lemonair's projections are up.");
    services.run(&ground).await
}

pub(crate) async fn decide(settings: Settings) -> anyhow::Result<()> {
    let mut services = Services::new();
    services.metrics(settings.metrics)?;
    let ground = Ground::lay(&settings).await?;
    services.decide(&ground, settings.terms());
    println!("Lemonair's decider is up.");
    services.run(&ground).await
}

// === impl Ground ===

impl Ground {
    /// Connects to everything, and makes topics, schemas and tables where they are missing.
    pub(crate) async fn lay(settings: &Settings) -> anyhow::Result<Ground> {
        let kafka = settings.kafka();
        let codec = async {
            let registry = open_registry(settings)?;
            anyhow::Ok(Arc::new(Codec::register(registry, &schemas()).await?))
        };
        let topics = async { Ok(kafka.ensure_topics().await?) };
        let pool = async {
            Ok(lemonair_projections::connect(settings.database_url()?, CONNECTIONS).await?)
        };
        let ((), codec, pool) = tokio::try_join!(topics, codec, pool)?;
        let erasures = erasures::load(&kafka, &codec).await?;
        let log = Log::open(&kafka, Arc::clone(&codec))?;
        let checkpoints = Checkpoints::start(pool.clone());
        Ok(Ground {
            kafka,
            codec,
            pool,
            log,
            checkpoints,
            erasures,
        })
    }
}

/// Every schema that anything of ours writes.
pub(crate) fn schemas() -> Vec<Schema> {
    [
        Event::SCHEMAS,
        Command::SCHEMAS,
        Answer::SCHEMAS,
        Memory::SCHEMAS,
    ]
    .concat()
}

pub(crate) fn open_registry(settings: &Settings) -> anyhow::Result<Registry> {
    let cache = settings.data_dir.join("schemas");
    Ok(Registry::open(
        &settings.registry_url,
        &settings.kafka_prefix,
        Some(&cache),
    )?)
}

async fn build_gateway(
    settings: &Settings,
    ground: &Ground,
    picture: Option<axum::Router>,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
) -> anyhow::Result<Gateway> {
    let config = lemonair_gateway::Config {
        public_url: settings.public_url(),
        rtmp_url: settings.rtmp_url(),
        origins: settings.origins.clone(),
        connections_per_address: settings.connections_per_address,
        balancers: settings.balancers.clone(),
        chat_per_second: settings.chat_per_second,
        chat_burst: settings.chat_burst,
        payments: settings.payments(),
        donation_minimum: settings.donation_minimum,
        donation_maximum: settings.donation_maximum,
    };
    let deps = lemonair_gateway::Deps {
        kafka: ground.kafka.clone(),
        codec: Arc::clone(&ground.codec),
        pool: ground.pool.clone(),
        log: ground.log.clone(),
        checkpoints: ground.checkpoints.clone(),
        secret: settings.secret()?,
        webhook_secret: settings.webhook_secret()?,
        picture,
        metrics,
    };
    Ok(config.build(deps).await?)
}

fn build_ingest(
    settings: &Settings,
    ground: &Ground,
    desk: Desk,
    recordings: Option<Recordings>,
    origin: String,
) -> anyhow::Result<Ingest> {
    let mut config = lemonair_ingest::Config {
        data: settings.data_dir.join("ingest"),
        origin: settings.ingest_url.clone().unwrap_or(origin),
        grace: settings.grace(),
        lease: settings.lease(),
        idle: Duration::from_secs_f64(settings.publisher_idle),
        publishers: settings.publishers,
        kilobits: settings.publisher_kbps,
        longest: settings.longest_broadcast(),
        certificate: settings.certificate(),
        restream: settings.restream()?,
        authorities: settings.restream_ca.clone(),
        recordings,
        retention: settings.recording_retention(),
        ..lemonair_ingest::Config::default()
    };
    config.hls.window = Duration::from_secs_f64(settings.window);
    config.hls.dvr = Duration::from_secs_f64(settings.dvr);
    config.hls.bytes = settings.window_mib as usize * (1 << 20);
    config.thumbnails.interval = Duration::from_secs_f64(settings.thumbnail_every);
    config.ladder.rungs = settings.ladder()?;
    config.ladder.threads = settings.ladder_threads.get();
    config.ladder.children = settings.ladder_children;
    let backstage = Backstage {
        kafka: ground.kafka.clone(),
        codec: Arc::clone(&ground.codec),
        pool: ground.pool.clone(),
        log: ground.log.clone(),
        desk,
        lease: settings.lease(),
        checkpoints: ground.checkpoints.clone(),
    };
    config
        .build(Arc::new(backstage))
        .with_context(|| format!("set up ingest in {}", settings.data_dir.display()))
}

// === impl Services ===

impl Services {
    fn new() -> Services {
        Services {
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
            last: JoinSet::new(),
            stop_last: CancellationToken::new(),
            names: Vec::new(),
        }
    }

    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Where a process without a gateway tells its metrics, if it is to.
    fn metrics(&mut self, address: Option<SocketAddr>) -> anyhow::Result<()> {
        let Some(mut address) = address else {
            return Ok(());
        };
        let listener = bind("metrics", &mut address)?;
        let metrics = start_metrics()?;
        let page = axum::Router::new().route(
            "/metrics",
            axum::routing::get(move || std::future::ready(metrics.render())),
        );
        println!("  metrics  http://{address}/metrics");
        self.serve("metrics", listener, page);
        Ok(())
    }

    fn serve(&mut self, name: &'static str, listener: TcpListener, pages: axum::Router) {
        let stop = self.stop.clone();
        self.spawn(name, async move {
            Ok(axum::serve(listener, pages)
                .with_graceful_shutdown(async move { stop.cancelled().await })
                .await?)
        });
    }

    /// Where ingest hands in what becomes of broadcasts.
    async fn desk(&mut self, ground: &Ground) -> anyhow::Result<Desk> {
        let (log, codec) = (ground.log.clone(), Arc::clone(&ground.codec));
        let stop = self.stop_last.clone();
        let (desk, answers) = Desk::open(&ground.kafka, codec, log, stop).await?;
        self.last
            .spawn(async move { ("answers", answers.await.map_err(Into::into)) });
        Ok(desk)
    }

    fn gateway(&mut self, gateway: Gateway, listener: TcpListener) {
        self.names.push("gateway");
        let stop = self.stop.clone();
        self.spawn(
            "gateway",
            async move { Ok(gateway.run(listener, stop).await?) },
        );
    }

    fn ingest(&mut self, ground: &Ground, ingest: Ingest, doors: Doors) {
        self.names.push("ingest");
        let stop = self.stop.clone();
        let (kafka, codec) = (ground.kafka.clone(), Arc::clone(&ground.codec));
        let checkpoints = ground.checkpoints.clone();
        self.spawn("ingest", async move {
            let read = backstage::until_keys_are_read(&kafka, &checkpoints);
            let Some(next) = stop.run_until_cancelled(read).await else {
                return Ok(());
            };
            let follow = backstage::follow_keys(&kafka, codec, &checkpoints, next, &ingest);
            tokio::select! {
                () = ingest.run(doors, stop) => Ok(()),
                followed = follow => followed.context("follow the stream keys"),
            }
        });
    }

    fn decide(&mut self, ground: &Ground, terms: Terms) {
        self.names.push("decider");
        let decider = Decider {
            kafka: ground.kafka.clone(),
            codec: Arc::clone(&ground.codec),
            terms,
        };
        let stop = self.stop_last.clone();
        self.last
            .spawn(async move { ("decider", decider.run(stop).await.map_err(Into::into)) });
    }

    /// Who keeps the read models up also says how long topics are kept.
    async fn project(&mut self, settings: &Settings, ground: &Ground) -> anyhow::Result<()> {
        self.names.push("projections");
        retention::keep(&ground.kafka, &settings.retention()?).await?;
        let seat = Seat::take(&settings.data_dir.join("seats"))?;
        let mut kafka = ground.kafka.clone();
        let member = seat.name(&settings.identity()?);
        kafka.options.insert("group.instance.id".to_owned(), member);
        let projector = Projector {
            pool: ground.pool.clone(),
            kafka,
            codec: Arc::clone(&ground.codec),
        };
        self.fulfil(settings, ground);
        let stop = self.stop.clone();
        self.spawn("projections", async move {
            let _seat = seat;
            projector.run(stop).await;
            Ok(())
        });
        Ok(())
    }

    /// Rebuilds that operators ask for.
    fn fulfil(&mut self, settings: &Settings, ground: &Ground) {
        let projector = Projector {
            pool: ground.pool.clone(),
            kafka: ground.kafka.clone(),
            codec: Arc::clone(&ground.codec),
        };
        let (snapshots, stop) = (settings.snapshots(), self.stop.clone());
        self.spawn("rebuilds", async move {
            fulfil(&projector, &snapshots, &stop).await;
            Ok(())
        });
    }

    /// Waits for a signal, or for a service to end by itself, which is a fault; then stops the rest.
    async fn run(mut self, ground: &Ground) -> anyhow::Result<()> {
        let erasures = erasures::follow(
            ground.kafka.clone(),
            Arc::clone(&ground.codec),
            ground.erasures.clone(),
            self.stop.clone(),
        );
        self.spawn("erasures", async move {
            erasures.await;
            Ok(())
        });
        let (pool, names, stop) = (ground.pool.clone(), self.names.clone(), self.stop.clone());
        self.spawn("announcement", async move {
            announce(&pool, &names, env!("CARGO_PKG_VERSION"), &stop).await;
            Ok(())
        });
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut result = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            Some(ended) = self.tasks.join_next() => fault(ended),
            Some(ended) = self.last.join_next() => fault(ended),
        };
        tracing::info!("stopping");
        let rest = async {
            for (tasks, stop) in [
                (&mut self.tasks, &self.stop),
                (&mut self.last, &self.stop_last),
            ] {
                stop.cancel();
                while let Some(ended) = tasks.join_next().await {
                    if let Ok((_, Ok(()))) = &ended {
                        continue;
                    }
                    result = fault(ended);
                }
            }
        };
        tokio::select! {
            () = rest => {}
            () = tokio::time::sleep(DEADLINE) => tracing::warn!("something did not stop in time"),
            _ = terminate.recv() => tracing::warn!("stopped at once by a second signal"),
            _ = interrupt.recv() => tracing::warn!("stopped at once by a second signal"),
        }
        ground
            .log
            .flush(Duration::from_secs(5))
            .await
            .context("flush the log")?;
        result
    }
}

fn fault(
    ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>,
) -> anyhow::Result<()> {
    match ended {
        Ok((name, Ok(()))) => Err(anyhow!("{name} ended without being told to")),
        Ok((name, Err(error))) => Err(error.context(name)),
        Err(panicked) => Err(anyhow!("a service panicked: {panicked}")),
    }
}

fn doors(settings: &mut Settings) -> anyhow::Result<Doors> {
    let rtmp = bind("rtmp", &mut settings.rtmp)?;
    let rtmps = settings.rtmps.as_mut();
    let rtmps = rtmps.map(|rtmps| bind("rtmps", rtmps)).transpose()?;
    Ok(Doors { rtmp, rtmps })
}

/// Connections that may wait to be accepted: a crowd arrives at the same instant.
const BACKLOG: u32 = 4096;

/// Binds an address; port 0 takes a free one, which is then the setting.
fn bind(setting: &str, address: &mut SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(*address)?;
        socket.listen(BACKLOG)
    };
    let listener = listen().map_err(|error| {
        anyhow!(
            "{address} cannot be used ({error}); set LEMONAIR_{} to another address",
            setting.to_uppercase()
        )
    })?;
    *address = listener.local_addr()?;
    Ok(listener)
}

fn start_metrics() -> anyhow::Result<metrics_exporter_prometheus::PrometheusHandle> {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .context("start metrics")
}
