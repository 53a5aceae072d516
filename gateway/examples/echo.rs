//! Sends back what a WebSocket client says, by the gateway's own reader and frames: what
//! `make conformance` tries Autobahn's cases on. Prints where it listens.

use std::io::{self, Write};

use bytes::Bytes;
use lemonair_gateway::deflate;
use lemonair_gateway::websocket::{self, Fault, Message, Payload, Reader, Received};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The cases send up to 16 MiB at once, in any number of fragments; the gateway takes 8 KiB in 64.
const LARGEST: usize = 16 * 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Whoever leaves in the middle is part of the cases.
        tokio::spawn(async move { serve(stream).await.ok() });
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let values = |name: &str| {
        let headers = head.lines().filter_map(|line| line.split_once(':'));
        let named = headers.filter(|(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim()).collect::<Vec<&str>>()
    };
    let key = values("sec-websocket-key").concat();
    let accept = websocket::accept(key.as_bytes()).ok_or(io::ErrorKind::InvalidData)?;
    let deflate = values("sec-websocket-extensions")
        .into_iter()
        .any(deflate::is_offered);
    let agreed = match deflate {
        true => format!("Sec-WebSocket-Extensions: {}\r\n", deflate::AGREED),
        false => String::new(),
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{agreed}\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut reader = Reader::new(LARGEST, u32::MAX, deflate);
    let mut buffer = vec![0; 64 * 1024];
    let goodbye = 'open: loop {
        loop {
            match reader.take() {
                Ok(Some(Received::Close(code))) => {
                    break 'open websocket::close(code.unwrap_or(1000), "");
                }
                Ok(Some(received)) => {
                    if let Some(frame) = echo(received, deflate) {
                        stream.write_all(&frame).await?;
                    }
                }
                Ok(None) => break,
                Err(fault) => break 'open close(fault),
            }
        }
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => reader.feed(&buffer[..read]),
        }
    };
    stream.write_all(&goodbye).await?;
    stream.shutdown().await?;
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

fn echo(received: Received, deflate: bool) -> Option<Bytes> {
    let (payload, plain, deflated) = match received {
        Received::Text(text) => (text.into_bytes(), Payload::Text, Payload::DeflatedText),
        Received::Binary(bytes) => (bytes, Payload::Binary, Payload::DeflatedBinary),
        Received::Ping(payload) => return Some(websocket::pong(&payload)),
        Received::Pong | Received::Close(_) => return None,
    };
    let mut frame = Message::with_capacity(payload.len());
    if !deflate {
        frame.push(&payload);
        return Some(frame.finish(plain));
    }
    // All of it, short or not: that is what is tried here.
    match deflate::deflate(&payload) {
        Some(smaller) => frame.push(&smaller),
        None => {
            frame.push(&deflate::stored(&payload));
            frame.push(&[0]);
        }
    }
    Some(frame.finish(deflated))
}

fn close(fault: Fault) -> Bytes {
    websocket::close(fault.code(), &fault.to_string())
}
