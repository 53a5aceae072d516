//! Pseudonyms: keyed hashes in place of names and ids. The same key gives the same ones, so that
//! exports can be joined; without it nobody can tell whose they are.

use anyhow::Context;
use hmac::{Hmac, Mac};
use lemonair_schemas::field::Mask;
use lemonair_schemas::{AccountId, RoomId};
use sha2::Sha256;
use uuid::Uuid;

use crate::settings::Settings;

pub(crate) struct Pseudonyms(Hmac<Sha256>);

impl Pseudonyms {
    /// With the key of the settings, if pseudonyms are `wanted`.
    pub(crate) fn open(settings: &Settings, wanted: bool) -> anyhow::Result<Option<Pseudonyms>> {
        if !wanted {
            return Ok(None);
        }
        let key = settings.pseudonyms_key()?;
        let mac = Hmac::new_from_slice(&key).context("use the key of pseudonyms")?;
        Ok(Some(Pseudonyms(mac)))
    }

    fn hash(&self, text: &str) -> [u8; 16] {
        let mac = self.0.clone().chain_update(text.as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        hash
    }
}

impl Mask for Pseudonyms {
    fn account(&self, account: &mut AccountId) {
        account.0 = Uuid::new_v8(self.hash(&account.to_string()));
    }

    /// A room goes by its streamer's name: both get the same.
    fn name(&self, name: &mut String) {
        let hash = self.hash(&name.to_lowercase());
        *name = "p".to_owned();
        for byte in &hash[..8] {
            *name += &format!("{byte:02x}");
        }
    }

    fn room(&self, room: &mut RoomId) {
        let mut name = room.to_string();
        self.name(&mut name);
        if let Ok(pseudonym) = name.parse() {
            *room = pseudonym;
        }
    }
}
