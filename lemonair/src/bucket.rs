//! A bucket of a store that speaks S3, as the settings describe it.

mod client;
mod object;

use std::fmt;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;

use self::client::Client;
pub(crate) use self::object::Object;
use crate::settings::Settings;

pub(crate) struct Bucket {
    pub(crate) store: Arc<AmazonS3>,
    /// What stands before every name.
    pub(crate) within: Key,
}

/// What its names begin with.
pub(crate) const SCHEME: &str = "s3://";

impl Bucket {
    /// `s3://BUCKET/WITHIN`. Does not speak to the store yet.
    pub(crate) fn open(
        settings: &Settings,
        name: &str,
        retry: RetryConfig,
    ) -> anyhow::Result<Bucket> {
        let address = name.strip_prefix(SCHEME).unwrap_or(name);
        let (bucket, within) = address.split_once('/').unwrap_or((address, ""));
        if bucket.is_empty() {
            bail!("{name} names no bucket; it is s3://BUCKET or s3://BUCKET/WITHIN");
        }
        let mut builder = match (&settings.s3_access_key, &settings.s3_secret_key) {
            (Some(key), Some(secret)) => AmazonS3Builder::new()
                .with_access_key_id(key)
                .with_secret_access_key(secret),
            // As everybody who speaks S3 finds them.
            _ => AmazonS3Builder::from_env(),
        };
        builder = builder
            .with_bucket_name(bucket)
            .with_http_connector(Client::new())
            .with_retry(retry);
        if let Some(endpoint) = &settings.s3_endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &settings.s3_region {
            builder = builder.with_region(region);
        }
        Ok(Bucket {
            store: Arc::new(builder.build().map_err(|error| say(error, name))?),
            within: Key::from(within),
        })
    }
}

/// What a store complains of, and what to do about it, in one line.
pub(crate) fn say(error: object_store::Error, place: &str) -> anyhow::Error {
    use object_store::Error;
    let advice = match &error {
        Error::NotFound { .. } => "is there such a bucket",
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            "are s3_access_key and s3_secret_key right"
        }
        _ => "are s3_endpoint and the keys right",
    };
    anyhow!("{place}: {advice}? {}", line(&error))
}

pub(crate) fn line(error: &dyn fmt::Display) -> String {
    let words = error.to_string();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
