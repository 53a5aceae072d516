//! The pages, embedded in the binary.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use lemonair_schemas::{EventId, RoomId};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

use crate::App;
use crate::error::Problem;

#[derive(RustEmbed)]
#[folder = "../web"]
struct Web;

const PAGES: [(&str, &str); 6] = [
    ("/", "home.html"),
    ("/studio", "studio.html"),
    ("/wallet", "wallet.html"),
    ("/checkout", "checkout.html"),
    ("/account", "account.html"),
    ("/admin", "admin.html"),
];

pub(crate) fn router() -> Router<Arc<App>> {
    let own = PAGES
        .into_iter()
        .fold(Router::new(), |router, (path, file)| {
            let serve = move |headers: HeaderMap| async move { page(file, &headers) };
            router.route(path, get(serve))
        });
    own.route("/assets/{*path}", get(asset))
        .route("/overlay/{room}", get(overlay))
        .route("/overlay/{room}/goal", get(overlay))
        .route("/recordings/{stream}", get(recording))
        .route("/{room}", get(watch))
}

async fn watch(Path(room): Path<String>, headers: HeaderMap) -> Response {
    page_of::<RoomId>(&room, "watch.html", &headers)
}

async fn overlay(Path(room): Path<String>, headers: HeaderMap) -> Response {
    page_of::<RoomId>(&room, "overlay.html", &headers)
}

async fn recording(Path(stream): Path<String>, headers: HeaderMap) -> Response {
    page_of::<EventId>(&stream, "recording.html", &headers)
}

/// The page of what has this name, if there can be such a name.
fn page_of<T: FromStr>(name: &str, file: &str, headers: &HeaderMap) -> Response {
    match name.parse::<T>() {
        Ok(_) => page(file, headers),
        Err(_) => Problem::not_found("there is no such page").into_response(),
    }
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    page(&format!("assets/{path}"), &headers)
}

/// What is sent of a file.
struct Sent {
    data: Bytes,
    etag: String,
}

/// All HTML, made when the first is asked for: what a page imports is found in many files.
static MADE: LazyLock<HashMap<String, Sent>> = LazyLock::new(|| {
    let html = Web::iter().filter(|path| path.ends_with(".html"));
    let made = html.filter_map(|path| {
        let file = Web::get(&path)?;
        let data = with_modules(&String::from_utf8_lossy(&file.data)).into_bytes();
        let etag = etag(&Sha256::digest(&data));
        let data = data.into();
        Some((path.into_owned(), Sent { data, etag }))
    });
    made.collect()
});

/// Always asked for again, and not sent again if it is the same: a new version shows at once.
fn page(path: &str, headers: &HeaderMap) -> Response {
    if let Some(Sent { data, etag }) = MADE.get(path) {
        return send(path, data.clone(), etag.clone(), headers);
    }
    let Some(EmbeddedFile { data, metadata }) = Web::get(path) else {
        return Problem::not_found("there is no such page").into_response();
    };
    let data = match data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => data.into(),
    };
    send(path, data, etag(&metadata.sha256_hash()), headers)
}

/// Weak, as the body may be compressed on its way.
fn etag(hash: &[u8]) -> String {
    let hash: String = hash
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("W/\"{hash}\"")
}

fn send(path: &str, data: Bytes, etag: String, headers: &HeaderMap) -> Response {
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known == etag.as_str());
    let kind = content_type(path);
    let headers = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_TYPE, kind.to_owned()),
    ];
    if known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, data).into_response()
    }
}

/// A page names its first module. All that this one reaches by `import` is named here, so that it
/// loads in one round trip rather than in one for each step.
fn with_modules(html: &str) -> String {
    let first = between(html, "<script type=\"module\" src=\"/assets/", '"');
    let mut left: Vec<String> = first.map(str::to_owned).collect();
    let mut reached = BTreeSet::new();
    while let Some(module) = left.pop() {
        let Some(file) = Web::get(&format!("assets/{module}")) else {
            continue;
        };
        let source = String::from_utf8_lossy(&file.data);
        // What is loaded later, by `import(…)`, is not among these.
        for path in between(&source, " from '", '\'').filter(|path| path.starts_with('.')) {
            let next = resolve(&module, path);
            if reached.insert(next.clone()) {
                left.push(next);
            }
        }
    }
    let links = reached.iter().fold(String::new(), |mut links, module| {
        // Writing to memory does not fail.
        writeln!(
            links,
            r#"  <link rel="modulepreload" href="/assets/{module}">"#
        )
        .ok();
        links
    });
    html.replacen("</head>", &format!("{links}</head>"), 1)
}

/// The path under `/assets` of what `module` there calls `path`, which begins with `./` or `../`.
fn resolve(module: &str, path: &str) -> String {
    let mut steps: Vec<&str> = module.split('/').collect();
    steps.pop();
    for step in path.split('/') {
        match step {
            "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// Whatever stands in `text` between each `head` and the next `tail`.
fn between<'t>(text: &'t str, head: &'t str, tail: char) -> impl Iterator<Item = &'t str> {
    let found = text.split(head).skip(1);
    found.filter_map(move |rest| Some(rest.split_once(tail)?.0))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

/// Headers that keep strangers' scripts out of our pages, on every answer.
pub(crate) async fn protect(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; \
             connect-src 'self' ws: wss:; style-src 'self'; script-src 'self'; object-src 'none'; \
             frame-ancestors 'self'; form-action 'self'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    ];
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        let file = Web::get(path).unwrap_or_else(|| panic!("there is no {path}"));
        String::from_utf8(file.data.into_owned()).expect("UTF-8")
    }

    /// The keys of a language's words: `  'key': …` or `  key: …`, one a line.
    fn keys(path: &str) -> BTreeSet<String> {
        let text = text(path);
        let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
        let keys = lines.filter_map(|line| match line.strip_prefix('\'') {
            Some(quoted) => quoted.split_once("':").map(|(key, _)| key),
            None => line.split_once(':').map(|(key, _)| key),
        });
        keys.filter(|key| !key.contains([' ', '/']))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_language_has_the_same_words() {
        let english = keys("assets/i18n/en.js");
        assert!(english.contains("studio.title") && english.contains("save"));
        let languages = Web::iter().filter(|path| path.starts_with("assets/i18n/"));
        for path in languages {
            assert_eq!(keys(&path), english, "{path}");
        }
    }

    #[test]
    fn a_page_names_the_modules_of_its_folders_too() {
        let html = with_modules(&text("admin.html"));
        let named: Vec<&str> = between(&html, "modulepreload\" href=\"/", '"').collect();
        for module in [
            "assets/admin/table.js",
            "assets/dom.js",
            "assets/i18n/en.js",
        ] {
            assert!(named.contains(&module), "{module}: {named:?}");
        }
        for module in named {
            assert!(Web::get(module).is_some(), "there is no {module}");
        }
    }
}
