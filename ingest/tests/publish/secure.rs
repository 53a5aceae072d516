//! RTMPS: the same behind TLS.

use std::path::Path;

use lemonair_ingest::{Certificate, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw;
use crate::stage::*;
use crate::{ENDED, STARTED, check_media};

/// One that a server makes for itself.
fn certificate(folder: &Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = Certificate {
        chain: folder.join("chain.pem"),
        key: folder.join("key.pem"),
    };
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(&certificate.chain, made.cert.pem()).expect("a file");
    std::fs::write(&certificate.key, made.signing_key.serialize_pem()).expect("a file");
    certificate
}

pub(crate) async fn stage() -> (Stage, Certificate) {
    let folder = std::env::temp_dir().join(format!("lemonair-tls-{}", uuid::Uuid::now_v7()));
    let certificate = certificate(&folder);
    let config = Config {
        certificate: Some(certificate.clone()),
        ..Config::default()
    };
    (Stage::with(config, Topic::default()).await, certificate)
}

#[tokio::test]
async fn a_publisher_over_tls() {
    let (stage, _) = stage().await;
    let encoder = stage.publish_to(&stage.secure_url(KEY), &picture_and_tone(5));
    assert_eq!(finish(encoder).await, (true, String::new()));
    stage.until_told(&[STARTED, ENDED]).await;
    check_media(&stage, "h264,320,180\naac", 4.9..5.2).await;
    // A wrong key is refused here as there.
    let (success, _) =
        finish(stage.publish_to(&stage.secure_url("bad"), &picture_and_tone(5))).await;
    assert!(!success);
}

#[tokio::test]
async fn each_door_has_its_own_language() {
    let (stage, _) = stage().await;
    let url = stage.secure_url(KEY);
    let port = url.split([':', '/']).nth(4).expect("a port");
    let mut plain = TcpStream::connect(format!("127.0.0.1:{port}"))
        .await
        .expect("connect");
    plain.write_all(&raw::publish(KEY)).await.expect("write");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    // A TLS alert, and nothing else.
    assert_eq!(said.first(), Some(&21), "{said:?}");
    let encrypted = stage
        .secure_url(KEY)
        .replace(port, &stage.address().port().to_string());
    let (success, _) = finish(stage.publish_to(&encrypted, &picture_and_tone(5))).await;
    assert!(!success);
    assert_eq!(stage.told(), []);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let folder = std::env::temp_dir().join(format!("lemonair-tls-{}", uuid::Uuid::now_v7()));
    let good = certificate(&folder);
    let missing = Certificate {
        chain: folder.join("none.pem"),
        key: good.key.clone(),
    };
    let empty = Certificate {
        chain: good.chain.clone(),
        key: good.chain.clone(),
    };
    for (certificate, culprit) in [(missing, "none.pem"), (empty, "chain.pem")] {
        let config = Config {
            data: folder.join("data"),
            certificate: Some(certificate),
            ..Config::default()
        };
        let built = config.build(std::sync::Arc::new(Topic::default()));
        let error = built.expect_err("no ingest").to_string();
        assert!(error.contains(culprit), "{error}");
    }
    std::fs::remove_dir_all(folder).expect("remove it");
}
