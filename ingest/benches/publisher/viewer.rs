//! Those who watch: one who waits for the first segment, one who plays, one at low latency, a crowd.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::{CROWD, CROWD_SECONDS};

/// The media playlist that a master names first.
pub(crate) struct Playlists {
    client: Client,
    media: String,
}

/// How long after it was sent the newest picture of a part is at a viewer, and how long that keeps it.
pub(crate) struct Behind {
    pub(crate) median: Duration,
    pub(crate) most: Duration,
    pub(crate) hold_back: Duration,
}

pub(crate) struct Crowd {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

/// Between two looks at a playlist that is not there yet.
const PAUSE: Duration = Duration::from_millis(10);

impl Playlists {
    pub(crate) async fn find(master: &str) -> Playlists {
        let client = Client::new();
        loop {
            let text = text(&client, master).await.unwrap_or_default();
            // Those for sound alone stand in tags.
            if let Some(name) = text
                .lines()
                .find(|line| !line.is_empty() && !line.starts_with('#'))
            {
                let media = beside(master, name);
                return Playlists { client, media };
            }
            sleep(PAUSE).await;
        }
    }
}

/// Returns when it has the first whole segment that a playlist lists.
pub(crate) async fn first_segment(master: &str) {
    let playlists = Playlists::find(master).await;
    loop {
        let text = text(&playlists.client, &playlists.media)
            .await
            .unwrap_or_default();
        let mut lines = text.lines().skip_while(|line| !line.starts_with("#EXTINF"));
        if let Some(name) = lines.find(|line| !line.starts_with('#')) {
            let url = beside(&playlists.media, name);
            if bytes(&playlists.client, &url).await.is_some() {
                return;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Returns when a player has shown a picture. It comes as soon as there is a playlist.
pub(crate) async fn first_picture(master: &str) {
    loop {
        Playlists::find(master).await;
        let status = Command::new("ffmpeg")
            .args(["-v", "quiet", "-nostdin", "-i", master])
            .args(["-frames:v", "1", "-f", "null", "-"])
            .stdin(Stdio::null())
            .status();
        if status.await.expect("ffmpeg").success() {
            return;
        }
    }
}

/// Takes each part as soon as it is there. `None` if there are none.
pub(crate) async fn behind(
    playlists: &Playlists,
    begun: Instant,
    until: Duration,
) -> Option<Behind> {
    let mut late = Vec::new();
    let mut hold_back = 0.0;
    let mut known = 0.0;
    while begun.elapsed() < until {
        let text = text(&playlists.client, &playlists.media).await?;
        let (msn, part, end, newest) = edge(&text)?;
        hold_back = attribute(&text, "PART-HOLD-BACK=")?;
        let next = format!("{}?_HLS_msn={msn}&_HLS_part={part}", playlists.media);
        if end > known {
            // The first answer tells of what has long been there.
            if known > 0.0 {
                bytes(&playlists.client, &beside(&playlists.media, &newest)).await?;
                late.push(begun.elapsed().saturating_sub(Duration::from_secs_f64(end)));
            }
            known = end;
        }
        self::text(&playlists.client, &next).await?;
    }
    late.sort();
    Some(Behind {
        median: *late.get(late.len() / 2)?,
        most: *late.last()?,
        hold_back: Duration::from_secs_f64(hold_back),
    })
}

/// Which part comes next, how long all before it last, and the name of the newest of them. All since
/// the beginning must still be listed.
fn edge(text: &str) -> Option<(u64, usize, f64, String)> {
    let mut msn = attribute(text, "#EXT-X-MEDIA-SEQUENCE:")? as u64;
    let (mut whole, mut open, mut parts, mut newest) = (0.0, 0.0, 0, None);
    let mut gap = false;
    for line in text.lines() {
        if let Some(part) = line.strip_prefix("#EXT-X-PART:") {
            open += attribute(part, "DURATION=")?;
            parts += 1;
            newest = part.split("URI=\"").nth(1)?.split('"').next();
        } else if line == "#EXT-X-GAP" {
            gap = true;
        } else if let Some(seconds) = line.strip_prefix("#EXTINF:") {
            if !std::mem::take(&mut gap) {
                whole += seconds.split(',').next()?.parse::<f64>().ok()?;
            }
            (open, parts) = (0.0, 0);
            msn += 1;
        }
    }
    Some((msn, parts, whole + open, newest?.to_owned()))
}

fn attribute(text: &str, name: &str) -> Option<f64> {
    let value = text.split(name).nth(1)?;
    let end = value.find([',', '\n', '\r']).unwrap_or(value.len());
    value[..end].parse().ok()
}

/// Many who fetch the newest segments again and again, in a process of their own.
pub(crate) async fn watch_crowd(playlists: &Playlists) -> Crowd {
    let output = Command::new(std::env::current_exe().expect("ourselves"))
        .args(["crowd", &playlists.media, &CROWD.to_string()])
        .output();
    let output = output.await.expect("run ourselves");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut figures = text
        .split_whitespace()
        .filter_map(|figure| figure.parse().ok());
    Crowd {
        requests: figures.next().expect("requests"),
        bytes: figures.next().expect("bytes"),
    }
}

pub(crate) async fn crowd(media: &str, len: &str) {
    let client = Client::new();
    let text = text(&client, media).await.expect("a playlist");
    let names = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut urls: Vec<String> = names.map(|name| beside(media, name)).collect();
    // The oldest may leave the window meanwhile.
    urls.drain(..urls.len() / 2);
    let end = Instant::now() + Duration::from_secs(CROWD_SECONDS);
    let mut viewers = JoinSet::new();
    for n in 0..len.parse().expect("a number") {
        // Each has a connection of its own.
        let client = Client::new();
        let urls = urls.clone();
        viewers.spawn(async move {
            let (mut requests, mut taken) = (0u64, 0u64);
            for url in urls.iter().cycle().skip(n % urls.len()) {
                if Instant::now() >= end {
                    break;
                }
                taken += bytes(&client, url).await.unwrap_or_default() as u64;
                requests += 1;
            }
            (requests, taken)
        });
    }
    let (mut requests, mut taken) = (0, 0);
    while let Some(figures) = viewers.join_next().await {
        let (more_requests, more) = figures.expect("no panic");
        requests += more_requests;
        taken += more;
    }
    println!("{requests} {taken}");
}

async fn text(client: &Client, url: &str) -> Option<String> {
    let answer = client.get(url).send().await.ok()?;
    answer.error_for_status().ok()?.text().await.ok()
}

async fn bytes(client: &Client, url: &str) -> Option<usize> {
    let answer = client.get(url).send().await.ok()?;
    Some(answer.error_for_status().ok()?.bytes().await.ok()?.len())
}

fn beside(url: &str, name: &str) -> String {
    let (folder, _) = url.rsplit_once('/').expect("a folder");
    format!("{folder}/{name}")
}
