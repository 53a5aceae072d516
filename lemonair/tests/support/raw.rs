//! A client without any library that would keep it from misbehaving.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::PATIENCE;

pub(crate) const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

pub(crate) struct Raw {
    stream: TcpStream,
    pub(crate) read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn open(http: &str) -> Raw {
        let address = http.strip_prefix("http://").expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        // So that whoever does not read is soon known for it.
        socket
            .set_recv_buffer_size(16 * 1024)
            .expect("a small buffer");
        let stream = socket.connect(address.parse().expect("an address")).await;
        Raw {
            stream: stream.expect("connect"),
            read: Vec::new(),
        }
    }

    pub(crate) async fn shake(http: &str) -> Raw {
        Raw::shake_with(http, "").await.0
    }

    /// With more headers, each ended by CRLF; gives the answer's head too.
    pub(crate) async fn shake_with(http: &str, headers: &str) -> (Raw, String) {
        let mut raw = Raw::open(http).await;
        let request = request("GET", "13", "dGhlIHNhbXBsZSBub25jZQ==");
        let ask = request.strip_suffix("\r\n").expect("an end").to_owned() + headers + "\r\n";
        raw.send(ask.as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        (raw, head)
    }

    /// The peer may have closed already, and that is not what is tested.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    pub(crate) async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        matches!(read.expect("bytes in time"), Ok(count) if count > 0)
    }

    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).expect("a head in ASCII");
            }
            assert!(self.more().await, "closed before an answer");
        }
    }

    /// The next frame's kind and payload; `None` when the connection has ended.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, payload) = self.whole_frame().await?;
        Some((first & 15, payload))
    }

    /// The same with the frame's first byte.
    pub(crate) async fn whole_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, start, end)) = self.whole() {
                let payload = self.read[start..end].to_vec();
                self.read.drain(..end);
                return Some((first, payload));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    fn whole(&self) -> Option<(u8, usize, usize)> {
        let (&[first, second], rest) = self.read.split_first_chunk::<2>()?;
        let (start, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
            short => (2, usize::from(short)),
        };
        (self.read.len() >= start + length).then_some((first, start, start + length))
    }

    /// The code that the connection is closed with.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        while let Some((opcode, payload)) = self.frame().await {
            if opcode == 8 {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        None
    }
}

pub(crate) fn request(method: &str, version: &str, key: &str) -> String {
    format!(
        "{method} /ws HTTP/1.1\r\nHost: lemonair.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
}

pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u16::try_from(payload.len()).expect("short") {
        short @ 0..126 => bytes.push(0x80 | short as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}
