//! A real Chromium.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use base64::Engine;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{PATIENCE, eventually};

/// Screens to look at pages on.
pub(crate) const DESKTOP: (u32, u32) = (1440, 900);
pub(crate) const PHONE: (u32, u32) = (390, 844);

pub(crate) struct Browser {
    pub(crate) page: Client,
    driver: Driver,
    _profile: Profile,
}

struct Driver {
    port: String,
    /// None once it was closed.
    session: Option<String>,
    _child: Child,
}

impl Drop for Driver {
    /// Takes Chromium along, which would play on otherwise when a test has failed: the answer comes when it is gone.
    fn drop(&mut self) {
        let Some(session) = &self.session else { return };
        let Ok(mut line) = TcpStream::connect(format!("127.0.0.1:{}", self.port)) else {
            return;
        };
        line.set_read_timeout(Some(PATIENCE)).ok();
        // ChromeDriver hangs up on HTTP/1.0.
        let request = format!(
            "DELETE /session/{session} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        line.write_all(request.as_bytes()).ok();
        line.read_to_end(&mut Vec::new()).ok();
    }
}

/// What ChromeDriver takes beyond WebDriver.
#[derive(Debug)]
struct Beyond {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Beyond {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// Why a URL is none, as `fantoccini` wants it told.
type ParseError = <Url as std::str::FromStr>::Err;

struct Profile(std::path::PathBuf);

impl Drop for Profile {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Browser {
    pub(crate) async fn open(width: u32, height: u32) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("start chromedriver: it is in Debian's package chromium-driver");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let port = loop {
            let line = lines
                .next_line()
                .await
                .expect("read its output")
                .expect("it says its port");
            if let Some(port) = line.strip_prefix("ChromeDriver was started successfully on port ")
            {
                break port.trim_end_matches('.').to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let profile =
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chromium-{unique}"));
        let mut capabilities = serde_json::Map::new();
        capabilities.insert(
            "goog:chromeOptions".to_owned(),
            json!({ "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
                format!("--window-size={width},{height}"), format!("--user-data-dir={}", profile.display()),
            ] }),
        );
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        // The check for hindrances takes its time on a machine that has other things to do.
        capabilities.insert("timeouts".to_owned(), json!({ "script": 120_000 }));
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("start Chromium");
        let session = page.session_id().await.expect("Chromium has a session");
        Browser {
            page,
            driver: Driver {
                port,
                session,
                _child: driver,
            },
            _profile: Profile(profile),
        }
    }

    /// As wide as a phone, held upright.
    pub(crate) async fn open_phone() -> Browser {
        Browser::open(390, 844).await
    }

    pub(crate) async fn goto(&self, url: &str) {
        self.page.goto(url).await.expect("open the page");
    }

    /// Waits for an element that can be seen.
    pub(crate) async fn see(&self, css: &str) -> fantoccini::elements::Element {
        eventually(&format!("{css} is on the page"), async || {
            let element = self.page.find(Locator::Css(css)).await.ok()?;
            element.is_displayed().await.ok()?.then_some(element)
        })
        .await
    }

    /// Clicks an element, once it can be.
    pub(crate) async fn click(&self, css: &str) {
        eventually(&format!("{css} can be clicked"), async || {
            self.page
                .find(Locator::Css(css))
                .await
                .ok()?
                .click()
                .await
                .ok()
        })
        .await;
    }

    /// Chooses a tab; what loads above it may push it away under the pointer.
    pub(crate) async fn tab(&self, css: &str) {
        let chosen = format!("{css}[aria-selected=true]");
        eventually(&format!("{css} is chosen"), async || {
            let tab = self.page.find(Locator::Css(css)).await.ok()?;
            tab.click().await.ok()?;
            self.page.find(Locator::Css(&chosen)).await.ok()
        })
        .await;
    }

    /// Fills a field, once it can be; a page that is just drawn anew replaces it.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        eventually(&format!("{css} can be filled"), async || {
            let field = self.see(css).await;
            field.clear().await.ok()?;
            field.send_keys(text).await.ok()
        })
        .await;
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        eventually(&format!("{css} has words"), async || {
            self.see(css).await.text().await.ok()
        })
        .await
    }

    pub(crate) async fn js(&self, script: &str) -> Value {
        self.page
            .execute(script, Vec::new())
            .await
            .expect("run a script")
    }

    /// Waits until a script returns true.
    pub(crate) async fn until(&self, what: &str, script: &str) {
        eventually(what, async || {
            (self.page.execute(script, Vec::new()).await.ok()? == true).then_some(())
        })
        .await;
    }

    /// A command of Chromium's own protocol.
    pub(crate) async fn command(&self, name: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        let path = "goog/cdp/execute";
        let answer = self.page.issue_cmd(Beyond { path, body }).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A screen of this size; a narrow one is a phone's.
    pub(crate) async fn screen(&self, (width, height): (u32, u32)) {
        let phone = width < 600;
        let metrics = json!({
            "width": width, "height": height, "mobile": phone,
            "deviceScaleFactor": if phone { 2 } else { 1 },
        });
        self.command("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let touch = json!({ "enabled": phone, "maxTouchPoints": 5 });
        self.command("Emulation.setTouchEmulationEnabled", touch)
            .await;
    }

    pub(crate) async fn dark(&self, yes: bool) {
        let scheme = if yes { "dark" } else { "light" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        let media = json!({ "features": features });
        self.command("Emulation.setEmulatedMedia", media).await;
    }

    /// What is on the screen, as WebP.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let format = json!({ "format": "webp", "quality": 50 });
        let shot = self.command("Page.captureScreenshot", format).await;
        let encoded = shot["data"].as_str().expect("a picture");
        let engine = base64::engine::general_purpose::STANDARD;
        engine.decode(encoded).expect("base64")
    }

    /// Errors on the console since this was asked last, breaches of the content policy among them.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let body = json!({ "type": "browser" });
        let path = "se/log";
        let log = self.page.issue_cmd(Beyond { path, body }).await;
        let log = log.expect("the console");
        let lines = log.as_array().expect("a list").iter();
        lines
            .filter(|line| line["level"] == "SEVERE")
            .map(|line| line["message"].to_string())
            .collect()
    }

    /// What axe finds to be a serious or critical hindrance.
    pub(crate) async fn hindrances(&self) -> Vec<String> {
        const RUN: &str = "const done = arguments[arguments.length - 1]; \
            axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(violations \
              .filter(({ impact }) => impact === 'serious' || impact === 'critical') \
              .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 160)} (${any[0]?.message})`).join(' | ')}`)));";
        let axe = concat!(env!("CARGO_MANIFEST_DIR"), "/../.lemonair/axe/axe.min.js");
        let axe =
            std::fs::read_to_string(axe).expect("axe: `stack/stack install --tests` brings it");
        self.page.execute(&axe, Vec::new()).await.expect("load axe");
        let found = self.page.execute_async(RUN, Vec::new()).await;
        let found = found.expect("axe runs");
        let found = found.as_array().expect("a list").iter();
        found
            .map(|line| line.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    pub(crate) async fn sign_in(&self, name: &str) {
        self.click("[data-testid=login-open]").await;
        self.fill("#login-name", name).await;
        self.fill("#login-password", "correct horse battery").await;
        self.click("#login-submit").await;
        self.see("[data-testid=balance]").await;
    }

    pub(crate) async fn close(mut self) {
        self.driver.session = None;
        self.page.close().await.expect("close Chromium");
    }
}
