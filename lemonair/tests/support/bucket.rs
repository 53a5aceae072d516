//! A store that speaks S3, for one test: a real server over HTTP that checks signatures, with one bucket in
//! a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::Deployment;

pub(crate) struct Bucket {
    folder: PathBuf,
    endpoint: String,
    /// Of so many requests that write, each takes one.
    writes: Arc<Semaphore>,
    allowed: Arc<AtomicUsize>,
    removals: Arc<AtomicUsize>,
    /// Bytes that were asked for in pieces of files.
    asked: Arc<AtomicUsize>,
    away: watch::Sender<bool>,
}

/// What who is known may do: everything in the one bucket, but write and remove only so often.
struct Access {
    writes: Arc<AtomicUsize>,
    removals: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

const NAME: &str = "exports";

const ACCESS_KEY: &str = "lemonair-test";
pub(crate) const SECRET_KEY: &str = "not to be found in any output";

impl Bucket {
    /// The bucket is called `exports`; after so many writes, more wait.
    pub(crate) async fn open(folder: &Path, writes: usize) -> Bucket {
        let root = folder.join("store");
        std::fs::create_dir_all(root.join(NAME)).expect("make the bucket");
        let mut service = S3ServiceBuilder::new(FileSystem::new(&root).expect("open the store"));
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let [allowed, removals] = [(); 2].map(|()| Arc::new(AtomicUsize::new(usize::MAX)));
        let asked = Arc::new(AtomicUsize::new(0));
        service.set_access(Access {
            writes: Arc::clone(&allowed),
            removals: Arc::clone(&removals),
            asked: Arc::clone(&asked),
        });
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let writes = Arc::new(Semaphore::new(writes));
        let gate = Arc::clone(&writes);
        let (away, is_away) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (service, gate) = (service.clone(), Arc::clone(&gate));
                let mut is_away = is_away.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let (service, gate) = (service.clone(), Arc::clone(&gate));
                    async move {
                        if request.method() == Method::PUT {
                            gate.acquire().await.expect("never closed").forget();
                        }
                        Service::call(&service, request).await
                    }
                });
                tokio::spawn(async move {
                    let served = Builder::new(TokioExecutor::new());
                    let connection = TokioIo::new(connection);
                    tokio::select! {
                        _ = is_away.wait_for(|away| *away) => {}
                        _ = served.serve_connection(connection, service) => {}
                    }
                });
            }
        });
        Bucket {
            folder: root.join(NAME),
            endpoint: format!("http://{address}"),
            writes,
            allowed,
            removals,
            asked,
            away,
        }
    }

    /// Every connection to it breaks, until it is back.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.send_replace(away);
    }

    /// Settings by which it is found.
    pub(crate) fn of(&self, deployment: Deployment) -> Deployment {
        deployment
            .with("LEMONAIR_S3_ENDPOINT", &self.endpoint)
            .with("LEMONAIR_S3_REGION", "test-1")
            .with("LEMONAIR_S3_ACCESS_KEY", ACCESS_KEY)
            .with("LEMONAIR_S3_SECRET_KEY", SECRET_KEY)
    }

    /// Where what was put into it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on, nobody may write more often than this.
    pub(crate) fn allow_writes(&self, times: usize) {
        self.allowed.store(times, Ordering::Relaxed);
    }

    /// The same of removing.
    pub(crate) fn allow_removals(&self, times: usize) {
        self.removals.store(times, Ordering::Relaxed);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        self.writes.available_permits() == 0
    }

    pub(crate) fn let_all_in(&self) {
        self.writes.add_permits(1_000_000);
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        if request.credentials().is_none() {
            return Err(s3_error!(AccessDenied));
        }
        if request.s3_path().get_bucket_name() != Some(NAME) {
            return Err(s3_error!(NoSuchBucket));
        }
        let range = request.headers().get("range");
        let range = range.and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
        if let Some((start, end)) = range.and_then(|range| range.split_once('-')) {
            let number = |text: &str| text.parse::<usize>().expect("an offset");
            let bytes = number(end) + 1 - number(start);
            self.asked.fetch_add(bytes, Ordering::Relaxed);
        }
        let query = request.uri().query().unwrap_or_default();
        let left = if *request.method() == Method::PUT {
            &self.writes
        } else if query.starts_with("delete") {
            &self.removals
        } else {
            return Ok(());
        };
        let take = |left: usize| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(s3_error!(AccessDenied)),
        }
    }
}
