//! The registry may be away: what was known stays known, what is unknown waits.

use std::fs;
use std::path::PathBuf;

use lemonair_schemas::record::Schema;
use lemonair_schemas::{Codec, DecodeError, Records, Registry};
use lemonair_testkit::forwarder::{Forwarder, Way};
use lemonair_testkit::{all_schemas, random_prefix, registry_url};

use crate::sample::{Any, Seed, samples};

/// A folder for one test's cache.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        Folder(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(random_prefix()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A process that starts.
async fn start(
    url: &str,
    prefix: &str,
    folder: &Folder,
) -> Result<Codec, lemonair_schemas::registry::Error> {
    let registry = Registry::open(url, prefix, Some(&folder.0))?;
    Codec::register(registry, &all_schemas()).await
}

/// A record of a schema that another process has registered, after ours had started.
async fn strange(prefix: &str, doc: &str) -> Vec<u8> {
    let registry = Registry::open(&registry_url(), prefix, None).expect("open registry");
    let ours = all_schemas()
        .into_iter()
        .find(|schema| schema.name == "lemonair.decider.Wallet")
        .expect("a wallet");
    let field = format!("{{ \"name\": \"{doc}\", \"type\": \"long\", \"default\": 0 }}");
    let avsc = ours
        .avsc
        .replace("\"fields\": [", &format!("\"fields\": [ {field},"));
    let theirs = Schema {
        avsc: avsc.leak(),
        ..ours
    };
    let id = registry.register(&theirs).await.expect("register");
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    bytes.extend([2, 84]);
    bytes
}

fn assert_wallet(read: Result<Any, DecodeError>) {
    assert_eq!(
        read.expect("decode").0,
        serde_json::json!({ "balance": 42 })
    );
}

#[tokio::test]
async fn what_was_known_outlives_the_registry() {
    let forwarder = Forwarder::start().await;
    let (prefix, folder) = (random_prefix(), Folder::new());
    let codec = start(&forwarder.url(), &prefix, &folder).await.unwrap();
    let seen = strange(&prefix, "one").await;
    assert_wallet(codec.decode(&seen).await);
    let unseen = strange(&prefix, "two").await;
    let before = samples(&codec, &Seed::fixed(true));

    forwarder.turn(Way::Shut);
    // A process that runs, and one that starts.
    for codec in [
        codec,
        start(&forwarder.url(), &prefix, &folder).await.unwrap(),
    ] {
        let now = samples(&codec, &Seed::fixed(true));
        for (before, now) in before.iter().zip(now) {
            let bytes = now.bytes.unwrap();
            assert_eq!(before.bytes.as_ref().unwrap(), &bytes);
            let Any(read) = codec.decode(&bytes).await.unwrap();
            assert_eq!(read, now.json);
        }
        assert_wallet(codec.decode(&seen).await);

        let error = codec.decode::<Any>(&unseen).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }

    let codec = start(&forwarder.url(), &prefix, &folder).await.unwrap();
    let error = codec.decode::<Any>(&unseen).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    forwarder.turn(Way::Open);
    assert_wallet(codec.decode(&unseen).await);
}

#[tokio::test]
async fn what_cannot_be_kept_on_disk_is_read_all_the_same() {
    let (prefix, folder) = (random_prefix(), Folder::new());
    let codec = start(&registry_url(), &prefix, &folder).await.unwrap();
    let unseen = strange(&prefix, "one").await;
    fs::remove_dir_all(&folder.0).unwrap();
    assert_wallet(codec.decode(&unseen).await);
}

#[tokio::test]
async fn a_first_start_needs_the_registry() {
    let forwarder = Forwarder::start().await;
    forwarder.turn(Way::Shut);
    let (prefix, folder) = (random_prefix(), Folder::new());
    let error = start(&forwarder.url(), &prefix, &folder).await.unwrap_err();
    let line = error.to_string().replace(&forwarder.url(), "REGISTRY");
    assert!(
        line.starts_with("schema registry REGISTRY does not answer ("),
        "{line}"
    );
    assert!(line.ends_with("; start it, or set registry_url"), "{line}");
    forwarder.turn(Way::Open);
    start(&forwarder.url(), &prefix, &folder).await.unwrap();
}

/// Deployments may share a registry and a machine; their schemas then have the same ids.
#[tokio::test]
async fn deployments_do_not_forget_for_each_other() {
    let forwarder = Forwarder::start().await;
    let (one, other, folder) = (random_prefix(), random_prefix(), Folder::new());
    start(&forwarder.url(), &one, &folder).await.unwrap();
    start(&forwarder.url(), &other, &folder).await.unwrap();
    forwarder.turn(Way::Shut);
    start(&forwarder.url(), &one, &folder).await.unwrap();
    start(&forwarder.url(), &other, &folder).await.unwrap();
    start(&forwarder.url(), &random_prefix(), &folder)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn a_cache_that_was_cut_short_is_no_harm() {
    let forwarder = Forwarder::start().await;
    let (prefix, folder) = (random_prefix(), Folder::new());
    start(&forwarder.url(), &prefix, &folder).await.unwrap();
    let caches = fs::read_dir(&folder.0).unwrap();
    let cache = caches.last().unwrap().unwrap().path();
    for (file, length) in fs::read_dir(cache).unwrap().zip([0, 1, 40]) {
        let path = file.unwrap().path();
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..length]).unwrap();
    }
    start(&forwarder.url(), &prefix, &folder).await.unwrap();
    forwarder.turn(Way::Shut);
    start(&forwarder.url(), &prefix, &folder).await.unwrap();
}

#[tokio::test]
async fn an_id_that_nobody_gave_is_poison() {
    let codec = lemonair_testkit::codec().await;
    let error = codec
        .decode::<Any>(&[0, 0x7f, 0xff, 0xff, 0xff, 2])
        .await
        .unwrap_err();
    assert!(
        matches!(error, DecodeError::NoSuchSchema(0x7fff_ffff)),
        "{error}"
    );
    assert!(!error.is_transient());
}

/// A registry that is starting denies what it has; that is no reason to give a record up.
#[tokio::test]
async fn a_registry_that_forgot_everything_is_not_believed() {
    let forwarder = Forwarder::start().await;
    let (prefix, folder) = (random_prefix(), Folder::new());
    let codec = start(&forwarder.url(), &prefix, &folder).await.unwrap();
    let unseen = strange(&prefix, "three").await;
    forwarder.turn(Way::Forgetful);
    let error = codec.decode::<Any>(&unseen).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    forwarder.turn(Way::Open);
    assert_wallet(codec.decode(&unseen).await);
}

/// Analysts only read: they may do so where they must not write.
#[tokio::test]
async fn who_only_reads_registers_nothing() {
    let forwarder = Forwarder::start().await;
    let (theirs, ours, folder) = (random_prefix(), random_prefix(), Folder::new());
    let writer = start(&registry_url(), &theirs, &Folder::new()).await;
    let writer = writer.unwrap();
    let reading = async || {
        let registry = Registry::open(&forwarder.url(), &ours, Some(&folder.0))?;
        Codec::reading(registry, &all_schemas()).await
    };
    let reader = reading().await.unwrap();
    let written = samples(&writer, &Seed::fixed(true));
    for sample in &written {
        let Any(read) = reader.decode(sample.bytes.as_ref().unwrap()).await.unwrap();
        assert_eq!(read, sample.json);
    }
    reader.subjects().await.unwrap_err();
    for (sample, refused) in written.iter().zip(samples(&reader, &Seed::fixed(true))) {
        refused.bytes.unwrap_err();
        if let (Some(event), Ok(bytes)) = (refused.event, &sample.bytes) {
            assert_eq!(event.datum(&reader).unwrap(), bytes[5..]);
        }
    }

    // What it has read once it knows without the registry; before that, it must answer.
    forwarder.turn(Way::Shut);
    let reader = reading().await.unwrap();
    for sample in &written {
        let Any(read) = reader.decode(sample.bytes.as_ref().unwrap()).await.unwrap();
        assert_eq!(read, sample.json);
    }
    let registry = Registry::open(&forwarder.url(), &ours, None).unwrap();
    let error = Codec::reading(registry, &all_schemas()).await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");

    // One that denies what the records name, and knows nothing at all, has only just started.
    forwarder.turn(Way::Open);
    let registry = Registry::open(&forwarder.url(), &ours, None).unwrap();
    let reader = Codec::reading(registry, &all_schemas()).await.unwrap();
    forwarder.turn(Way::Forgetful);
    let error = reader
        .decode::<Any>(written[0].bytes.as_ref().unwrap())
        .await;
    assert!(error.unwrap_err().is_transient());
}
