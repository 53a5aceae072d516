//! permessage-deflate (RFC 7692) without I/O: what is agreed on, and messages deflated and inflated.
//! Nothing is kept from one message to the next, so one deflated message serves every viewer, and
//! an idle connection costs nothing.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::websocket::Fault;

/// What we agree to. Both sides begin anew with each message.
pub const AGREED: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// Shorter messages are sent as they are: they would hardly get shorter.
const SHORTEST: usize = 512;
/// The end of a deflated message, which is not sent.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    // Hundreds of kilobytes each: made once a thread, however many connections there are.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Whether one of a client's offers, the value of a `Sec-WebSocket-Extensions`, can be [`AGREED`].
pub fn is_offered(offers: &str) -> bool {
    offers.split(',').any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        let mut seen = Vec::new();
        parts.next() == Some("permessage-deflate")
            && parts.all(|part| {
                let (name, value) = match part.split_once('=') {
                    Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                    None => (part, None),
                };
                let once = !seen.contains(&name);
                seen.push(name);
                once && match name {
                    "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                    "client_max_window_bits" => value.is_none_or(is_window),
                    // A smaller window than ours is asked for, or something unknown.
                    _ => false,
                }
            })
    })
}

fn is_window(bits: &str) -> bool {
    let bits = bits
        .strip_prefix('"')
        .and_then(|bits| bits.strip_suffix('"'))
        .unwrap_or(bits);
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// The payload of a deflated message; `None` if it is better sent as it is.
pub fn deflate(payload: &[u8]) -> Option<Bytes> {
    if payload.len() < SHORTEST {
        return None;
    }
    let deflated = DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let mut deflated = Vec::with_capacity(payload.len() / 2);
        loop {
            let taken = usize::try_from(deflate.total_in()).ok()?;
            deflate
                .compress_vec(payload.get(taken..)?, &mut deflated, FlushCompress::Sync)
                .ok()?;
            if deflated.len() < deflated.capacity() {
                return Some(deflated);
            }
            deflated.reserve(payload.len() / 4);
        }
    })?;
    let whole = deflated.strip_suffix(&TAIL)?;
    (whole.len() < payload.len()).then(|| Bytes::copy_from_slice(whole))
}

/// Bytes that are not deflated, as they stand inside of a deflated message.
pub fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(bytes.len() + 5);
    for block in bytes.chunks(usize::from(u16::MAX)) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stored.push(0);
        stored.extend(length.to_le_bytes());
        stored.extend((!length).to_le_bytes());
        stored.extend_from_slice(block);
    }
    stored
}

/// What a deflated message says, if that is no longer than `largest`.
pub(crate) fn inflate(message: &[u8], largest: usize) -> Result<Vec<u8>, Fault> {
    const BROKEN: Fault = Fault::Protocol("not deflated as agreed");
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        // One more byte shows that there is too much.
        let mut inflated = Vec::with_capacity(largest + 1);
        for mut input in [message, &TAIL] {
            while !input.is_empty() {
                let (taken, given) = (inflate.total_in(), inflated.len());
                let status = inflate
                    .decompress_vec(input, &mut inflated, FlushDecompress::Sync)
                    .map_err(|_| BROKEN)?;
                let taken = usize::try_from(inflate.total_in() - taken).map_err(|_| BROKEN)?;
                input = input.get(taken..).ok_or(BROKEN)?;
                if inflated.len() > largest {
                    return Err(Fault::TooBig);
                }
                match status {
                    // The last block of a stream, but not of the message.
                    Status::StreamEnd => inflate.reset(false),
                    _ if taken == 0 && inflated.len() == given => return Err(BROKEN),
                    _ => {}
                }
            }
        }
        Ok(inflated)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LARGEST: usize = 8 * 1024;

    #[test]
    fn takes_offers_that_leave_it_free() {
        for (offer, taken) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("permessage-deflate;client_max_window_bits=9", true),
            ("permessage-deflate; client_max_window_bits=\"12\"", true),
            ("x-webkit-deflate-frame, permessage-deflate", true),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                true,
            ),
            (
                "permessage-deflate; server_max_window_bits=10, permessage-deflate",
                true,
            ),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; client_max_window_bits=7", false),
            ("permessage-deflate; server_no_context_takeover=1", false),
            (
                "permessage-deflate; client_max_window_bits; client_max_window_bits",
                false,
            ),
            ("permessage-deflate; unheard_of", false),
            ("permessage-deflated", false),
            ("", false),
        ] {
            assert_eq!(is_offered(offer), taken, "{offer}");
        }
    }

    #[test]
    fn reads_what_the_rfc_shows() {
        // Section 7.2.3: one block, a stored block, a block that is the last of its stream, and two.
        for message in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ] {
            assert_eq!(inflate(message, LARGEST).unwrap(), b"Hello", "{message:?}");
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let zeros = deflate(&vec![0; 10 * 1024 * 1024]).unwrap();
        assert!(zeros.len() < 64 * 1024);
        assert_eq!(inflate(&zeros, LARGEST), Err(Fault::TooBig));
        let fits = deflate(&[0; LARGEST]).unwrap();
        assert_eq!(inflate(&fits, LARGEST).unwrap(), [0; LARGEST]);
        let over = deflate(&[0; LARGEST + 1]).unwrap();
        assert_eq!(inflate(&over, LARGEST), Err(Fault::TooBig));
    }

    #[test]
    fn short_or_random_is_left_as_it_is() {
        assert_eq!(deflate(&[0; SHORTEST - 1]), None);
        let mut state = 1_u64;
        let random = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        assert_eq!(deflate(&Vec::from_iter(random.take(1000))), None);
    }

    proptest! {
        #[test]
        fn what_is_deflated_is_read(head in "[ -~]{0,300}", text in "([a-e]{1,5}🍋){100,400}") {
            let deflated = deflate(text.as_bytes()).unwrap();
            prop_assert_eq!(inflate(&deflated, LARGEST).unwrap(), text.as_bytes());
            let with_head = [stored(head.as_bytes()), deflated.to_vec()].concat();
            prop_assert_eq!(inflate(&with_head, LARGEST).unwrap(), (head + &text).into_bytes());
        }

        #[test]
        fn strangers_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(inflated) = inflate(&bytes, LARGEST) {
                prop_assert!(inflated.len() <= LARGEST);
            }
        }
    }
}
