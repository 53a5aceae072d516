//! What a viewer sees of the picture.

use serde_json::json;

use super::browser::Browser;

/// Waits until the picture moves on from where it is.
pub(crate) async fn plays(browser: &Browser) {
    plays_on(browser, 0.5).await;
}

pub(crate) async fn plays_on(browser: &Browser, seconds: f64) {
    browser
        .js("window.place = document.querySelector('video#player')?.currentTime ?? 0;")
        .await;
    browser
        .until(
            "the picture moves",
            &format!(
                "const v = document.querySelector('video#player');
                 return !!v && v.currentTime > window.place + {seconds} && v.readyState > 2;"
            ),
        )
        .await;
}

/// Goes back some seconds, and notes from then on when the picture stands or jumps.
///
/// All that is played is there already: at the edge, a machine that has other things to do makes pictures late, and
/// a player that waits for them does right.
pub(crate) async fn watch_closely(browser: &Browser) {
    let video = "const v = document.querySelector('video#player');";
    browser
        .until(
            "there is enough to go back into",
            &format!(
                "{video} return v.seekable.length && v.seekable.end(0) - v.seekable.start(0) > 22;"
            ),
        )
        .await;
    browser
        .js(&format!("{video} v.currentTime = v.seekable.end(0) - 20;"))
        .await;
    plays(browser).await;
    browser
        .js(&format!(
            "{video} window.noticed = []; window.watched = v;
             for (const kind of ['waiting', 'seeking', 'error', 'emptied']) {{
                 v.addEventListener(kind, () => {{
                     const buffered = Array.from(v.buffered, (_, n) => [v.buffered.start(n), v.buffered.end(n)]);
                     window.noticed.push([kind, v.currentTime, buffered]);
                 }});
             }}"
        ))
        .await;
}

/// That the picture neither stood nor jumped since then.
pub(crate) async fn nothing_noticed(browser: &Browser) {
    let noticed = browser
        .js("return [window.noticed, document.querySelector('video#player') === window.watched];")
        .await;
    assert_eq!(noticed, json!([[], true]));
}
