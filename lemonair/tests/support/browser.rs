//! A real Chromium.

use std::process::Stdio;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::eventually;

pub(crate) struct Browser {
    pub(crate) page: Client,
    _driver: Child,
    _profile: Profile,
}

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
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("start Chromium");
        Browser {
            page,
            _driver: driver,
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

    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.see(css).await;
        field.clear().await.expect("empty the field");
        field.send_keys(text).await.expect("type");
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.see(css).await.text().await.expect("its text")
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

    pub(crate) async fn close(self) {
        self.page.close().await.expect("close Chromium");
    }
}
