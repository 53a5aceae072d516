//! The first three exchanges of RTMP: version, a packet of noise each way, and its echo.
//!
//! Clients that offer the digest form are answered in it, others in the simple one.

mod digest;

use bytes::{BufMut, Bytes, BytesMut};

use super::Error;

pub const PACKET: usize = 1536;
const VERSION: u8 = 3;

/// The server's half. It holds at most one packet of the client.
#[derive(Debug)]
pub struct Handshake {
    stage: Stage,
    received: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Version,
    Packet,
    Echo,
    Done,
}

// === impl Handshake ===

impl Handshake {
    pub fn new() -> Handshake {
        Handshake {
            stage: Stage::Version,
            received: Vec::new(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Takes what it needs from the front of `input`, and returns what to answer.
    pub fn handle(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, Error> {
        let mut answer = BytesMut::new();
        loop {
            match self.stage {
                Stage::Version => {
                    let Some((&version, rest)) = input.split_first() else {
                        break;
                    };
                    *input = rest;
                    // 6 and 8 are the encrypted kinds, higher ones are not RTMP at all.
                    if version != VERSION {
                        return Err(Error::Version(version));
                    }
                    self.stage = Stage::Packet;
                }
                Stage::Packet => {
                    if !self.fill(input) {
                        break;
                    }
                    answer.reserve(1 + 2 * PACKET);
                    answer.put_u8(VERSION);
                    // No time, version zero ("simple"), and noise nobody checks.
                    let noise =
                        std::array::from_fn(|n| if n < 8 { 0 } else { (n * 31 % 251) as u8 });
                    let client = std::mem::take(&mut self.received);
                    match digest::answer(&client, &noise) {
                        Some([packet, echo]) => {
                            answer.extend_from_slice(&packet);
                            answer.extend_from_slice(&echo);
                        }
                        None => {
                            answer.extend_from_slice(&noise);
                            answer.extend_from_slice(&client);
                        }
                    }
                    self.stage = Stage::Echo;
                }
                Stage::Echo => {
                    // Clients differ in what they send back; nothing rests on it.
                    if !self.fill(input) {
                        break;
                    }
                    self.received = Vec::new();
                    self.stage = Stage::Done;
                }
                Stage::Done => break,
            }
        }
        Ok((!answer.is_empty()).then(|| answer.freeze()))
    }

    fn fill(&mut self, input: &mut &[u8]) -> bool {
        let (head, rest) = input.split_at(input.len().min(PACKET - self.received.len()));
        self.received.extend_from_slice(head);
        *input = rest;
        self.received.len() == PACKET
    }
}

impl Default for Handshake {
    fn default() -> Handshake {
        Handshake::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend((0..PACKET).map(|n| n as u8));
        bytes.extend([7; PACKET]);
        bytes
    }

    #[test]
    fn echoes_the_clients_packet_however_it_is_cut() {
        let bytes = client();
        for cut in 0..bytes.len() {
            let mut handshake = Handshake::new();
            let mut answer = Vec::new();
            for mut part in [&bytes[..cut], &bytes[cut..]] {
                answer.extend(handshake.handle(&mut part).unwrap().unwrap_or_default());
                assert!(part.is_empty());
            }
            assert!(handshake.is_done());
            assert_eq!(answer.len(), 1 + 2 * PACKET);
            assert_eq!(answer[0], VERSION);
            assert_eq!(answer[1 + PACKET..], bytes[1..=PACKET]);
        }
    }

    #[test]
    fn leaves_what_follows() {
        let mut bytes = client();
        bytes.extend(b"chunk");
        let mut input = bytes.as_slice();
        Handshake::new().handle(&mut input).unwrap();
        assert_eq!(input, b"chunk");
    }

    #[test]
    fn other_protocols_are_refused_at_the_first_byte() {
        let mut input = b"GET / HTTP/1.1\r\n".as_slice();
        assert_eq!(
            Handshake::new().handle(&mut input),
            Err(Error::Version(b'G'))
        );
    }
}
