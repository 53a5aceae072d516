//! Where a replay goes: lines on stdout, another deployment's topics, or a room of a gateway.

use std::collections::VecDeque;
use std::io::{BufWriter, ErrorKind, Stdout, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use lemonair_consumers::Kafka;
use lemonair_consumers::batch::Consumed;
use lemonair_producers::Log;
use lemonair_schemas::field::Mask;
use lemonair_schemas::{AccountId, Codec, Event, Position, Registry, RoomId};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::services::schemas;
use crate::settings::Settings;

pub(super) enum Output {
    Lines {
        out: BufWriter<Stdout>,
        line: Vec<u8>,
        /// What `out` holds.
        held: Vec<Position>,
    },
    Topics {
        log: Log,
        room: Option<RoomId>,
        /// Not confirmed yet, at most [`AHEAD`]: more wait.
        pending: VecDeque<(Position, Delivery)>,
    },
    Socket {
        socket: Box<Socket>,
        room: RoomId,
        sent: u64,
        left_out: u64,
    },
}

type Delivery = BoxFuture<'static, Result<Position, lemonair_producers::Error>>;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const AHEAD: usize = 1000;

const CLOSED: &str = "the gateway closed the connection";

impl Output {
    pub(super) fn lines() -> Output {
        Output::Lines {
            out: BufWriter::with_capacity(64 * 1024, std::io::stdout()),
            line: Vec::new(),
            held: Vec::new(),
        }
    }

    pub(super) async fn topics(
        settings: &Settings,
        prefix: &str,
        room: Option<RoomId>,
    ) -> anyhow::Result<Output> {
        if prefix == settings.kafka_prefix {
            bail!(
                "--to-topic {prefix:?} is where the history itself stands; give the prefix of another deployment, such as test."
            );
        }
        let kafka = Kafka {
            prefix: prefix.to_owned(),
            ..settings.kafka()
        };
        kafka.ensure_topics().await?;
        let registry = Registry::open(&settings.registry_url, prefix, None)?;
        let codec = Codec::register(registry, &schemas()).await?;
        Ok(Output::Topics {
            log: Log::open(&kafka, Arc::new(codec))?,
            room,
            pending: VecDeque::new(),
        })
    }

    pub(super) async fn socket(
        url: &str,
        room: &RoomId,
        token: Option<String>,
    ) -> anyhow::Result<Output> {
        let Some(token) = token else {
            bail!(
                "--to-ws needs --token: only who is known may speak; `lemonair token NAME` prints one"
            );
        };
        let (socket, _) = tokio_tungstenite::connect_async(url)
            .await
            .with_context(|| format!("connect to {url}"))?;
        let mut socket = Box::new(socket);
        let join = json!({ "type": "join", "id": "join", "room": room.as_str(), "token": token });
        let answer = ask(&mut socket, "join", &join).await?;
        if answer["type"] != "joined" {
            bail!("{url} does not let us into {room}: {}", answer["message"]);
        }
        Ok(Output::Socket {
            socket,
            room: room.clone(),
            sent: 0,
            left_out: 0,
        })
    }

    /// `false` when nobody reads any more (as in `| head`).
    pub(super) async fn give(
        &mut self,
        record: &Consumed<Event>,
        event: &Event,
    ) -> anyhow::Result<bool> {
        match self {
            Output::Lines { out, line, held } => {
                line.clear();
                write_line(line, record.position, event);
                let mut write = || {
                    if out.buffer().len() + line.len() > out.capacity() {
                        out.flush()?;
                        held.clear();
                    }
                    held.push(record.position);
                    out.write_all(line)
                };
                match write() {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
                    written => written.context("write a line")?,
                }
            }
            Output::Topics { log, room, pending } => {
                let mut event = event.clone();
                if let Some(room) = room {
                    event.mask(&Elsewhere(room));
                }
                if pending.len() >= AHEAD {
                    confirm(pending).await?;
                }
                let delivery = log.enqueue(&event)?.confirmed().boxed();
                pending.push_back((record.position, delivery));
            }
            Output::Socket {
                socket,
                room,
                sent,
                left_out,
            } => match event {
                Event::MessagePosted(message) => {
                    say(socket, room, &message.text, *sent).await?;
                    *sent += 1;
                }
                _ => *left_out += 1,
            },
        }
        Ok(true)
    }

    /// Heeds the gateway while there is nothing to say; ends only with the connection, and says why.
    pub(super) async fn listen(&mut self) -> anyhow::Error {
        match self {
            Output::Socket { socket, .. } => listen(socket).await,
            Output::Lines { .. } | Output::Topics { .. } => std::future::pending().await,
        }
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        let Output::Lines { out, held, .. } = self else {
            return Ok(());
        };
        match out.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            flushed => flushed.context("write a line")?,
        }
        held.clear();
        Ok(())
    }

    /// Records that it took, and that may never arrive.
    pub(super) fn unconfirmed(&self) -> Vec<Position> {
        match self {
            Output::Lines { held, .. } => held.clone(),
            Output::Topics { pending, .. } => pending.iter().map(|(at, _)| *at).collect(),
            Output::Socket { .. } => Vec::new(),
        }
    }

    pub(super) async fn finish(&mut self) -> anyhow::Result<()> {
        self.flush().await?;
        match self {
            Output::Lines { .. } => {}
            Output::Topics { pending, .. } => {
                while !pending.is_empty() {
                    confirm(pending).await?;
                }
            }
            Output::Socket {
                socket,
                sent,
                left_out,
                ..
            } => {
                socket.close().await.ok();
                eprintln!("{sent} messages sent; {left_out} other events cannot be");
            }
        }
        Ok(())
    }
}

/// A record as a JSON line: where it stands, then the event.
pub(crate) fn write_line(line: &mut Vec<u8>, position: Position, event: &Event) {
    line.extend_from_slice(b"{\"topic\":\"lemonair.");
    line.extend_from_slice(position.topic.name().as_bytes());
    // Writing into memory cannot fail.
    write!(
        line,
        "\",\"partition\":{},\"offset\":{},",
        position.partition, position.offset
    )
    .ok();
    event.write_json(line);
    line.extend_from_slice(b"}\n");
}

/// Puts every event into one room.
struct Elsewhere<'a>(&'a RoomId);

impl Mask for Elsewhere<'_> {
    fn account(&self, _: &mut AccountId) {}
    fn name(&self, _: &mut String) {}
    fn private(&self, _: &mut String) {}
    fn room(&self, room: &mut RoomId) {
        room.clone_from(self.0);
    }
}

/// Waits for the first. It stays there unless it has arrived.
async fn confirm(pending: &mut VecDeque<(Position, Delivery)>) -> anyhow::Result<()> {
    if let Some((_, delivery)) = pending.front_mut() {
        delivery.await?;
        pending.pop_front();
    }
    Ok(())
}

/// Says something, and waits until it is on the topic.
async fn say(socket: &mut Socket, room: &RoomId, text: &str, number: u64) -> anyhow::Result<()> {
    let id = number.to_string();
    let chat = json!({ "type": "chat", "id": id, "room": room.as_str(), "text": text });
    loop {
        let answer = ask(socket, &id, &chat).await?;
        if answer["type"] == "ack" {
            return Ok(());
        }
        match answer["retry_after_ms"].as_u64() {
            Some(pause) => tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(pause)) => {}
                error = listen(socket) => return Err(error),
            },
            None => bail!("the gateway refuses a message: {}", answer["message"]),
        }
    }
}

/// Lets what comes go: reading it answers pings, and what is not read the gateway closes us for.
async fn listen(socket: &mut Socket) -> anyhow::Error {
    loop {
        match socket.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.into(),
            None => return anyhow!(CLOSED),
        }
    }
}

/// Sends a frame and waits for its answer.
async fn ask(socket: &mut Socket, id: &str, ask: &Value) -> anyhow::Result<Value> {
    socket.send(Message::text(ask.to_string())).await?;
    while let Some(frame) = socket.next().await {
        if let Message::Text(text) = frame?
            && let Ok(answer) = serde_json::from_str::<Value>(&text)
            && answer["id"] == id
        {
            return Ok(answer);
        }
    }
    bail!(CLOSED)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn who_has_nothing_to_say_answers_pings() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let gateway = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap().is_text());
            let joined = json!({ "type": "joined", "id": "join" }).to_string();
            socket.send(Message::text(joined)).await.unwrap();
            socket.send(Message::Ping("there?".into())).await.unwrap();
            socket.next().await.unwrap().unwrap()
        };
        let player = async {
            let (room, token) = ("stage".parse().unwrap(), Some("token".to_owned()));
            let mut output = Output::socket(&url, &room, token).await.unwrap();
            output.listen().await
        };
        tokio::select! {
            answer = gateway => assert_eq!(answer, Message::Pong("there?".into())),
            error = player => panic!("{error}"),
        }
    }
}
