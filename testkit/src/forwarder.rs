//! Stands before the real registry, and takes it away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::registry_url;

#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    /// Path below the registry's host.
    path: String,
    way: watch::Sender<Way>,
    turned_away: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    Open,
    /// Connections are cut, new ones at once.
    Shut,
    /// Every answer is that there is no such thing, as from a registry that has not read its journal.
    Forgetful,
}

impl Forwarder {
    pub async fn start() -> Forwarder {
        let url = registry_url();
        let (_, rest) = url.split_once("://").expect("an http address");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (way, seen) = watch::channel(Way::Open);
        let turned_away = Arc::new(AtomicUsize::new(0));
        tokio::spawn(accept(
            listener,
            host.to_owned(),
            seen,
            Arc::clone(&turned_away),
        ));
        Forwarder {
            address,
            path: path.to_owned(),
            way,
            turned_away,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.path)
    }

    pub fn turn(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// How many connections found it shut.
    pub fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::Acquire)
    }
}

async fn accept(
    listener: TcpListener,
    host: String,
    seen: watch::Receiver<Way>,
    turned_away: Arc<AtomicUsize>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *seen.borrow() == Way::Shut {
            turned_away.fetch_add(1, Ordering::AcqRel);
        }
        tokio::spawn(serve(client, host.clone(), seen.clone()));
    }
}

async fn serve(mut client: TcpStream, host: String, mut seen: watch::Receiver<Way>) {
    let way = *seen.borrow_and_update();
    match way {
        Way::Shut => {}
        Way::Open => {
            let mut registry = TcpStream::connect(&host).await.expect("reach the registry");
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut registry) => {}
                _ = seen.changed() => {}
            }
        }
        Way::Forgetful => {
            let answer = "{\"error_code\":40403,\"message\":\"Schema not found\"}";
            // Whatever it is, it was asked by then.
            client.read_u8().await.ok();
            let head =
                "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Type: application/json";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
            client.write_all(answer.as_bytes()).await.ok();
        }
    }
}
