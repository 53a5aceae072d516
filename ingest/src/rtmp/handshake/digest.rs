//! The digest form of the handshake, which was published by nobody and is spoken by many: each packet
//! holds its own keyed hash at a place that other bytes of it tell.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::PACKET;

const DIGEST: usize = 32;
const CLIENT: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// Behind the server's name in the key that signs the echo.
const SECRET: [u8; DIGEST] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57,
    0x6E, 0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];
/// Where the four bytes are that tell the digest's place.
const PLACES: [usize; 2] = [8, 772];

type Sha = Hmac<Sha256>;

/// Our packet and the echo, in the form that the client offers. `None` if it offers none.
pub(super) fn answer(client: &[u8], noise: &[u8; PACKET]) -> Option<[[u8; PACKET]; 2]> {
    let place = PLACES
        .into_iter()
        .find(|place| verify(client, *place, CLIENT))?;
    let theirs = client.get(digest_at(client, place)..)?.get(..DIGEST)?;

    let mut packet = *noise;
    // A version other than zero says that there is a digest.
    packet[4..8].copy_from_slice(&[5, 0, 3, 1]);
    let at = digest_at(&packet, place);
    let digest = hash(SERVER, &[&packet[..at], &packet[at + DIGEST..]])?;
    packet[at..at + DIGEST].copy_from_slice(&digest);

    let mut echo = *noise;
    let key = hash(&[SERVER, &SECRET].concat(), &[theirs])?;
    let signature = hash(&key, &[&echo[..PACKET - DIGEST]])?;
    echo[PACKET - DIGEST..].copy_from_slice(&signature);
    Some([packet, echo])
}

fn verify(packet: &[u8], place: usize, key: &[u8]) -> bool {
    let at = digest_at(packet, place);
    let (Some(before), Some(digest), Some(after)) = (
        packet.get(..at),
        packet.get(at..at + DIGEST),
        packet.get(at + DIGEST..),
    ) else {
        return false;
    };
    hash(key, &[before, after]).is_some_and(|hash| hash == digest)
}

/// Always within the packet: the four bytes and what follows them have room for 728 places.
fn digest_at(packet: &[u8], place: usize) -> usize {
    let told = packet.iter().skip(place).take(4);
    let sum: usize = told.map(|byte| usize::from(*byte)).sum();
    place + 4 + sum % 728
}

fn hash(key: &[u8], parts: &[&[u8]]) -> Option<[u8; DIGEST]> {
    let mut mac = Sha::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a client makes it, with the digest told at `place`.
    fn offer(place: usize) -> [u8; PACKET] {
        let mut packet: [u8; PACKET] = std::array::from_fn(|n| (n * 7 % 253) as u8);
        let at = digest_at(&packet, place);
        let digest = hash(CLIENT, &[&packet[..at], &packet[at + DIGEST..]]).unwrap();
        packet[at..at + DIGEST].copy_from_slice(&digest);
        packet
    }

    #[test]
    fn an_offer_is_answered_in_its_own_form() {
        let noise = std::array::from_fn(|n| (n * 31 % 251) as u8);
        for place in PLACES {
            let client = offer(place);
            let [packet, echo] = answer(&client, &noise).unwrap();
            assert!(verify(&packet, place, SERVER));
            let at = digest_at(&client, place);
            let key = hash(&[SERVER, &SECRET].concat(), &[&client[at..at + DIGEST]]).unwrap();
            let signed = hash(&key, &[&echo[..PACKET - DIGEST]]).unwrap();
            assert_eq!(echo[PACKET - DIGEST..], signed);
        }
        let mut broken = offer(8);
        broken[1000] ^= 1;
        assert_eq!(answer(&broken, &noise), None);
    }
}
